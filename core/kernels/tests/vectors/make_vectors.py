#!/usr/bin/env python3
"""Writes the format vectors: random blocks of each weight format, and the f32 values gguf-py dequantises them to.

    python3 make_vectors.py                 all of FORMATS, beside this file
    python3 make_vectors.py Q5_0 IQ4_XS     only these

Needs: pip install numpy gguf (made with numpy 2.4 and gguf 0.19). The bytes depend only on the format's name, so the
files do not change when run again. Each is JSON with one key per line:

    format       ggml's name
    block_size   weights in a block;   block_bytes: its bytes;   blocks: their number
    blocks_hex   the blocks one after another
    f32_hex      blocks * block_size values, 4 bytes each in little-endian order, exact bits (-0.0 occurs)

All bits of a block are random but its scales: the first blocks take their f16 scales from EDGES (zeros, denormals, both
signs, the largest), the others random ones of the size found in models. There is no infinity or NaN among the scales.
"""

import json
import os
import sys
import zlib

import numpy as np
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType
from gguf.quants import dequantize

EDGES = np.array([0x0000, 0x8000, 0x0001, 0x83FF, 0x0400, 0xBC00, 0x7BFF], "<u2")  # f16 bits


def f16_at(*offsets):
    """Puts f16 scales at these byte offsets of a block: EDGES, staggered so that their pairs differ, then random."""

    def fill(blocks, rng):
        for nth, at in enumerate(offsets):
            sign = rng.choice([-1, 1], len(blocks))
            scales = (rng.uniform(0.001, 0.05, len(blocks)) * sign).astype("<f2").view("<u2")
            count = min(len(EDGES), len(blocks) - 1)
            scales[:count] = np.roll(EDGES, -3 * nth)[:count]
            blocks[:, at : at + 2] = scales.view(np.uint8).reshape(-1, 2)

    return fill


def finite(exponent):
    """For 16-bit floats: EDGES first, and no weight with all bits of `exponent` set."""

    def fill(blocks, rng):
        values = blocks.view("<u2")[:, 0]
        values[: len(EDGES)] = EDGES
        values[(values & exponent) == exponent] ^= 0x4000

    return fill


def e8m0(blocks, rng):
    """MXFP4's exponent: the two that make denormals, the next, a large one, then ordinary ones."""
    blocks[:, 0] = rng.integers(110, 130, len(blocks))
    blocks[:4, 0] = [0, 1, 2, 250]


FORMATS = {
    "F16": finite(0x7C00),
    "BF16": finite(0x7F80),
    "Q4_0": f16_at(0),
    "Q4_1": f16_at(0, 2),
    "Q5_0": f16_at(0),
    "Q5_1": f16_at(0, 2),
    "Q8_0": f16_at(0),
    "Q2_K": f16_at(80, 82),
    "Q3_K": f16_at(108),
    "Q4_K": f16_at(0, 2),
    "Q5_K": f16_at(0, 2),
    "Q6_K": f16_at(208),
    "IQ4_NL": f16_at(0),
    "IQ4_XS": f16_at(0),
    "TQ1_0": f16_at(52),
    "TQ2_0": f16_at(64),
    "MXFP4": e8m0,
}


def make(name):
    kind = GGMLQuantizationType[name]
    size, nbytes = GGML_QUANT_SIZES[kind]
    count = {1: 256, 32: 16, 256: 10}[size]
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    blocks = rng.integers(0, 256, (count, nbytes), dtype=np.uint8)
    FORMATS[name](blocks, rng)
    values = np.ascontiguousarray(dequantize(blocks.view("<f2") if name == "F16" else blocks, kind), "<f4")
    assert values.size == count * size and np.isfinite(values).all(), name
    return {
        "format": name,
        "block_size": size,
        "block_bytes": nbytes,
        "blocks": count,
        "blocks_hex": blocks.tobytes().hex(),
        "f32_hex": values.tobytes().hex(),
    }


def main():
    here = os.path.dirname(os.path.abspath(__file__))
    for name in sys.argv[1:] or FORMATS:
        with open(os.path.join(here, name.lower() + ".json"), "w") as out:
            out.write(json.dumps(make(name), indent=2) + "\n")


if __name__ == "__main__":
    main()
