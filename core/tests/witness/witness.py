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
from collections import namedtuple

import numpy as np
from gguf import GGUFReader

from formats import Floats, dequantise, finite, part, weights_of

F = np.float32

# What an architecture does beyond what the file's keys and tensors say:
#   neighbours  the pairs of RoPE are (2i, 2i+1), else halves
#   head_norms  q and k of each head are normed before RoPE
#   gemma       the embedding is scaled, the gate is gelu, the results of both parts are normed
#   period      each such layer sees all positions, the others a window; 0: all have the file's window
#   wide        of so many layers, scores are scaled by embedding width / heads, not by the head size
#   local_rope  layers with a window have a RoPE table of their own: of the base 10000, or unscaled ("plain")
#   no_rope     each such layer has no RoPE; 0: all have it
#   parallel    both parts read one h; layer norms; the second part has no gate
#   after       no norms before the parts, only behind them; q and k are normed over all heads
#   scales      of the embedding, the residuals, the scores and the logits, in the file
Arch = namedtuple("Arch", "neighbours head_norms gemma period wide local_rope no_rope parallel scales after", defaults=[0] * 10)
ARCHITECTURES = {
    "llama": Arch(neighbours=True),
    "qwen2": Arch(),
    "qwen3": Arch(head_norms=True),
    "qwen3moe": Arch(head_norms=True),
    "gemma2": Arch(gemma=True, period=2, wide=46),
    "gemma3": Arch(gemma=True, period=6, wide=62, head_norms=True, local_rope=True),
    "phi2": Arch(parallel=True),
    "phi3": Arch(),
    "smollm3": Arch(neighbours=True, no_rope=4),
    "granite": Arch(neighbours=True, scales=True),
    "olmo2": Arch(after=True, period=4, local_rope="plain"),
}


# --- The model -------------------------------------------------------------------------------------------------------


class Model:
    """Metadata and weights of one GGUF file, and its forward pass over all tokens at once."""

    def __init__(self, path):
        reader = GGUFReader(path)
        meta = {key: field.contents() for key, field in reader.fields.items() if not key.startswith("tokenizer.")}
        name = meta["general.architecture"]
        assert name in ARCHITECTURES, f"{path}: architecture {name} is not known here"
        self.arch = ARCHITECTURES[name]

        def get(key, default=None):
            value = meta.get(f"{name}.{key}", default)
            assert value is not None, f"{path}: {name}.{key} is missing"
            return value

        self.get = get
        self.context = get("context_length")
        self.width = get("embedding_length")
        self.layers = get("block_count")
        self.heads = get("attention.head_count")
        self.kv_heads = get("attention.head_count_kv", self.heads)
        self.head_size = get("attention.key_length", self.width // self.heads)
        self.eps = F(get("attention.layer_norm_epsilon" if self.arch.parallel else "attention.layer_norm_rms_epsilon"))
        self.residual_scale = F(get("residual_scale") if self.arch.scales else 1)
        self.softcap = F(get("attn_logit_softcapping", 0))
        self.tensors = {t.name: weights_of(t) for t in reader.tensors}
        self.vocab = len(self.tensors["token_embd.weight"].w)

    def logits(self, tokens, kv="f16", context=None):
        """tokens: ids, (T,), in a session of `context` positions at most -> logits, f32 (T, vocab)."""
        get, tables = self.get, self.rope_tables(len(tokens), context or self.context)
        scale = np.sqrt(F(self.width)) if self.arch.gemma else F(get("embedding_scale") if self.arch.scales else 1)
        x = dequantise(self.tensors["token_embd.weight"], tokens) * scale  # (T, embedding)
        for layer in range(self.layers):
            blk = f"blk.{layer}."
            h = x if self.arch.after else self.norm(blk + "attn_norm", x)
            x = x + self.residual_scale * self.post(blk + "post_attention_norm", self.attention(layer, h, tables, kv))
            if not self.arch.parallel:
                h = x if self.arch.after else self.norm(blk + "ffn_norm", x)
            x = x + self.residual_scale * self.post(blk + "post_ffw_norm", self.feed_forward(blk, h))
        h = self.norm("output_norm", x)
        y = self.product("output" if "output.weight" in self.tensors else "token_embd", h)
        y = y * (F(1) / F(get("logit_scale") if self.arch.scales else 1))
        return finite(softcap(y, F(get("final_logit_softcapping", 0))))

    def attention(self, layer, h, tables, kv):
        """The first part of a layer, h: (T, embedding) -> (T, embedding)."""
        blk, count = f"blk.{layer}.", len(h)
        q, k, v = self.queries_keys_values(blk, h)  # (T, heads * head_size)
        if self.arch.after:
            q, k = self.norm(blk + "attn_q_norm", q), self.norm(blk + "attn_k_norm", k)
        q, k, v = (y.reshape(count, -1, self.head_size) for y in (q, k, v))  # (T, heads, head_size)
        if self.arch.head_norms:
            q, k = self.norm(blk + "attn_q_norm", q), self.norm(blk + "attn_k_norm", k)
        window = self.window(layer)
        if not (self.arch.no_rope and layer % self.arch.no_rope == self.arch.no_rope - 1):
            cos, sin = tables["local" if self.arch.local_rope and window else "global"]
            q, k = self.rope(q, cos, sin), self.rope(k, cos, sin)
        attend = {"f16": CacheF16, "q8_0": CacheQ8}[kv]
        group = self.heads // self.kv_heads  # query head i reads key head i // group
        caches = [attend(k[:, i], v[:, i]) for i in range(self.kv_heads)]
        one = lambda i: attention(q[:, i], caches[i // group], self.score_scale(), self.softcap, window or count)
        return self.product(blk + "attn_output", np.stack([one(i) for i in range(self.heads)], 1).reshape(count, -1))

    def queries_keys_values(self, blk, h):
        if blk + "attn_qkv.weight" not in self.tensors:
            return [self.product(blk + name, h) for name in ("attn_q", "attn_k", "attn_v")]
        ends = np.cumsum([self.heads, self.kv_heads]) * self.head_size
        return np.split(self.product(blk + "attn_qkv", h), ends, axis=1)

    def score_scale(self):
        if self.arch.scales:
            return F(self.get("attention.scale"))
        return F(1) / np.sqrt(F(self.width // self.heads if self.layers == self.arch.wide else self.head_size))

    def window(self, layer):
        """How many positions the layer sees, 0 for all."""
        pattern = self.get("attention.sliding_window_pattern", self.arch.period)
        if isinstance(pattern, list):  # of the layers
            slides = pattern[layer]
        else:
            slides = not pattern or layer % pattern != pattern - 1
        return self.get("attention.sliding_window", 0) if slides else 0

    def feed_forward(self, blk, h):
        """The second part of a layer, h: (T, embedding) -> (T, embedding)."""
        if blk + "ffn_gate_inp.weight" in self.tensors:
            return self.experts(blk, h)
        if self.arch.parallel:
            return self.product(blk + "ffn_down", gelu(self.product(blk + "ffn_up", h)))
        up = self.product(blk + "ffn_up", h)
        if blk + "ffn_gate.weight" in self.tensors:
            gate = self.product(blk + "ffn_gate", h)
        else:
            gate, up = np.split(up, 2, axis=1)
        return self.product(blk + "ffn_down", (gelu if self.arch.gemma else silu)(gate) * up)

    def experts(self, blk, h):
        router = self.product(blk + "ffn_gate_inp", h)  # (T, experts)
        ranks = np.argsort(-router, axis=1, kind="stable")  # the lower id first among equals
        ranks = ranks[:, : self.get("expert_used_count")]  # (T, used)
        l = np.take_along_axis(router, ranks, 1)
        e = exp(l - l[:, :1])
        total = np.zeros(len(h), F)
        for rank in range(e.shape[1]):
            total = total + e[:, rank]
        y = np.zeros_like(h)
        for rank in range(e.shape[1]):
            share = (e[:, rank] / total)[:, None]
            for expert in np.unique(ranks[:, rank]):
                t = np.flatnonzero(ranks[:, rank] == expert)
                weights = lambda name: part(self.tensors[f"{blk}{name}_exps.weight"], expert, router.shape[1])
                product = lambda name, x: matmul(weights(name), x)
                gated = silu(product("ffn_gate", h[t])) * product("ffn_up", h[t])
                y[t] = y[t] + share[t] * product("ffn_down", gated)
        return y

    def product(self, name, x):
        """The matrix of that name and its bias, if any; x: (T, cols) -> (T, rows)."""
        y = matmul(self.tensors[name + ".weight"], x)
        bias = self.tensors.get(name + ".bias")
        return y if bias is None else y + bias.w[0]

    def norm(self, name, x):
        weight = self.tensors[name + ".weight"]
        if self.arch.parallel:
            return layer_norm(x, weight, self.tensors[name + ".bias"], self.eps)
        return rms_norm(x, weight, self.eps)

    def post(self, name, x):
        return self.norm(name, x) if self.arch.gemma or self.arch.after else x

    def rope_tables(self, count, context):
        """{"global", "local"}: (cos, sin), each f32 (count, 1, dims / 2). In f64 and rounded once."""
        get, dims = self.get, self.rope_dims()
        powers = lambda base: [math.pow(base, -2 * i / dims) for i in range(dims // 2)]
        base, kind = get("rope.freq_base", 10000.0), get("rope.scaling.type", "none")
        m = get("rope.scaling.attn_factor", 1.0)
        original = get("rope.scaling.original_context_length", self.context)
        assert kind in ("none", "linear", "yarn", "longrope"), f"rope scaling {kind} is not known here"
        freqs = powers(base)
        if kind == "linear":
            freqs = [p / get("rope.scaling.factor") for p in freqs]
        if kind == "yarn":
            factor = get("rope.scaling.factor")
            m = m * (1 + 0.1 * math.log(factor))
            kept = self.yarn_ramp(base, original)
            freqs = [(p / factor) * (1 - keep) + p * keep for p, keep in zip(freqs, kept)]
        long = "rope_factors_long" if context > original else "rope_factors_short"
        for name in ("rope_freqs", long):
            if name + ".weight" in self.tensors:
                freqs = [f / float(divisor) for f, divisor in zip(freqs, self.tensors[name + ".weight"].w[0])]
        table = lambda fn, freqs, m: np.array([[[fn(pos * f) * m for f in freqs]] for pos in range(count)]).astype(F)
        tables = lambda freqs, m: (table(math.cos, freqs, m), table(math.sin, freqs, m))
        local = base if self.arch.local_rope == "plain" else get("rope.freq_base_swa", 10000.0)
        return {"global": tables(freqs, m), "local": tables(powers(local), 1.0)}

    def yarn_ramp(self, base, original):
        """How much of each frequency is kept as it is, f64."""
        n = self.rope_dims()
        pair = lambda beta: n * math.log(original / (beta * 2 * math.pi)) / (2 * math.log(base))
        low = max(0, math.floor(pair(self.get("rope.scaling.yarn_beta_fast", 32.0))))
        high = min(n - 1, math.ceil(pair(self.get("rope.scaling.yarn_beta_slow", 1.0))))
        return [1 - min(max((i - low) / max(high - low, 0.001), 0), 1) for i in range(n // 2)]

    def rope_dims(self):
        return self.get("rope.dimension_count", self.head_size)

    def rope(self, x, c, s):
        """x: (T, heads, head_size), c and s: (T, 1, dims / 2)."""
        n, y = self.rope_dims(), x.copy()
        first, second = (slice(0, n, 2), slice(1, n, 2)) if self.arch.neighbours else (slice(0, n // 2), slice(n // 2, n))
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


def attention(q, cache, scale, cap, window):
    """q: (T, head_size), of the positions 0..T; each sees the last `window` up to its own -> (T, head_size)."""
    assert (np.abs(finite(q)) <= F(2.0**90)).all(), "query out of range"
    count, size = q.shape
    M, L, O = np.full(count, -np.inf, F), np.zeros(count, F), np.zeros((count, size), F)
    for start in range(0, count, 256):
        keys = slice(start, min(start + 256, count))
        some = slice(start, min(keys.stop + window - 1, count))  # the queries that see some of this chunk
        s = softcap(cache.scores(q[some], keys) * scale, cap)  # (queries, keys)
        back = np.arange(some.start, some.stop)[:, None] - np.arange(keys.start, keys.stop)[None]
        seen = (back >= 0) & (back < window)
        m = np.where(seen, s, F(-np.inf)).max(axis=1)
        e = np.where(seen, exp(np.where(seen, s - m[:, None], F(0))), F(0))
        lanes, o = np.zeros((len(e), 16), F), np.zeros((len(e), size), F)
        for p in range(keys.stop - keys.start):  # the other queries do not see p and keep their sums
            see = slice(p, p + window)
            lanes[see, p % 16] = lanes[see, p % 16] + e[see, p]
            o[see] = o[see] + cache.weighted(e[see, p], start + p)
        l = tree(lanes)
        first = M[some] == F(-np.inf)  # the first chunk that these queries see
        new_m = np.maximum(M[some], m)
        a, b = exp(np.where(first, F(0), M[some] - new_m)), exp(m - new_m)
        L[some] = np.where(first, l, L[some] * a + l * b)
        O[some] = np.where(first[:, None], o, O[some] * a[:, None] + o * b[:, None])
        M[some] = new_m
    return O * (F(1) / L)[:, None]


# --- Functions -------------------------------------------------------------------------------------------------------


def bits(u):
    return np.uint32(u).view(F)


def exp(x):
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


def gelu(x):
    return x / (F(1) + exp((x * -bits(0x3FCC422A)) * (F(1) + (bits(0x3D372713) * x) * x)))


def softcap(x, c):
    """c == 0: the file has none."""
    if c == 0:
        return x
    y = x / c
    return c * (F(1) - F(2) / (exp(y + y) + F(1)))


def rms_norm(x, weight, eps):
    """x: (..., n), weight: one row of n."""
    sumsq = float_dot(x, x)
    s = F(1) / np.sqrt(sumsq / F(x.shape[-1]) + eps)
    return (x * s[..., None]) * weight.w[0]


def layer_norm(x, weight, bias, eps):
    """x: (..., n), weight and bias: one row of n."""
    n = F(x.shape[-1])
    d = x - (float_dot(x, np.ones(x.shape[-1], F)) / n)[..., None]
    s = F(1) / np.sqrt(float_dot(d, d) / n + eps)
    return (d * s[..., None]) * weight.w[0] + bias.w[0]


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
        logits = model.logits(tokens, args.kv, args.context)
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
