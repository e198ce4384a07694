"""The witness's weight formats: a block of bytes -> integers and scales, and the dequantised row.

A new format is a reader and a line in FORMATS.
"""

from collections import namedtuple

import numpy as np

F = np.float32

# Float weights: w f32 (rows, cols).
Floats = namedtuple("Floats", "w")
# Quantised weights: w, sc int32 (rows, blocks, block); d f32 (rows, blocks); and with a minimum
# mw f32 (rows, blocks), mj int32 (rows, blocks, sub-blocks), else None. A weight stands for d * sc * w + mw * mj.
Quants = namedtuple("Quants", "w sc d mw mj")


def weights_of(tensor):
    """A tensor of the GGUF file (cols, rows) -> Floats or Quants."""
    kind, cols = tensor.tensor_type.name, int(tensor.shape[0])
    data = np.ascontiguousarray(tensor.data).view(np.uint8).reshape(int(tensor.n_elements) // cols, -1)
    if kind in ("F32", "F16"):
        return Floats(finite(data.view({"F32": "<f4", "F16": "<f2"}[kind]).astype(F)))
    assert kind in FORMATS, f"{tensor.name}: type {kind} is not known here"
    size, read = FORMATS[kind]
    return read(data.reshape(len(data), -1, size))


def read_q4_0(b):  # d f16, 16 bytes: the low nibbles are weights 0..15, the high ones 16..31
    return quants(nibbles(b[..., 2:], 16) - 8, f16(b, 0))


def read_q4_1(b):  # d f16, m f16, nibbles as above
    return quants(nibbles(b[..., 4:], 16), f16(b, 0), mw=f16(b, 2), mj=np.ones(b.shape[:2] + (1,), np.int32))


def read_q8_0(b):  # d f16, 32 signed bytes
    return quants(b[..., 2:].view(np.int8).astype(np.int32), f16(b, 0))


def read_q4_k(b):  # d f16, dmin f16, 12 bytes of eight 6-bit scales and minima, 128 bytes of nibbles in groups of 64
    s = b[..., 4:16].astype(np.int32)
    low, mid, high = s[..., 0:4], s[..., 4:8], s[..., 8:12]
    sc = np.concatenate([low & 63, (high & 15) | (low >> 6) << 4], -1)
    mj = np.concatenate([mid & 63, (high >> 4) | (mid >> 6) << 4], -1)
    return quants(nibbles(b[..., 16:], 32), f16(b, 0), np.repeat(sc, 32, -1), -f16(b, 2), mj)


def read_q6_k(b):  # 128 bytes of low nibbles, 64 of high bit pairs, 16 scales i8, d f16; in halves of 128 weights
    low, high = nibbles(b[..., :128], 64), b[..., 128:192].astype(np.int32).reshape(b.shape[:2] + (2, 1, 32))
    high = (high >> np.array([0, 2, 4, 6]).reshape(4, 1)) & 3
    sc = b[..., 192:208].view(np.int8).astype(np.int32)
    return quants((low | high.reshape(low.shape) << 4) - 32, f16(b, 208), np.repeat(sc, 16, -1))


# Format -> (bytes of a block, its reader: uint8 (rows, blocks, bytes) -> Quants).
FORMATS = {
    "Q4_0": (18, read_q4_0),
    "Q4_1": (20, read_q4_1),
    "Q8_0": (34, read_q8_0),
    "Q4_K": (144, read_q4_k),
    "Q6_K": (210, read_q6_k),
}


def quants(w, d, sc=None, mw=None, mj=None):
    return Quants(w, np.ones_like(w) if sc is None else sc, d, mw, mj)


def nibbles(b, group):
    """Bytes in groups: all low nibbles of a group, then all its high ones -> int32, twice as long."""
    g = b.astype(np.int32).reshape(b.shape[:2] + (-1, 1, group))
    return np.concatenate([g & 15, g >> 4], -2).reshape(b.shape[:2] + (-1,))


def f16(b, at):
    return finite(np.ascontiguousarray(b[..., at : at + 2]).view("<f2")[..., 0].astype(F))


def dequantise(weights, rows):
    """f32 (rows, cols)."""
    if isinstance(weights, Floats):
        return weights.w[rows]
    w, sc, d, mw, mj = (None if a is None else a[rows] for a in weights)
    y = (d[..., None] * sc.astype(F)) * w.astype(F)
    if mw is not None:
        minimum = mw[..., None] * mj.astype(F)
        y = y + np.repeat(minimum, w.shape[-1] // mj.shape[-1], -1)
    return y.reshape(len(w), -1)


def finite(x):
    assert np.isfinite(x).all(), "a value is not finite"
    return x
