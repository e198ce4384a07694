"""openai-agents against the server at PICOLM_URL: tools, handoffs, values, whole and as they come."""

import asyncio
import os
from typing import Literal

import each
import openai
from agents import Agent, ModelSettings, OpenAIChatCompletionsModel, Runner, function_tool, set_tracing_disabled
from pydantic import BaseModel, Field

set_tracing_disabled(True)
asked = []


class Weather(BaseModel):
    sky: Literal["clear", "clouds"]
    note: str = Field(max_length=8)


@function_tool(is_enabled=lambda context, agent: not asked)
def look(hour: Literal[6, 12, 18], where: str | None = None) -> str:
    """Looks at the sky, once."""
    asked.append(hour)
    return "clouds"


def agent(**more):
    # A client belongs to one event loop, and each test has its own.
    client = openai.AsyncOpenAI(base_url=os.environ["PICOLM_URL"] + "/v1", api_key=os.environ.get("PICOLM_KEY", "none"), max_retries=0)
    model = OpenAIChatCompletionsModel(model=os.environ["PICOLM_NAME"], openai_client=client)
    settings = ModelSettings(temperature=0, max_tokens=100, include_usage=True, **more.pop("settings", {}))
    return Agent(name="sky", instructions="Be brief.", model=model, model_settings=settings, **more)


def values():
    answer = Runner.run_sync(agent(output_type=Weather), "How is the sky?")
    assert isinstance(answer.final_output, Weather), answer


def tools():
    asked.clear()
    settings = dict(tool_choice="look", parallel_tool_calls=False)
    answer = Runner.run_sync(agent(tools=[look], tool_use_behavior="stop_on_first_tool", settings=settings), "How is the sky?")
    assert answer.final_output == "clouds" and len(asked) == 1 and asked[0] in (6, 12, 18), (answer, asked)


def tools_as_they_come():
    async def run():
        settings = dict(tool_choice="required", parallel_tool_calls=False)
        answer = Runner.run_streamed(agent(tools=[look], tool_use_behavior="stop_on_first_tool", settings=settings), "How is the sky?")
        return [event async for event in answer.stream_events()], answer

    asked.clear()
    events, answer = asyncio.run(run())
    called = [event.item for event in events if event.type == "run_item_stream_event" and event.name == "tool_called"]
    assert len(called) == 1 and called[0].raw_item.name == "look" and len(asked) == 1, events
    assert answer.context_wrapper.usage.output_tokens > 0


def a_result_is_answered():
    """What the tool said goes back to the model, which is not told of tools any more."""
    asked.clear()
    first = Runner.run_sync(agent(tools=[look], tool_use_behavior="stop_on_first_tool", settings=dict(tool_choice="look")), "How is the sky?")
    said = first.to_input_list() + [{"role": "user", "content": "So?"}]
    second = Runner.run_sync(agent(output_type=Weather), said)
    assert isinstance(second.final_output, Weather), second


def a_tool_or_a_value():
    """With a tool and a form of the answer, a turn is one of both."""
    for choice in ["auto", "required"]:
        asked.clear()
        settings = dict(tool_choice=choice, parallel_tool_calls=False)
        answer = Runner.run_sync(agent(tools=[look], output_type=Weather, settings=settings), "How is the sky?", max_turns=2)
        assert isinstance(answer.final_output, Weather), answer
        assert choice == "auto" or asked, "no tool was called"


each.run([values, tools, tools_as_they_come, a_result_is_answered, a_tool_or_a_value])
