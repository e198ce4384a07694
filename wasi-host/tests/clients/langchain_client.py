"""langchain-openai against the server at PICOLM_URL."""

import os
from typing import Literal

import each
from langchain_core.messages import HumanMessage, ToolMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI, OpenAIEmbeddings
from pydantic import BaseModel, Field

about = dict(base_url=os.environ["PICOLM_URL"] + "/v1", api_key=os.environ.get("PICOLM_KEY", "none"), model=os.environ["PICOLM_NAME"])
model = ChatOpenAI(**about, temperature=0, max_tokens=12, stream_usage=True)
caller = ChatOpenAI(**about, temperature=0, max_tokens=120, stream_usage=True)
question = [("system", "Be brief."), ("human", "What is the capital of France?")]


class Place(BaseModel):
    """A city."""

    name: str = Field(max_length=12)
    continent: Literal["Africa", "Asia", "Europe"]


@tool
def look(hour: Literal[6, 12, 18]) -> str:
    """Looks at the sky."""
    return f"clouds at {hour}"


def chat():
    whole = model.invoke(question)
    assert whole.content and whole.usage_metadata["output_tokens"] <= 12, whole
    assert "".join(part.content for part in model.stream(question)) == whole.content


def embeddings():
    vectors = OpenAIEmbeddings(**about, check_embedding_ctx_length=False).embed_documents(["one", "two"])
    assert len(vectors) == 2 and len(vectors[0]) == len(vectors[1])


def values():
    for method, more in [("json_schema", {"strict": True}), ("json_schema", {}), ("function_calling", {}), ("function_calling", {"strict": True})]:
        asked = caller.with_structured_output(Place, method=method, include_raw=True, **more).invoke(question)
        assert isinstance(asked["parsed"], Place), (method, more, asked)
    parts = list(caller.with_structured_output(Place.model_json_schema(), method="json_schema").stream(question))
    Place.model_validate(parts[-1])
    assert isinstance(caller.with_structured_output({"type": "object", "title": "any"}, method="json_mode").invoke("Say something in JSON."), dict)


def tools():
    for choice in ["any", "look"]:
        bound = caller.bind_tools([look], tool_choice=choice, parallel_tool_calls=False)
        messages = [HumanMessage("How is the sky?")]
        called = bound.invoke(messages)
        assert len(called.tool_calls) == 1 and called.tool_calls[0]["name"] == "look", called
        joined = None
        for part in bound.stream(messages):
            joined = part if joined is None else joined + part
        assert joined.tool_calls == called.tool_calls, (joined, called)
        result = look.invoke(called.tool_calls[0])
        assert isinstance(result, ToolMessage)
        answer = model.bind_tools([look], tool_choice="none").invoke([*messages, called, result])
        assert answer.content and not answer.tool_calls, answer


each.run([chat, embeddings, values, tools])
