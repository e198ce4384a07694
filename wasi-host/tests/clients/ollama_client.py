"""The official `ollama` package against the server at PICOLM_URL."""

import json
import os
import sys
import traceback

import ollama

client = ollama.Client(host=os.environ["PICOLM_URL"])
MODEL = os.environ["PICOLM_NAME"]
MESSAGES = [{"role": "user", "content": "What is the capital of France?"}]


def chat():
    options = {"temperature": 0, "num_predict": 12}
    whole = client.chat(model=MODEL, messages=MESSAGES, options=options)
    assert whole.message.role == "assistant" and whole.message.content and whole.done
    assert whole.prompt_eval_count > 0 and 0 < whole.eval_count <= 12
    parts = list(client.chat(model=MODEL, messages=MESSAGES, options=options, stream=True))
    assert "".join(part.message.content for part in parts) == whole.message.content
    assert parts[-1].done and parts[-1].done_reason == whole.done_reason and not any(part.done for part in parts[:-1])


def generate():
    options = {"seed": 3, "num_predict": 12}
    whole = client.generate(model=MODEL, prompt="Hello", options=options)
    parts = list(client.generate(model=MODEL, prompt="Hello", options=options, stream=True))
    assert "".join(part.response for part in parts) == whole.response
    assert client.generate(model=MODEL, prompt="").done_reason == "load"


def lists():
    models = client.list().models
    assert MODEL in [model.model for model in models]
    assert len({model.digest for model in models}) == len(models) and all(len(model.digest) == 64 for model in models)
    assert all(model.details.family and model.details.quantization_level for model in models if model.model == MODEL)
    assert MODEL in [model.model for model in client.ps().models]
    shown = client.show(MODEL + ":latest")
    assert shown.details.format == "gguf" and "completion" in shown.capabilities
    assert any(key.endswith(".context_length") for key in shown.modelinfo)


def embed():
    answer = client.embed(model=MODEL, input=["one", "two"])
    assert len(answer.embeddings) == 2 and len(answer.embeddings[0]) == len(answer.embeddings[1])
    assert list(client.embeddings(model=MODEL, prompt="one").embedding) == list(answer.embeddings[0])


def what_clients_say_beside_it():
    options = {"num_ctx": 512, "num_gpu": 1, "use_mlock": True, "f16_kv": True, "typical_p": 1.0, "top_k": -1, "num_predict": 3}
    answer = client.chat(model=MODEL, messages=MESSAGES, options=options, keep_alive="1h30m")
    assert answer.eval_count == 3


def json_objects():
    for budget in [2, 9, 40]:
        options = {"temperature": 1.5, "num_predict": budget}
        answer = client.chat(model=MODEL, messages=MESSAGES, format="json", options=options)
        assert isinstance(json.loads(answer.message.content), dict) and answer.done_reason == "stop", answer


def errors():
    for call, status, word in [
        (lambda: client.chat(model="no-such-model", messages=MESSAGES), 404, "no-such-model"),
        (lambda: client.chat(model=MODEL, messages=[{"role": "wizard", "content": "x"}]), 400, "messages[0].role"),
        (lambda: client.chat(model=MODEL, messages=MESSAGES, options={"temperature": -1}), 400, "options.temperature"),
        (lambda: client.chat(model=MODEL, messages=MESSAGES, format={"type": "object"}), 400, "format"),
        (lambda: client.chat(model=MODEL, messages=MESSAGES, options={"mirostat": 2}), 400, "options.mirostat"),
        (lambda: client.chat(model=MODEL, messages=MESSAGES, options={"num_ctx": 1 << 30}), 400, "options.num_ctx"),
    ]:
        try:
            call()
        except ollama.ResponseError as error:
            assert error.status_code == status and word in error.error, error
        else:
            raise AssertionError(word)


TESTS = [chat, generate, lists, embed, what_clients_say_beside_it, json_objects, errors]
failed = 0
for test in TESTS:
    try:
        test()
        print(f"ok {test.__name__}")
    except Exception:
        failed += 1
        print(f"FAILED {test.__name__}")
        traceback.print_exc()
print(f"# pass {len(TESTS) - failed}\n# fail {failed}")
sys.exit(failed > 0)
