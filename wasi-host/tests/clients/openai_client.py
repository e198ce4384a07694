"""The official `openai` package against the server at PICOLM_URL. Each function is a test; the last lines say how many passed."""

import json
import os
from typing import Literal

import each
import openai
from pydantic import BaseModel, Field

URL = os.environ["PICOLM_URL"]
KEY = os.environ.get("PICOLM_KEY", "none")
client = openai.OpenAI(base_url=f"{URL}/v1", api_key=KEY, max_retries=0)
MODEL = os.environ["PICOLM_NAME"]
MESSAGES = [{"role": "user", "content": "What is the capital of France?"}]


class City(BaseModel):
    name: str = Field(max_length=12)
    continent: Literal["Africa", "Asia", "Europe"]


class Trip(BaseModel):
    """With what `strict: true` makes of it: `$defs`, `$ref`, `anyOf`, `additionalProperties: false`, all required."""

    to: City
    by: Literal["rail", "sea"] | None
    days: list[int] = Field(max_length=2)
    back: City | None = None


class Look(BaseModel):
    """Looks at the sky."""

    hour: Literal[6, 12, 18]
    city: str | None = Field(default=None, max_length=6)


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


def models_of_pydantic():
    ask = dict(model=MODEL, messages=MESSAGES, response_format=Trip, temperature=0, max_tokens=200)
    whole = client.chat.completions.parse(**ask).choices[0]
    assert isinstance(whole.message.parsed, Trip) and whole.finish_reason == "stop", whole
    with client.chat.completions.stream(**ask) as stream:
        kinds = {event.type for event in stream}
        final = stream.get_final_completion().choices[0]
    assert final.message.parsed == whole.message.parsed and final.message.refusal is None, final
    assert {"content.delta", "content.done"} <= kinds, kinds


def tools_of_pydantic():
    tools = [openai.pydantic_function_tool(Look), openai.pydantic_function_tool(City, name="where", description="Finds a city.")]
    ask = dict(model=MODEL, messages=MESSAGES, tools=tools, temperature=0, max_tokens=200, parallel_tool_calls=False)
    for choice in ["required", {"type": "function", "function": {"name": "Look"}}]:
        whole = client.chat.completions.parse(**ask, tool_choice=choice).choices[0]
        [call] = whole.message.tool_calls
        assert whole.finish_reason == "tool_calls" and whole.message.content is None, whole
        assert isinstance(call.function.parsed_arguments, (Look, City)) and call.id and call.type == "function", call
        assert choice == "required" or call.function.name == "Look"
        with client.chat.completions.stream(**ask, tool_choice=choice, stream_options={"include_usage": True}) as stream:
            kinds = {event.type for event in stream}
            final = stream.get_final_completion()
        [same] = final.choices[0].message.tool_calls
        assert (same.id, same.function) == (call.id, call.function) and final.usage, (final, whole)
        assert {"tool_calls.function.arguments.delta", "tool_calls.function.arguments.done"} <= kinds, kinds
    assert not client.chat.completions.create(**{**ask, "max_tokens": 8}, tool_choice="none").choices[0].message.tool_calls


def a_loop_of_tools():
    """What a tool says goes back as clients write it: the message as it came, its nulls and all."""
    tools = [openai.pydantic_function_tool(Look)]
    messages, ask = list(MESSAGES), dict(model=MODEL, tools=tools, temperature=0, max_tokens=60)
    ids = []
    for turn in range(2):
        message = client.chat.completions.create(**ask, messages=messages, tool_choice="required", parallel_tool_calls=False).choices[0].message
        messages.append(message if turn else message.model_dump())
        for call in message.tool_calls:
            assert json.loads(call.function.arguments)["hour"] in (6, 12, 18)
            ids.append(call.id)
            messages.append({"role": "tool", "tool_call_id": call.id, "content": [{"type": "text", "text": "clouds"}] if turn else "clouds"})
    assert len(set(ids)) == 2, ids
    answer = client.chat.completions.parse(**ask, messages=messages, tool_choice="none", response_format=City).choices[0].message
    assert isinstance(answer.parsed, City) and not answer.tool_calls, answer


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


each.run(
    [
        chat,
        a_stream_says_the_same,
        json_objects,
        models_of_pydantic,
        tools_of_pydantic,
        a_loop_of_tools,
        seeds_choices_and_stops,
        log_probabilities,
        completions,
        embeddings,
        models,
        errors,
    ]
)
