#!/usr/bin/env python3
"""The second witness of picolm's numerics: docs/numerics.md once more, in NumPy.

It is written from that page and not from the Rust code, so that two readings of one text can be compared bit for bit.
Every float operation is one NumPy operation on f32 arrays, which rounds once and never fuses. What the page leaves
independent (rows, positions) is vectorised; what it orders (blocks, dimensions, positions of the cache) is a loop.
The `gguf` package reads metadata and raw tensor bytes; nothing of its arithmetic is used. `formats.py` unpacks the
blocks; `check.py` compares this program with llama.cpp's logits and the format vectors.

    witness.py FILE...                      one JSON line per file: its digest
    witness.py --kv q8_0 FILE...            with the other cache type
    witness.py --context 600 FILE...        as if the file said context_length = 600 (several attention chunks)
    witness.py --update digests.json FILE...    and store them there, under the KV type (and "_context_600")
    witness.py --tokens 1,2,3 --logits out.npy FILE    logits (token, vocabulary) of given tokens

Needs: pip install numpy gguf
"""

import argparse
import hashlib
import json
import math
import os

import numpy as np
from gguf import GGUFReader

from formats import Floats, dequantise, finite, weights_of

F = np.float32


# --- The model -------------------------------------------------------------------------------------------------------


class Model:
    """Metadata and weights of one GGUF file, and its forward pass over all tokens at once."""

    def __init__(self, path):
        reader = GGUFReader(path)
        meta = {key: field.contents() for key, field in reader.fields.items() if not key.startswith("tokenizer.")}
        self.arch = meta["general.architecture"]
        assert self.arch in ("llama", "qwen3"), f"{path}: architecture {self.arch} is not known here"

        def get(key, default=None):
            value = meta.get(f"{self.arch}.{key}", default)
            assert value is not None, f"{path}: {self.arch}.{key} is missing"
            return value

        self.context = get("context_length")
        self.layers = get("block_count")
        self.heads = get("attention.head_count")
        self.kv_heads = get("attention.head_count_kv", self.heads)
        self.head_size = get("attention.key_length", get("embedding_length") // self.heads)
        self.eps = F(get("attention.layer_norm_rms_epsilon"))
        self.rope_dims = get("rope.dimension_count", self.head_size)
        self.rope_base = get("rope.freq_base", 10000.0)
        scaling = get("rope.scaling.type", "none")
        assert scaling in ("none", "linear"), f"{path}: rope scaling {scaling} is not known here"
        self.rope_factor = get("rope.scaling.factor") if scaling == "linear" else 1.0
        self.tensors = {t.name: weights_of(t) for t in reader.tensors}
        self.vocab = len(self.tensors["token_embd.weight"].w)

    def logits(self, tokens, kv="f16"):
        """tokens: ids, (T,) -> logits, f32 (T, vocab)."""
        attend = {"f16": CacheF16, "q8_0": CacheQ8}[kv]
        cos, sin = self.rope_tables(len(tokens))
        x = dequantise(self.tensors["token_embd.weight"], tokens)  # (T, embedding)
        for layer in range(self.layers):
            t = lambda name: self.tensors[f"blk.{layer}.{name}.weight"]
            split = lambda y: y.reshape(len(tokens), -1, self.head_size)  # (T, heads, head_size)

            h = rms_norm(x, t("attn_norm"), self.eps)
            q, k, v = (split(matmul(t(name), h)) for name in ("attn_q", "attn_k", "attn_v"))
            if self.arch == "qwen3":
                q, k = rms_norm(q, t("attn_q_norm"), self.eps), rms_norm(k, t("attn_k_norm"), self.eps)
            q, k = self.rope(q, cos, sin), self.rope(k, cos, sin)
            group = self.heads // self.kv_heads  # query head h reads key head h // group
            a = np.stack([attention(q[:, h], attend(k[:, h // group], v[:, h // group])) for h in range(self.heads)], 1)
            x = x + matmul(t("attn_output"), a.reshape(len(tokens), -1))

            h = rms_norm(x, t("ffn_norm"), self.eps)
            gated = silu(matmul(t("ffn_gate"), h)) * matmul(t("ffn_up"), h)
            x = x + matmul(t("ffn_down"), gated)
        output = self.tensors.get("output.weight", self.tensors["token_embd.weight"])
        return finite(matmul(output, rms_norm(x, self.tensors["output_norm.weight"], self.eps)))

    def rope_tables(self, count):
        """cos and sin, each f32 (count, 1, rope_dims / 2). In f64 and rounded once."""
        n = self.rope_dims
        freqs = [math.pow(self.rope_base, -2 * i / n) / self.rope_factor for i in range(n // 2)]
        if "rope_freqs.weight" in self.tensors:
            freqs = [f / float(factor) for f, factor in zip(freqs, self.tensors["rope_freqs.weight"].w[0])]
        table = lambda fn: np.array([[[fn(pos * f) for f in freqs]] for pos in range(count)]).astype(F)
        return table(math.cos), table(math.sin)

    def rope(self, x, c, s):
        """x: (T, heads, head_size), c and s: (T, 1, rope_dims / 2)."""
        n, y = self.rope_dims, x.copy()
        pairs = {"llama": (slice(0, n, 2), slice(1, n, 2)), "qwen3": (slice(0, n // 2), slice(n // 2, n))}
        first, second = pairs[self.arch]
        a, b = x[..., first], x[..., second]
        y[..., first] = a * c - b * s
        y[..., second] = a * s + b * c
        return y


# --- Attention -------------------------------------------------------------------------------------------------------


class CacheF16:
    """Keys and values of one head, (positions, head_size), rounded to f16."""

    def __init__(self, k, v):
        self.k, self.v = (finite(to_f16(a)) for a in (k, v))

    def scores(self, q, keys):
        acc = np.zeros((len(q), keys.stop - keys.start), F)
        for d in range(q.shape[1]):
            acc = acc + q[:, d, None] * self.k[None, keys, d]
        return acc

    def weighted(self, e, p):
        """e: (queries,) -> what position p adds to their outputs, (queries, head_size)."""
        return e[:, None] * self.v[None, p]


class CacheQ8:
    """Keys and values of one head in blocks of 32 codes with one f16 scale."""

    def __init__(self, k, v):
        self.size = k.shape[1]
        (self.k, self.dk), (self.v, self.dv) = (quantise(a, 32, f16_scale=True) for a in (k, v))

    def scores(self, q, keys):
        q, dq = quantise(q, 32)
        acc = np.zeros((len(q), keys.stop - keys.start), F)
        for b in range(q.shape[1]):
            isum = q[:, b] @ self.k[keys, b].T
            acc = acc + (self.dk[None, keys, b] * dq[:, b, None]) * isum.astype(F)
        return acc

    def weighted(self, e, p):
        blocks = (e[:, None] * self.dv[None, p])[:, :, None] * self.v[None, p].astype(F)  # (queries, blocks, 32)
        return blocks.reshape(len(e), -1)[:, : self.size]


def attention(q, cache):
    """q: (T, head_size), of the positions 0..T; each sees the positions up to its own -> (T, head_size)."""
    assert (np.abs(finite(q)) <= F(2.0**100)).all(), "query out of range"
    count, size = q.shape
    scale = F(1) / np.sqrt(F(size))
    M, L, O = np.zeros(count, F), np.zeros(count, F), np.zeros((count, size), F)
    for start in range(0, count, 256):
        keys = slice(start, min(start + 256, count))
        s = cache.scores(q[start:], keys) * scale  # (queries, keys) of the queries that see this chunk
        seen = np.arange(start, count)[:, None] >= np.arange(keys.start, keys.stop)[None]
        m = np.where(seen, s, F(-np.inf)).max(axis=1)
        e = np.where(seen, exp(np.where(seen, s - m[:, None], F(0))), F(0))
        lanes, o = np.zeros((len(e), 16), F), np.zeros((len(e), size), F)
        for p in range(keys.stop - keys.start):  # queries before p do not see it and keep their sums
            lanes[p:, p % 16] = lanes[p:, p % 16] + e[p:, p]
            o[p:] = o[p:] + cache.weighted(e[p:, p], start + p)
        l = tree(lanes)
        if start == 0:
            M, L, O = m, l, o
        else:
            old_m, new_m = M[start:], np.maximum(M[start:], m)
            a, b = exp(old_m - new_m), exp(m - new_m)
            L[start:] = L[start:] * a + l * b
            O[start:] = O[start:] * a[:, None] + o * b[:, None]
            M[start:] = new_m
    return O * (F(1) / L)[:, None]


# --- Functions -------------------------------------------------------------------------------------------------------


def exp(x):
    bits = lambda u: np.uint32(u).view(F)
    t = np.clip(x, F(-87), F(88))
    n = (t * bits(0x3FB8AA3B) + F(12582912)) - F(12582912)
    r = (t - n * bits(0x3F318000)) - n * bits(0xB95E8083)
    p = bits(0x39506967)
    for c in (0x3AB743CE, 0x3C088908, 0x3D2AA9C1, 0x3E2AAAAA, 0x3F000000):
        p = p * r + bits(c)
    power = ((n.astype(np.int32) + 127) << 23).view(F)
    return np.where(x < F(-87), F(0), ((p * (r * r) + r) + F(1)) * power)


def silu(g):
    return g / (F(1) + exp(-g))


def rms_norm(x, weight, eps):
    """x: (..., n), weight: one row of n."""
    sumsq = float_dot(x, x)
    s = F(1) / np.sqrt(sumsq / F(x.shape[-1]) + eps)
    return (x * s[..., None]) * weight.w[0]


def float_dot(a, b):
    """The dot over the last axis, in 16 lanes; the axes before it broadcast."""
    lanes = np.zeros(np.broadcast_shapes(a.shape[:-1], b.shape[:-1]) + (16,), F)
    for i in range(0, a.shape[-1], 16):
        step = a[..., i : i + 16] * b[..., i : i + 16]
        width = step.shape[-1]
        lanes[..., :width] = lanes[..., :width] + step
    return tree(lanes)


def tree(lanes):
    for half in (8, 4, 2, 1):
        lanes = lanes[..., :half] + lanes[..., half : 2 * half]
    return lanes[..., 0]


def to_f16(x):
    """Rounded to f16, as f32. Beyond its range is infinity."""
    with np.errstate(over="ignore"):
        return x.astype(np.float16).astype(F)


# --- Quantised products ----------------------------------------------------------------------------------------------


def quantise(x, block, f16_scale=False):
    """x: (T, n) -> codes int32 (T, blocks, block), padded with zeros, and scales f32 (T, blocks)."""
    x = np.pad(finite(x), ((0, 0), (0, -x.shape[1] % block))).reshape(len(x), -1, block)
    d = np.abs(x).max(-1) / F(127)
    if f16_scale:
        d = finite(to_f16(d))
    ratio = x / np.where(d == 0, F(1), d)[..., None]
    return np.where(d[..., None] == 0, 0, np.clip(np.rint(ratio), F(-127), F(127))).astype(np.int32), d


def matmul(weights, x):
    """x: (T, cols) -> (T, rows)."""
    if isinstance(weights, Floats):
        return float_dot(weights.w[None], finite(x)[:, None])
    w, sc, d, mw, mj = weights
    w = w * sc
    q, dx = quantise(x, w.shape[-1])
    acc = np.zeros((len(x), len(w)), F)
    for b in range(w.shape[1]):
        isum = q[:, b] @ w[:, b].T
        acc = acc + (d[None, :, b] * dx[:, b, None]) * isum.astype(F)
        if mw is not None:
            xsum = q[:, b].reshape(len(q), mj.shape[-1], -1).sum(-1, dtype=np.int32)
            acc = acc + (mw[None, :, b] * dx[:, b, None]) * (xsum @ mj[:, b].T).astype(F)
    return acc


# --- The digest ------------------------------------------------------------------------------------------------------


def digest_tokens(context, vocab):
    return [(((i + 1) * 2654435761 % 2**32) >> 8) % vocab for i in range(min(600, context))]


def main():
    args = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    args.add_argument("files", nargs="+")
    args.add_argument("--kv", choices=["f16", "q8_0"], default="f16")
    args.add_argument("--context", type=int)
    args.add_argument("--tokens", type=lambda text: [int(i) for i in text.split(",")])
    args.add_argument("--logits")
    args.add_argument("--update")
    args = args.parse_args()
    found = {}
    for path in args.files:
        model = Model(path)
        tokens = args.tokens or digest_tokens(args.context or model.context, model.vocab)
        logits = model.logits(tokens, args.kv)
        assert logits.dtype == F
        if args.logits:
            np.save(args.logits, logits)
        name = os.path.basename(path)
        found[name] = hashlib.sha256(logits.astype("<f4").tobytes()).hexdigest()
        print(json.dumps({"file": name, "sha256": found[name]}), flush=True)
    if args.update:
        assert not args.tokens, "--update stores digests of the digest's own tokens"
        stored = {}
        if os.path.exists(args.update):
            with open(args.update) as file:
                stored = json.load(file)
        key = args.kv + (f"_context_{args.context}" if args.context else "")
        stored[key] = dict(sorted({**stored.get(key, {}), **found}.items()))
        with open(args.update, "w") as file:
            file.write(json.dumps(stored, indent=2, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
