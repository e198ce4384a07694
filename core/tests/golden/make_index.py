#!/usr/bin/env python3
"""Adds models to index.json: what llama.cpp computes for them, in the form of the other entries.

    make_index.py FILE...    files of this folder, e.g. smollm3-F16.gguf; an entry of the same file is replaced

First it must find llama-F16.gguf's recorded logits again. The tokens are those of the first entry; an entry has the best
token and its margin at all positions, and the logits of some.

Needs: pip install numpy gguf llama-cpp-python
"""

import hashlib
import json
import os
import sys

import llama_cpp
import numpy as np
from gguf import GGUFReader

HERE = os.path.dirname(os.path.abspath(__file__))


def main(files):
    path = os.path.join(HERE, "index.json")
    with open(path) as file:
        index = json.load(file)
    known = next(entry for entry in index if entry["file"] == "llama-F16.gguf")
    worst = np.abs(logits_of(known["file"], known["tokens"])[known["positions"]] - np.array(known["logits"])).max()
    print(f"{known['file']}: {worst:.5f} from the recorded logits")
    assert worst < 1e-3, "this llama.cpp computes something else"
    for name in files:
        entry = entry_of(name, known["tokens"], known["positions"])
        index = [other for other in index if other["file"] != name] + [entry]
        print(f"{name}: {entry['arch']}, smallest margin {min(entry['margin'])}")
    with open(path, "w") as file:
        file.write(json.dumps(index))


def entry_of(name, tokens, positions):
    reader = GGUFReader(os.path.join(HERE, name))
    logits = logits_of(name, tokens)
    two = np.sort(logits, axis=1)[:, -2:]
    with open(os.path.join(HERE, name), "rb") as file:
        sha256 = hashlib.sha256(file.read()).hexdigest()
    return {
        "file": name,
        "arch": reader.fields["general.architecture"].contents(),
        "type": name.removesuffix(".gguf").split("-")[-1],
        "sha256": sha256,
        "tokens": tokens,
        "positions": positions,
        "argmax": logits.argmax(axis=1).tolist(),
        "margin": [round(float(second_best[1] - second_best[0]), 4) for second_best in two],
        "logits": [[round(float(value), 4) for value in logits[position]] for position in positions],
    }


def logits_of(name, tokens):
    """f32 (T, vocabulary), of llama.cpp on one thread with a cache of f16, without flash attention."""
    load, session = llama_cpp.llama_model_default_params(), llama_cpp.llama_context_default_params()
    load.n_gpu_layers = 0
    session.n_ctx = session.n_batch = session.n_ubatch = 256
    session.flash_attn_type = llama_cpp.LLAMA_FLASH_ATTN_TYPE_DISABLED  # it rounds more
    session.n_threads = session.n_threads_batch = 1
    model = llama_cpp.llama_model_load_from_file(os.path.join(HERE, name).encode(), load)
    assert model, f"{name}: llama.cpp cannot load it"
    context = llama_cpp.llama_init_from_model(model, session)
    assert context, f"{name}: llama.cpp makes no context"
    vocab = llama_cpp.llama_vocab_n_tokens(llama_cpp.llama_model_get_vocab(model))
    batch = llama_cpp.llama_batch_init(len(tokens), 0, 1)
    batch.n_tokens = len(tokens)
    for i, token in enumerate(tokens):
        batch.token[i], batch.pos[i], batch.logits[i] = token, i, 1
        batch.n_seq_id[i], batch.seq_id[i][0] = 1, 0
    assert llama_cpp.llama_decode(context, batch) == 0, f"{name}: llama.cpp cannot compute it"
    rows = [np.ctypeslib.as_array(llama_cpp.llama_get_logits_ith(context, i), (vocab,)).copy() for i in range(len(tokens))]
    llama_cpp.llama_batch_free(batch)
    llama_cpp.llama_free(context)
    llama_cpp.llama_model_free(model)
    return np.stack(rows)


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    main(sys.argv[1:])
