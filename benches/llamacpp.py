#!/usr/bin/env python3
"""llama.cpp's side of `cargo xtask bench`: runs when it is told to, as `picolm bench --on-demand` does.

    pip install llama-cpp-python     # builds llama.cpp for this very CPU: needs a C++ compiler and cmake
    llamacpp.py MODEL.gguf --threads N --prompt N --gen N

After a warm-up it says what it is in a line of JSON; then each line of standard input is answered by one run. Only
llama_decode is timed: the prompt in one batch, then one token at a time; nothing is sampled, nothing is turned into text.
"""

import argparse
import ctypes
import json
import sys
import time

import llama_cpp as llama


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("model")
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--prompt", type=int, required=True)
    parser.add_argument("--gen", type=int, required=True)
    args = parser.parse_args()

    # A callback is freed with its last reference: this name keeps it.
    quiet = llama.llama_log_callback(lambda level, text, data: None)
    llama.llama_log_set(quiet, ctypes.c_void_p(0))
    llama.llama_backend_init()
    python_alone = own_memory()
    runner = Runner(args)
    runner.run()
    say(version=llama.__version__)
    for _ in sys.stdin:
        prefill, decode = runner.run()
        memory = own_memory()
        say(prefill=prefill, decode=decode, own_memory=memory and memory - python_alone)


class Runner:
    """A model and a context, run again and again."""

    def __init__(self, args):
        self.model = llama.llama_model_load_from_file(args.model.encode(), llama.llama_model_default_params())
        if not self.model:
            sys.exit(f"llama.cpp cannot load {args.model}")
        params = llama.llama_context_default_params()
        params.n_ctx = params.n_batch = params.n_ubatch = args.prompt + args.gen
        params.n_threads = params.n_threads_batch = args.threads
        self.context = llama.llama_init_from_model(self.model, params)
        if not self.context:
            sys.exit("llama.cpp makes no context")
        vocab = llama.llama_vocab_n_tokens(llama.llama_model_get_vocab(self.model))
        # The tokens of picolm's side (native/src/commands/bench.rs).
        ids = [(300 + i * 7919 % 20000) % vocab for i in range(args.prompt)]
        self.prompt = (llama.llama_token * args.prompt)(*ids)
        self.one = (llama.llama_token * 1)(500 % vocab)
        self.gen = args.gen

    def run(self):
        """Tokens per second of the prompt, and of the tokens one by one after it."""
        llama.llama_memory_clear(llama.llama_get_memory(self.context), True)
        start = time.perf_counter()
        self.decode(self.prompt)
        between = time.perf_counter()
        for _ in range(self.gen):
            self.decode(self.one)
        end = time.perf_counter()
        return len(self.prompt) / (between - start), self.gen / (end - between)

    def decode(self, tokens):
        status = llama.llama_decode(self.context, llama.llama_batch_get_one(tokens, len(tokens)))
        if status != 0:
            sys.exit(f"llama_decode returned {status}")
        llama.llama_synchronize(self.context)


def own_memory():
    """Bytes of this process that are backed by no file; None where the system does not tell."""
    try:
        with open("/proc/self/status") as status:
            return next((int(line.split()[1]) * 1024 for line in status if line.startswith("RssAnon:")), None)
    except OSError:
        return None


def say(**what):
    print(json.dumps(what), flush=True)


if __name__ == "__main__":
    main()
