"""pydantic-ai against the server at PICOLM_URL: answers that are values, by a tool and by a schema, and tools on the way to them."""

import asyncio
import os
from typing import Literal

import each
from pydantic import BaseModel, Field
from pydantic_ai import Agent, NativeOutput, RunContext, Tool, ToolOutput
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.openai import OpenAIProvider

provider = OpenAIProvider(base_url=os.environ["PICOLM_URL"] + "/v1", api_key=os.environ.get("PICOLM_KEY", "none"))
model = OpenAIChatModel(os.environ["PICOLM_NAME"], provider=provider)
SETTINGS = {"temperature": 0.0, "seed": 1, "max_tokens": 200}


class Place(BaseModel):
    """A city."""

    name: str = Field(max_length=12)
    continent: Literal["Africa", "America", "Asia", "Europe"]
    inhabitants: int | None = Field(ge=0, le=9)


class Weather(BaseModel):
    sky: Literal["clear", "clouds"]


def text():
    agent = Agent(model, instructions="Be brief.", model_settings={**SETTINGS, "max_tokens": 8})
    answer = agent.run_sync("What is the capital of France?")
    assert answer.output and answer.usage.output_tokens <= 8, answer


def values():
    for form in [Place, ToolOutput(Place, name="place", strict=True), NativeOutput(Place, strict=True), [Place, Weather]]:
        answer = Agent(model, output_type=form, model_settings=SETTINGS).run_sync("Tell me of Paris.")
        assert isinstance(answer.output, (Place, Weather)), (form, answer)


def values_as_they_come():
    async def last(form):
        async with Agent(model, output_type=form, model_settings=SETTINGS).run_stream("Tell me of Paris.") as answer:
            async for part in answer.stream_output():
                pass
            assert part == await answer.get_output()
            return part

    for form in [Place, NativeOutput(Place)]:
        assert isinstance(asyncio.run(last(form)), Place), form


def tools_and_then_a_value():
    """The tool is there until it is called, so that the answer behind its result can only be the value."""
    asked = []

    def look(context: RunContext[None], hour: Literal[6, 12, 18]) -> str:
        """Looks at the sky."""
        asked.append(hour)
        return "clouds"

    async def once(context, definition):
        return None if asked else definition

    for form in [Weather, NativeOutput(Weather)]:
        asked.clear()
        agent = Agent(model, output_type=form, tools=[Tool(look, prepare=once)], model_settings={**SETTINGS, "parallel_tool_calls": False})
        answer = agent.run_sync("Look at the sky with the tool, then say how it is.")
        assert isinstance(answer.output, Weather), answer
        assert len(asked) <= 1 and all(hour in (6, 12, 18) for hour in asked), asked


each.run([text, values, values_as_they_come, tools_and_then_a_value])
