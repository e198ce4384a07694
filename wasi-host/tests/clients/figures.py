"""What the server does for several clients at once, for prompts that begin alike, and when idle. Prints figures; nothing is asserted but texts.

    figures.py picolm-host SMALL.gguf LARGE.gguf [more arguments for serve]
"""

import json
import os
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request

program, small, large, *more = sys.argv[1:]
name = lambda path: os.path.basename(path).removesuffix(".gguf")
state = tempfile.mkdtemp()


class Server:
    def __init__(self):
        arguments = [program, "serve", "--models", small, "--models", large, "--listen", "127.0.0.1:0", "--state", state, *more]
        self.process = subprocess.Popen(arguments, stderr=subprocess.PIPE, text=True)
        for line in self.process.stderr:
            line = json.loads(line)
            if line["what"] == "listening":
                self.url = "http://" + line["address"]
                break
        threading.Thread(target=lambda: [None for _ in self.process.stderr], daemon=True).start()

    def ask(self, **body):
        """The text, seconds to the first token, seconds in all, the usage."""
        body = json.dumps(dict(stream=True, stream_options={"include_usage": True}, **body)).encode()
        start, first, text, usage = time.monotonic(), None, "", None
        with urllib.request.urlopen(urllib.request.Request(self.url + "/v1/completions", body)) as answer:
            for line in answer:
                if line.startswith(b"data: {"):
                    chunk = json.loads(line[6:])
                    if chunk["choices"]:
                        first = first or time.monotonic() - start
                        text += chunk["choices"][0]["text"]
                    usage = chunk.get("usage") or usage
        return text, first, time.monotonic() - start, usage

    def rss_anon(self):
        with open(f"/proc/{self.process.pid}/status") as lines:
            return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("RssAnon"))

    def end(self):
        self.process.terminate()
        assert self.process.wait() == 0


def together(calls):
    answers = [None] * len(calls)
    def one(i):
        answers[i] = calls[i]()
    threads = [threading.Thread(target=one, args=(i,)) for i in range(len(calls))]
    start = time.monotonic()
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    return answers, time.monotonic() - start


server = Server()
print(f"idle, no model loaded: RssAnon {server.rss_anon():.1f} MB")

tokens = 128
ask = lambda i, n=tokens: server.ask(model=name(small), prompt=f"Story number {i}: once upon a time", seed=i, max_tokens=n, logit_bias={"2": -100, "0": -100})
ask(0)
alone = [ask(i) for i in range(8)]
rate_one = sum(answer[3]["completion_tokens"] for answer in alone) / sum(answer[2] for answer in alone)
best = 0
for _ in range(3):
    all_at_once, took = together([lambda i=i: ask(i) for i in range(8)])
    assert [answer[0] for answer in all_at_once] == [answer[0] for answer in alone], "texts differ"
    best = max(best, sum(answer[3]["completion_tokens"] for answer in all_at_once) / took)
print(f"one client {rate_one:.1f} tokens/s, eight {best:.1f} together: {best / rate_one:.2f} times; texts are the same")

eight = threading.Thread(target=lambda: together([lambda i=i: ask(i, 600) for i in range(8)]))
eight.start()
time.sleep(1.5)
print(f"a ninth client's first token during these: {ask(9, 4)[1]:.2f} s")
eight.join()

shared = [300 + i * 7919 % 20000 for i in range(1000)]
prefix = lambda end: dict(model=name(large), prompt=shared + [400 + end * 10 + i for i in range(10)], max_tokens=2, seed=1)
server.ask(model=name(large), prompt="a", max_tokens=1)
_, cold, _, usage = server.ask(**prefix(1))
text, warm, _, again = server.ask(**prefix(2))
print(f"{usage['prompt_tokens']} tokens of prompt: first token after {cold:.2f} s; the next that begins so: {warm:.3f} s "
      f"({again['prompt_tokens_details']['cached_tokens']} tokens reused), {cold / warm:.0f} times sooner")
server.end()
server = Server()
server.ask(model=name(large), prompt="a", max_tokens=1)
same, warm, _, again = server.ask(**prefix(2))
assert same == text
print(f"after a restart: {warm:.3f} s ({again['prompt_tokens_details']['cached_tokens']} reused), {cold / warm:.0f} times sooner")
server.end()
