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
    if kind == "BF16":  # the upper half of an f32
        return Floats(finite((data.view("<u2").astype(np.uint32) << 16).view(F)))
    assert kind in FORMATS, f"{tensor.name}: type {kind} is not known here"
    size, read = FORMATS[kind]
    return read(data.reshape(len(data), -1, size))


def read_q4_0(b):  # d f16, 16 bytes: the low nibbles are weights 0..15, the high ones 16..31
    return quants(fields(b[..., 2:], 4, 16) - 8, f16(b, 0))


def read_q4_1(b):  # d f16, m f16, nibbles as above
    return quants(fields(b[..., 4:], 4, 16), f16(b, 0), mw=f16(b, 2), mj=ones(b))


def read_q5_0(b):  # d f16, 32 fifth bits, nibbles as above
    return quants(fields(b[..., 6:], 4, 16) + 16 * fields(b[..., 2:6], 1, 1) - 16, f16(b, 0))


def read_q5_1(b):  # d f16, m f16, 32 fifth bits, nibbles as above
    return quants(fields(b[..., 8:], 4, 16) + 16 * fields(b[..., 4:8], 1, 1), f16(b, 0), mw=f16(b, 2), mj=ones(b))


def read_q8_0(b):  # d f16, 32 signed bytes
    return quants(b[..., 2:].view(np.int8).astype(np.int32), f16(b, 0))


def read_iq4_nl(b):  # d f16, nibbles as above that stand for values of a table
    return quants(IQ4[fields(b[..., 2:], 4, 16)], f16(b, 0))


def read_mxfp4(b):  # an exponent, nibbles as above that stand for twice the value of an e2m1 float
    sign_and_size = fields(b[..., 1:], 4, 16)
    twice = np.array([0, 1, 2, 3, 4, 6, 8, 12])[sign_and_size & 7].astype(np.int32)
    d = np.ldexp(1.0, b[..., 0].astype(np.int32) - 128).astype(F)  # half of 2^(e - 127), a denormal for e < 2
    return quants(np.where(sign_and_size & 8, -twice, twice), d)


def read_q2_k(b):  # 16 bytes of a scale (low nibble) and a minimum, 64 of bit pairs in groups of 128 weights, d f16, dmin f16
    sc, mj = b[..., :16].astype(np.int32) & 15, b[..., :16].astype(np.int32) >> 4
    return quants(fields(b[..., 16:80], 2, 32), f16(b, 80), np.repeat(sc, 16, -1), -f16(b, 82), mj)


def read_q3_k(b):  # 32 bytes of third bits, 64 of bit pairs as above, 12 of 6-bit scales, d f16
    w = fields(b[..., 32:96], 2, 32) + 4 * fields(b[..., :32], 1, 32) - 4
    sc = fields(b[..., 96:104], 4, 8) + 16 * fields(b[..., 104:108], 2, 4) - 32
    return quants(w, f16(b, 108), np.repeat(sc, 16, -1))


def read_q4_k(b):  # d f16, dmin f16, 12 bytes of eight 6-bit scales and minima, 128 bytes of nibbles in groups of 64
    sc, mj = scales_and_minima(b[..., 4:16])
    return quants(fields(b[..., 16:], 4, 32), f16(b, 0), np.repeat(sc, 32, -1), -f16(b, 2), mj)


def read_q5_k(b):  # d f16, dmin f16, 12 bytes as above, 32 bytes of fifth bits, 128 bytes of nibbles as above
    sc, mj = scales_and_minima(b[..., 4:16])
    w = fields(b[..., 48:], 4, 32) + 16 * fields(b[..., 16:48], 1, 32)
    return quants(w, f16(b, 0), np.repeat(sc, 32, -1), -f16(b, 2), mj)


def read_q6_k(b):  # 128 bytes of low nibbles, 64 of high bit pairs, 16 scales i8, d f16; in halves of 128 weights
    w = fields(b[..., :128], 4, 64) + 16 * fields(b[..., 128:192], 2, 32) - 32
    sc = b[..., 192:208].view(np.int8).astype(np.int32)
    return quants(w, f16(b, 208), np.repeat(sc, 16, -1))


def read_iq4_xs(b):  # d f16, eight 6-bit scales: 2 bytes of high bit pairs and 4 of low nibbles; nibbles as in IQ4_NL by 32
    sc = fields(b[..., 4:8], 4, 1) + 16 * fields(b[..., 2:4], 2, 1) - 32
    return quants(IQ4[fields(b[..., 8:], 4, 16)], f16(b, 0), np.repeat(sc, 32, -1))


def read_tq1_0(b):  # 48 bytes of five ternary digits, in groups of 32 and 16, 4 bytes of four, d f16
    digits = [trits(b[..., :32], 5), trits(b[..., 32:48], 5), trits(b[..., 48:52], 4)]
    return quants(np.concatenate(digits, -1) - 1, f16(b, 52))


def read_tq2_0(b):  # 64 bytes of bit pairs in groups of 128 weights, d f16
    return quants(fields(b[..., :64], 2, 32) - 1, f16(b, 64))


# Format -> (bytes of a block, its reader: uint8 (rows, blocks, bytes) -> Quants).
FORMATS = {
    "Q4_0": (18, read_q4_0),
    "Q4_1": (20, read_q4_1),
    "Q5_0": (22, read_q5_0),
    "Q5_1": (24, read_q5_1),
    "Q8_0": (34, read_q8_0),
    "Q2_K": (84, read_q2_k),
    "Q3_K": (110, read_q3_k),
    "Q4_K": (144, read_q4_k),
    "Q5_K": (176, read_q5_k),
    "Q6_K": (210, read_q6_k),
    "IQ4_NL": (18, read_iq4_nl),
    "IQ4_XS": (136, read_iq4_xs),
    "TQ1_0": (54, read_tq1_0),
    "TQ2_0": (66, read_tq2_0),
    "MXFP4": (17, read_mxfp4),
}

# The values of the IQ4 formats' nibbles.
IQ4 = np.array([-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113], np.int32)


def quants(w, d, sc=None, mw=None, mj=None):
    return Quants(w, np.ones_like(w) if sc is None else sc, d, mw, mj)


def ones(b):
    """The integer minima of a format that has one minimum a block."""
    return np.ones(b.shape[:2] + (1,), np.int32)


def fields(b, width, group):
    """Bytes in groups: the lowest `width` bits of a whole group, then its next, up to the highest -> int32."""
    g = b.astype(np.int32).reshape(b.shape[:2] + (-1, 1, group))
    shifts = np.arange(0, 8, width).reshape(-1, 1)
    return ((g >> shifts) & ((1 << width) - 1)).reshape(b.shape[:2] + (-1,))


def trits(b, count):
    """The first `count` ternary digits of each byte / 256, all first digits first -> int32."""
    digits, rest = [], b.astype(np.int32)
    for _ in range(count):
        digits.append(rest * 3 >> 8)
        rest = rest * 3 & 255
    return np.concatenate(digits, -1)


def scales_and_minima(s):
    """Q4_K's and Q5_K's twelve bytes -> eight scales, eight minima."""
    s = s.astype(np.int32)
    low, mid, high = s[..., 0:4], s[..., 4:8], s[..., 8:12]
    sc = np.concatenate([low & 63, (high & 15) | (low >> 6) << 4], -1)
    return sc, np.concatenate([mid & 63, (high >> 4) | (mid >> 6) << 4], -1)


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


def part(weights, index, count):
    """Part `index` of `count` equal parts of the rows."""
    rows = len(weights.w) // count
    return type(weights)(*(None if a is None else a[index * rows : (index + 1) * rows] for a in weights))


def finite(x):
    assert np.isfinite(x).all(), "a value is not finite"
    return x
