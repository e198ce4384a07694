"""The official `openai` package against the server at PICOLM_URL. Each function is a test; the last lines say how many passed."""

import json
import os
import sys
import traceback

import openai

URL = os.environ["PICOLM_URL"]
KEY = os.environ.get("PICOLM_KEY", "none")
client = openai.OpenAI(base_url=f"{URL}/v1", api_key=KEY, max_retries=0)
MODEL = os.environ["PICOLM_NAME"]
MESSAGES = [{"role": "user", "content": "What is the capital of France?"}]


def chat():
    answer = client.chat.completions.create(model=MODEL, messages=MESSAGES, temperature=0, max_tokens=20)
    choice = answer.choices[0]
    assert choice.message.role == "assistant" and choice.message.content, answer
    assert choice.finish_reason in ("stop", "length")
    usage = answer.usage
    assert usage.total_tokens == usage.prompt_tokens + usage.completion_tokens and usage.completion_tokens <= 20, usage


def a_stream_says_the_same():
    ask = dict(model=MODEL, messages=MESSAGES, temperature=0.9, seed=7, max_tokens=24)
    whole = client.chat.completions.create(**ask)
    chunks = list(client.chat.completions.create(**ask, stream=True, stream_options={"include_usage": True}))
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert text == whole.choices[0].message.content, (text, whole)
    assert chunks[0].choices[0].delta.role == "assistant"
    reasons = [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices]
    assert reasons[-1] == whole.choices[0].finish_reason and not any(reasons[:-1]), reasons
    assert not chunks[-1].choices and chunks[-1].usage.completion_tokens == whole.usage.completion_tokens
    assert all(chunk.usage is None for chunk in chunks[:-1])


def json_objects():
    ask = dict(model=MODEL, messages=MESSAGES, response_format={"type": "json_object"}, temperature=1.5)
    for budget in [2, 9, 40]:
        choice = client.chat.completions.create(**ask, max_tokens=budget).choices[0]
        assert isinstance(json.loads(choice.message.content), dict) and choice.finish_reason == "stop", choice
    chunks = client.chat.completions.create(**ask, max_tokens=30, stream=True)
    assert isinstance(json.loads("".join(chunk.choices[0].delta.content or "" for chunk in chunks)), dict)


def seeds_choices_and_stops():
    ask = dict(model=MODEL, messages=MESSAGES, temperature=1.5, max_tokens=16)
    three = client.chat.completions.create(**ask, seed=5, n=3)
    texts = [choice.message.content for choice in three.choices]
    assert len(set(texts)) > 1 and [choice.index for choice in three.choices] == [0, 1, 2]
    for i, text in enumerate(texts):
        alone = client.chat.completions.create(**ask, seed=5 + i)
        assert alone.choices[0].message.content == text, (i, alone, text)
    stop = next((text[2:4] for text in texts if len(text) > 6), None)
    if stop:
        for i, text in enumerate(texts):
            cut = client.chat.completions.create(**ask, seed=5 + i, stop=[stop])
            assert cut.choices[0].message.content == text.split(stop)[0]


def log_probabilities():
    ask = dict(model=MODEL, messages=MESSAGES, temperature=0, max_tokens=5, logprobs=True, top_logprobs=3)
    answer = client.chat.completions.create(**ask)
    content = answer.choices[0].logprobs.content
    assert 0 < len(content) <= 5
    for entry in content:
        assert len(entry.top_logprobs) == 3 and entry.top_logprobs[0].logprob == entry.logprob <= 0
    streamed = [
        entry
        for chunk in client.chat.completions.create(**ask, stream=True)
        if chunk.choices[0].logprobs
        for entry in chunk.choices[0].logprobs.content
    ]
    assert streamed == content


def completions():
    prompts = ["The capital of France is", "One, two, three,"]
    answer = client.completions.create(model=MODEL, prompt=prompts, max_tokens=8, temperature=0, logprobs=2)
    assert [choice.index for choice in answer.choices] == [0, 1]
    assert len(answer.choices[0].logprobs.tokens) == len(answer.choices[0].logprobs.token_logprobs)
    text = "".join(c.choices[0].text for c in client.completions.create(
        model=MODEL, prompt=prompts[1], max_tokens=8, temperature=0, stream=True))
    assert text == answer.choices[1].text
    echoed = client.completions.create(model=MODEL, prompt=prompts[1], max_tokens=8, temperature=0, echo=True)
    assert echoed.choices[0].text == prompts[1] + text


def embeddings():
    texts = ["A cat sat on the mat.", "A kitten is sitting on a rug.", "The interest rate was raised by the bank."]
    as_floats = client.embeddings.create(model=MODEL, input=texts, encoding_format="float").data
    as_default = client.embeddings.create(model=MODEL, input=texts).data
    assert [e.embedding for e in as_floats] == [e.embedding for e in as_default]
    cat, kitten, bank = (e.embedding for e in as_floats)
    product = lambda a, b: sum(x * y for x, y in zip(a, b))
    assert abs(product(cat, cat) - 1) < 1e-3
    if not os.environ.get("PICOLM_TINY"):
        assert product(cat, kitten) > product(cat, bank)


def models():
    names = [model.id for model in client.models.list()]
    assert MODEL in names
    assert client.models.retrieve(MODEL).id == MODEL


def refused(kind, param, **change):
    try:
        client.chat.completions.create(**{**dict(model=MODEL, messages=MESSAGES, max_tokens=4), **change})
    except kind as error:
        assert error.param == param, (error.param, param)
        assert param is None or param.split(".")[0].split("[")[0] in error.message, error.message
        return error
    raise AssertionError(f"{change} was taken")


def errors():
    bad = openai.BadRequestError
    refused(bad, "temperature", temperature=-1)
    refused(bad, "max_tokens", max_tokens=-5)
    refused(bad, "messages[0].role", messages=[{"role": "wizard", "content": "x"}])
    refused(bad, "messages", messages=[])
    refused(bad, "tools[0].function.name", tools=[{"type": "function", "function": {"name": "f g"}}])
    image = {"type": "image_url", "image_url": {"url": "data:"}}
    refused(bad, "messages[0].content[0]", messages=[{"role": "user", "content": [image]}])
    refused(bad, "unheard_of", extra_body={"unheard_of": 1})
    refused(openai.NotFoundError, "model", model="no-such-model")
    long = refused(bad, None, messages=[{"role": "user", "content": "word " * 20000}])
    assert long.code == "context_length_exceeded", long
    if KEY != "none":
        try:
            openai.OpenAI(base_url=f"{URL}/v1", api_key="wrong").models.list()
            raise AssertionError("a wrong key was taken")
        except openai.AuthenticationError:
            pass


TESTS = [chat, a_stream_says_the_same, json_objects, seeds_choices_and_stops, log_probabilities, completions, embeddings, models, errors]
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
