"""The official `ollama` package against the server at PICOLM_URL."""

import json
import os
from typing import Literal

import each
import ollama
from pydantic import BaseModel, Field

client = ollama.Client(host=os.environ["PICOLM_URL"])
MODEL = os.environ["PICOLM_NAME"]
MESSAGES = [{"role": "user", "content": "What is the capital of France?"}]


class City(BaseModel):
    name: str = Field(max_length=12)
    continent: Literal["Africa", "Asia", "Europe"]


class Trip(BaseModel):
    to: City
    by: Literal["rail", "sea"] | None


def look(hour: int, city: str = "here") -> str:
    """Looks at the sky.

    Args:
        hour: of the day
        city: where
    """
    return f"clouds in {city} at {hour}"


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


def schemas():
    options = {"temperature": 0, "num_predict": 120}
    ask = dict(model=MODEL, format=Trip.model_json_schema(), options=options)
    answer = client.chat(**ask, messages=MESSAGES)
    Trip.model_validate_json(answer.message.content)
    assert answer.done_reason == "stop", answer
    parts = client.chat(**ask, messages=MESSAGES, stream=True)
    assert "".join(part.message.content for part in parts) == answer.message.content
    Trip.model_validate_json(client.generate(**ask, prompt="A trip.").response)


def tools():
    ask = dict(model=MODEL, options={"temperature": 0, "num_predict": 160})
    messages = list(MESSAGES)
    # The package has no tool_choice: what this model does with tools that it may leave alone is its own affair, the form is not.
    answer = client.chat(**ask, messages=messages, tools=[look])
    assert answer.message.content or answer.message.tool_calls
    parts = list(client.chat(**ask, messages=messages, tools=[look], stream=True))
    called = [call for part in parts for call in part.message.tool_calls or []]
    assert called == list(answer.message.tool_calls or []), (called, answer)
    # Calls and results of earlier turns, as the package writes them.
    call = ollama.Message.ToolCall(function=ollama.Message.ToolCall.Function(name="look", arguments={"hour": 6}))
    messages += [ollama.Message(role="assistant", tool_calls=[call]), {"role": "tool", "content": look(6), "tool_name": "look"}]
    form = City.model_json_schema()
    City.model_validate_json(client.chat(**ask, messages=messages, format=form).message.content)
    # With both, an answer is calls or in the form.
    answer = client.chat(**ask, messages=messages, tools=[look], format=form).message
    assert answer.tool_calls or City.model_validate_json(answer.content), answer


def calls_that_have_to_be():
    """`tool_choice` is no field of the package, but of the server, and of Ollama's other clients."""
    body = dict(model=MODEL, messages=MESSAGES, tool_choice="required", options={"temperature": 0, "num_predict": 120})
    tool = {"type": "function", "function": {"name": "look", "parameters": {"type": "object", "properties": {"hour": {"enum": [6, 12]}}, "required": ["hour"]}}}
    for stream in [False, True]:
        answer = client._client.post("/api/chat", json={**body, "tools": [tool], "stream": stream})
        lines = [ollama.ChatResponse(**json.loads(line)) for line in answer.text.splitlines()]
        calls = [call for line in lines for call in line.message.tool_calls or []]
        assert calls and all(call.function.name == "look" and call.function.arguments["hour"] in (6, 12) for call in calls), lines
        assert lines[-1].done_reason == "stop"


def errors():
    for call, status, word in [
        (lambda: client.chat(model="no-such-model", messages=MESSAGES), 404, "no-such-model"),
        (lambda: client.chat(model=MODEL, messages=[{"role": "wizard", "content": "x"}]), 400, "messages[0].role"),
        (lambda: client.chat(model=MODEL, messages=MESSAGES, options={"temperature": -1}), 400, "options.temperature"),
        (lambda: client.chat(model=MODEL, messages=MESSAGES, format={"type": "nothing"}), 400, "format"),
        (lambda: client.chat(model=MODEL, messages=MESSAGES, options={"mirostat": 2}), 400, "options.mirostat"),
        (lambda: client.chat(model=MODEL, messages=MESSAGES, options={"num_ctx": 1 << 30}), 400, "options.num_ctx"),
    ]:
        try:
            call()
        except ollama.ResponseError as error:
            assert error.status_code == status and word in error.error, error
        else:
            raise AssertionError(word)


each.run([chat, generate, lists, embed, what_clients_say_beside_it, json_objects, schemas, tools, calls_that_have_to_be, errors])
