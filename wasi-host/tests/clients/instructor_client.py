"""instructor against the server at PICOLM_URL, in each of its modes that OpenAI's API has."""

import os
from typing import Literal

import each
import instructor
import openai
from pydantic import BaseModel, Field

plain = openai.OpenAI(base_url=os.environ["PICOLM_URL"] + "/v1", api_key=os.environ.get("PICOLM_KEY", "none"), max_retries=0)
MODES = [instructor.Mode.TOOLS, instructor.Mode.TOOLS_STRICT, instructor.Mode.JSON_SCHEMA, instructor.Mode.JSON]
ASK = dict(model=os.environ["PICOLM_NAME"], messages=[{"role": "user", "content": "Ann is 7."}], temperature=0, max_tokens=120, max_retries=0)


class Pet(BaseModel):
    kind: Literal["cat", "dog"]


class Child(BaseModel):
    name: str = Field(max_length=10)
    age: int = Field(ge=0, le=9)
    pets: list[Pet] = Field(max_length=1)


def values():
    # JSON only promises an object: that it is a child's is up to the model.
    for mode in MODES[:-1]:
        client = instructor.from_openai(plain, mode=mode)
        child = client.chat.completions.create(response_model=Child, **ASK)
        assert isinstance(child, Child), (mode, child)


def values_as_they_come():
    client = instructor.from_openai(plain, mode=instructor.Mode.TOOLS)
    parts = list(client.chat.completions.create_partial(response_model=Child, **ASK))
    Child.model_validate(parts[-1].model_dump())
    children = list(instructor.from_openai(plain, mode=instructor.Mode.JSON_SCHEMA).chat.completions.create_iterable(response_model=Pet, **ASK))
    assert all(isinstance(child, Pet) for child in children), children


each.run([values, values_as_they_come])
