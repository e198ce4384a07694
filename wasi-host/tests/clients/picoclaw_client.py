"""What PicoClaw does: its provider of OpenAI's API against the server at PICOLM_URL, and its provider that runs PicoLM's command line, PICOLM_BIN
with the model PICOLM_MODEL. PicoClaw is a program of its own (Go), so both are written down here: what is sent, and how answers are read."""

import json
import os
import re
import subprocess
import urllib.request

import each

TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "read_file",
            "description": "Reads a file.",
            "parameters": {"type": "object", "properties": {"path": {"type": "string", "enum": ["a.txt", "b.txt"]}}, "required": ["path"]},
        },
    }
]
MESSAGES = [{"role": "system", "content": "You are picoclaw, a helpful assistant."}, {"role": "user", "content": "What is in a.txt?"}]


def body(messages, tools, max_tokens, extra):
    """buildRequestBody: extra_body of the configuration comes last."""
    body = {"model": os.environ["PICOLM_NAME"], "messages": messages}
    if tools:
        body |= {"tools": tools, "tool_choice": "auto"}
    return body | {"max_tokens": max_tokens, "temperature": 0.7} | extra


def send(body, accept):
    headers = {"Content-Type": "application/json", "Accept": accept, "User-Agent": "PicoClaw/1.0", "Authorization": "Bearer none"}
    request = urllib.request.Request(os.environ["PICOLM_URL"] + "/v1/chat/completions", json.dumps(body).encode(), headers)
    return urllib.request.urlopen(request, timeout=120)


def decode(arguments):
    """DecodeToolCallArguments: a text of JSON, or an object."""
    return json.loads(arguments) if isinstance(arguments, str) else arguments


def chat(messages, tools=(), max_tokens=100, **extra):
    """Chat: content, calls (id, name, arguments), why it ended."""
    choice = json.load(send(body(messages, list(tools), max_tokens, extra), "*/*"))["choices"][0]
    message = choice["message"]
    calls = [(call["id"], call["function"]["name"], decode(call["function"]["arguments"])) for call in message.get("tool_calls") or []]
    return message.get("content") or "", calls, choice["finish_reason"]


def chat_stream(messages, tools=(), max_tokens=100, **extra):
    """ChatStream: lines of `data:`, up to an empty one; calls are put together by their index, their arguments joined."""
    content, active, reason, event = "", {}, "", []
    for line in send({**body(messages, list(tools), max_tokens, extra), "stream": True}, "text/event-stream"):
        line = line.decode().rstrip("\r\n")
        if line.startswith("data:"):
            event.append(line.removeprefix("data:").removeprefix(" "))
        if line or not event:
            continue
        data, event = "\n".join(event), []
        if data.strip() == "[DONE]":
            break
        for choice in json.loads(data)["choices"][:1]:
            content += choice["delta"].get("content") or ""
            for part in choice["delta"].get("tool_calls") or []:
                call = active.setdefault(part.get("index", 0), {"id": "", "name": "", "arguments": ""})
                call["id"] = part.get("id") or call["id"]
                call["name"] = part["function"].get("name") or call["name"]
                call["arguments"] += part["function"].get("arguments") or ""
            reason = choice["finish_reason"] or reason
    calls = [(active[i]["id"], active[i]["name"], decode(active[i]["arguments"])) for i in range(len(active))]
    return content, calls, reason


def a_turn_over_http():
    for ask in [chat, chat_stream]:
        content, calls, reason = ask(MESSAGES, TOOLS, seed=1)
        assert content or calls, (content, calls, reason)
        assert reason in ("stop", "length", "tool_calls")


def a_loop_over_http():
    """A call, its result as PicoClaw writes it, and an answer to it."""
    for ask in [chat, chat_stream]:
        content, calls, reason = ask(MESSAGES, TOOLS, seed=1, tool_choice="required", parallel_tool_calls=False)
        [(name_of_call, name, arguments)] = calls
        assert reason == "tool_calls" and name == "read_file" and arguments["path"] in ("a.txt", "b.txt"), calls
        function = {"name": name, "arguments": json.dumps(arguments)}
        turn = {"role": "assistant", "content": content, "tool_calls": [{"id": name_of_call, "type": "function", "function": function}]}
        result = {"role": "tool", "content": "The file says: hello.", "tool_call_id": name_of_call}
        content, calls, _ = ask([*MESSAGES, turn, result], TOOLS, max_tokens=12, seed=1, tool_choice="none")
        assert content and not calls


def tools_prompt():
    """buildCLIToolsPrompt"""
    text = "## Available Tools\n\nWhen you need to use a tool, respond with ONLY a JSON object:\n\n```json\n"
    text += '{"tool_calls":[{"id":"call_xxx","type":"function","function":{"name":"tool_name","arguments":"{...}"}}]}'
    text += "\n```\n\nCRITICAL: The 'arguments' field MUST be a JSON-encoded STRING.\n\n### Tool Definitions:\n\n"
    for tool in TOOLS:
        function = tool["function"]
        text += f"#### {function['name']}\nDescription: {function['description']}\n"
        text += f"Parameters:\n```json\n{json.dumps(function['parameters'])}\n```\n\n"
    return text


def call_text(path):
    function = {"name": "read_file", "arguments": json.dumps({"path": path})}
    return json.dumps({"tool_calls": [{"id": "call_1", "type": "function", "function": function}]}, separators=(",", ":"))


def run(messages, *more):
    """PicoLMProvider: the prompt on standard input, in the turns of its one template; the answer is what is on standard output."""
    system = "\n\n".join([message["content"] for message in messages if message["role"] == "system"] + [tools_prompt()])
    turns = [("system", system)] + [(message["role"], message["content"]) for message in messages if message["role"] != "system"]
    prompt = "".join(f"<|{role}|>\n{text}\n</s>\n" for role, text in turns) + "<|assistant|>\n"
    command = [os.environ["PICOLM_BIN"], os.environ["PICOLM_MODEL"], "--json", "-n", "60", "-t", "0", "-j", "2", *more]
    answer = subprocess.run(command, input=prompt.encode(), capture_output=True, timeout=120)
    assert answer.returncode == 0, answer.stderr.decode()
    return answer.stdout.decode().strip()


def calls_in(text):
    """extractToolCallsFromText: from the words that begin it to the brace that ends it; arguments have to be a text."""
    start = text.find('{"tool_calls"')
    if start < 0:
        return []
    calls, _ = json.JSONDecoder().raw_decode(text[start:])
    assert all(isinstance(call["function"]["arguments"], str) for call in calls["tool_calls"]), text
    return [(call["function"]["name"], json.loads(call["function"]["arguments"])) for call in calls["tool_calls"]]


def the_command_line():
    """What comes is one object, whatever the model knows. Shown how, it calls."""
    assert isinstance(json.loads(run(MESSAGES)), dict)
    shown = []
    for path in ["a.txt", "b.txt", "a.txt"]:
        shown += [{"role": "user", "content": f"What is in {path}?"}, {"role": "assistant", "content": call_text(path)}]
    [(name, arguments)] = calls_in(run([MESSAGES[0], *shown, {"role": "user", "content": "What is in b.txt?"}]))
    assert name == "read_file" and re.fullmatch(r"[ab]\.txt", arguments["path"]), (name, arguments)


each.run([a_turn_over_http, a_loop_over_http, the_command_line])
