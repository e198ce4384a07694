#!/usr/bin/env python3
"""Checks the witness itself against what others computed.

    check.py DIR     DIR holds golden models and index.json, which has llama.cpp's logits of a few positions

1. Dequantised rows equal the bits gguf-py gives (core/kernels/tests/vectors/*.json).
2. Logits lie near llama.cpp's, which rounds differently: within 0.01 for F32 and F16 weights, 0.04 for BF16 (llama.cpp
   rounds activations to bf16 there), 0.25 for quantised ones.
3. exp is within 2 units in the last place of f64's.
"""

import glob
import json
import os
import re
import sys

import numpy as np

import formats
import witness

HERE = os.path.dirname(os.path.abspath(__file__))
BOUNDS = {"F32": 0.01, "F16": 0.01, "BF16": 0.04}


def check_vectors():
    for path in sorted(glob.glob(os.path.join(HERE, "../../kernels/tests/vectors/*.json"))):
        v = load(path)
        if v["format"] not in formats.FORMATS:
            continue
        blocks = np.frombuffer(bytes.fromhex(v["blocks_hex"]), np.uint8).reshape(1, v["blocks"], v["block_bytes"])
        size, read = formats.FORMATS[v["format"]]
        assert size == v["block_bytes"], path
        row = formats.dequantise(read(blocks), [0])
        assert row.tobytes().hex() == v["f32_hex"], f"{path}: other bits"
        print(f"{v['format']:6} {row.size} values, the same bits")


def check_golden(folder):
    for entry in load(os.path.join(folder, "index.json")):
        kind = re.sub("_(S|M|MOE)$", "", entry["type"])
        known = kind in [*formats.FORMATS, *BOUNDS]
        if entry["arch"] not in witness.ARCHITECTURES or not known:
            continue
        logits = witness.Model(os.path.join(folder, entry["file"])).logits(entry["tokens"])
        worst = np.abs(logits[entry["positions"]] - np.array(entry["logits"])).max()
        bound = BOUNDS.get(kind, 0.25)
        same = (logits.argmax(axis=1) == np.array(entry["argmax"])).sum()
        print(f"{entry['file']:20} max difference {worst:.4f}, argmax {same} of {len(logits)}")
        assert worst <= bound, f"{entry['file']}: {worst} > {bound}"


def check_exp():
    x = np.linspace(-87, 88, 1_000_001).astype(np.float32)
    exact = np.exp(x.astype(np.float64))
    worst = (np.abs(witness.exp(x) - exact) / np.spacing(exact.astype(np.float32))).max()
    print(f"exp    within {worst:.2f} units in the last place")
    assert worst < 2 and witness.exp(np.zeros(1, np.float32))[0] == 1


def load(path):
    with open(path) as file:
        return json.load(file)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    check_vectors()
    check_exp()
    check_golden(sys.argv[1])
