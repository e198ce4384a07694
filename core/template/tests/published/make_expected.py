#!/usr/bin/env python3
"""Writes expected.json: what Jinja2 makes of each template here and each of conversations.json.

    pip install jinja2            # made with Jinja2 3.1.6
    python3 make_expected.py

The environment is that of transformers.utils.chat_template_utils: sandboxed, trim_blocks, lstrip_blocks, loop controls, a
`tojson` that leaves Unicode and HTML alone, `raise_exception`, `strftime_now` (here always the same moment). Where a template
refuses a conversation, the message of its exception is written instead.
"""
import datetime
import json
import pathlib

import jinja2
from jinja2.ext import loopcontrols
from jinja2.sandbox import ImmutableSandboxedEnvironment

HERE = pathlib.Path(__file__).parent
NOW = datetime.datetime(2026, 2, 28, 13, 5, 9)
TOKENS = {"bos_token": "<s>", "eos_token": "</s>"}


def raise_exception(message):
    raise jinja2.exceptions.TemplateError(message)


def tojson(value, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def environment():
    env = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols])
    env.filters["tojson"] = tojson
    env.globals["raise_exception"] = raise_exception
    env.globals["strftime_now"] = NOW.strftime
    return env


def render(template, talk):
    try:
        text = template.render(messages=talk["messages"], tools=talk.get("tools"), documents=None,
                               add_generation_prompt=talk["add_generation_prompt"], **TOKENS, **talk.get("variables", {}))
        return {"text": text}
    except jinja2.exceptions.TemplateError as error:
        return {"error": str(error)}


def main():
    talks = json.loads((HERE / "conversations.json").read_text())
    templates = sorted(HERE.glob("*.jinja"))
    found = {path.stem: [render(environment().from_string(path.read_text()), talk) for talk in talks] for path in templates}
    (HERE / "expected.json").write_text(json.dumps(found, ensure_ascii=False, indent=1) + "\n")


if __name__ == "__main__":
    main()
