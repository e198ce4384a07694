#!/usr/bin/env python3
"""Writes small random F16 models of what no other golden file has: two architectures, kinds of RoPE, fused biases, three experts.

    make_models.py ../golden        those of `main`, each -F16.gguf

Weights are normal, of scale 1 / sqrt(width) times what keeps the residual and the logits of order 1. Their digests in
digests.json are witness.py's, the logits in index.json llama.cpp's (../golden/make_index.py). The same files come out
every time.

Needs: pip install numpy gguf
"""

import os
import sys

import gguf
import numpy as np

VOCAB, WIDTH, HEAD, INNER, CONTEXT = 320, 64, 32, 96, 256
BASE = {"context_length": CONTEXT, "embedding_length": WIDTH, "feed_forward_length": INNER, "vocab_size": VOCAB}


class Random:
    """Tensors in the order in which they are asked for."""

    def __init__(self, seed):
        self.numbers, self.tensors = np.random.default_rng(seed), {}

    def matrix(self, name, rows, cols, scale=1.0):
        w = self.numbers.standard_normal((rows, cols)) * (scale / np.sqrt(cols))
        self.tensors[name + ".weight"] = w.astype(np.float16)

    def bias(self, name, size):
        self.tensors[name + ".bias"] = (0.1 * self.numbers.standard_normal(size)).astype(np.float32)

    def norm(self, name, size, bias=False):
        self.tensors[name + ".weight"] = (1 + 0.1 * self.numbers.standard_normal(size)).astype(np.float32)
        if bias:
            self.bias(name, size)


def main(folder):
    models = [smollm3(), granite(), qwen3_yarn(), phi3_long(), phi2_fused(), qwen3_yarn_far(), gemma3_bases(), qwen3moe_three()]
    for name, arch, meta, tensors in models:
        write(os.path.join(folder, f"{name}-F16.gguf"), arch, {**BASE, **meta}, tensors)


def smollm3():  # five layers: the fourth has no RoPE
    meta = {"attention.layer_norm_rms_epsilon": 1e-6, "rope.freq_base": 10000.0}
    return "smollm3", "smollm3", meta | heads(2, 1, 5), gated(Random(1), 2, 1, 5, embedding=1.0, output=None)


def granite():
    scales = {"embedding_scale": 12.0, "residual_scale": 0.22, "attention.scale": 0.15, "logit_scale": 8.0}
    meta = {"attention.layer_norm_rms_epsilon": 1e-6, "rope.freq_base": 10000.0}
    return "granite", "granite", meta | scales | heads(4, 2, 2), gated(Random(2), 4, 2, 2, embedding=1.0, output=8.0)


def qwen3_yarn():
    yarn = {"type": "yarn", "factor": 4.0, "original_context_length": 64, "attn_factor": 0.8782488}
    meta = {"attention.layer_norm_rms_epsilon": 1e-6, "rope.freq_base": 10000.0}
    meta |= {"rope.scaling." + key: value for key, value in yarn.items()}
    return "qwen3-yarn", "qwen3", meta | heads(4, 2, 2), gated(Random(3), 4, 2, 2, head_norms=True)


def phi3_long():
    meta = {"attention.layer_norm_rms_epsilon": 1e-5, "rope.freq_base": 10000.0}
    meta |= {"rope.scaling.original_context_length": 64, "rope.scaling.attn_factor": 1.19}
    random, layers = Random(4), 2
    random.matrix("token_embd", VOCAB, WIDTH, 8.0)
    for blk in blocks(layers):
        random.norm(blk + "attn_norm", WIDTH)
        random.matrix(blk + "attn_qkv", 3 * 2 * HEAD, WIDTH)
        random.matrix(blk + "attn_output", WIDTH, 2 * HEAD)
        random.norm(blk + "ffn_norm", WIDTH)
        random.matrix(blk + "ffn_up", 2 * INNER, WIDTH)
        random.matrix(blk + "ffn_down", WIDTH, INNER)
    random.norm("output_norm", WIDTH)
    random.matrix("output", VOCAB, WIDTH)
    random.tensors["rope_factors_long.weight"] = np.geomspace(1.0, 8.0, HEAD // 2).astype(np.float32)
    random.tensors["rope_factors_short.weight"] = np.geomspace(1.0, 1.5, HEAD // 2).astype(np.float32)
    return "phi3-long", "phi3", meta | heads(2, 2, layers), random.tensors


def phi2_fused():
    meta = {"attention.layer_norm_epsilon": 1e-5, "rope.freq_base": 10000.0}
    random, layers = Random(5), 2
    random.matrix("token_embd", VOCAB, WIDTH, 8.0)
    for blk in blocks(layers):
        random.norm(blk + "attn_norm", WIDTH, bias=True)
        for name, rows, cols in (
            ("attn_qkv", 3 * 2 * HEAD, WIDTH),
            ("attn_output", WIDTH, 2 * HEAD),
            ("ffn_up", INNER, WIDTH),
            ("ffn_down", WIDTH, INNER),
        ):
            random.matrix(blk + name, rows, cols)
            random.bias(blk + name, rows)
    random.norm("output_norm", WIDTH, bias=True)
    random.matrix("output", VOCAB, WIDTH)
    random.bias("output", VOCAB)
    return "phi2-fused", "phi2", meta | heads(2, 2, layers) | {"rope.dimension_count": HEAD // 2}, random.tensors


def qwen3_yarn_far():  # an m that is not 1, and an original context far enough for both betas to count
    yarn = {"type": "yarn", "factor": 4.0, "original_context_length": 1024, "attn_factor": 1.1}
    meta = {"attention.layer_norm_rms_epsilon": 1e-6, "rope.freq_base": 10000.0}
    meta |= {"rope.scaling." + key: value for key, value in yarn.items()}
    return "qwen3-yarn-far", "qwen3", meta | heads(4, 2, 2), gated(Random(11), 4, 2, 2, head_norms=True)


def gemma3_bases():  # the sixth of seven layers has another RoPE table, as in the real ones
    meta = {"attention.layer_norm_rms_epsilon": 1e-6, "attention.sliding_window": 16, "rope.freq_base": 1000000.0}
    meta |= {"rope.scaling.type": "linear", "rope.scaling.factor": 8.0}
    random, layers = Random(13), 7
    gated(random, 4, 2, layers, head_norms=True, embedding=1.0, output=None)
    for blk in blocks(layers):
        random.norm(blk + "post_attention_norm", WIDTH)
        random.norm(blk + "post_ffw_norm", WIDTH)
    return "gemma3-bases", "gemma3", meta | heads(4, 2, layers), random.tensors


def qwen3moe_three():  # three experts a token: the order of their sum counts
    experts, inner, layers = 8, 32, 2
    meta = {"attention.layer_norm_rms_epsilon": 1e-6, "rope.freq_base": 10000.0}
    meta |= {"expert_count": experts, "expert_used_count": 3, "expert_feed_forward_length": inner}
    random = Random(14)
    tensors = gated(random, 4, 2, layers, head_norms=True)
    for blk in blocks(layers):
        for name in ("ffn_gate", "ffn_up", "ffn_down"):
            del tensors[f"{blk}{name}.weight"]
        router = random.numbers.standard_normal((experts, WIDTH)) / np.sqrt(WIDTH)
        tensors[blk + "ffn_gate_inp.weight"] = router.astype(np.float32)
        for name, rows, cols in (("ffn_gate", inner, WIDTH), ("ffn_up", inner, WIDTH), ("ffn_down", WIDTH, inner)):
            w = random.numbers.standard_normal((experts, rows, cols)) / np.sqrt(cols)
            tensors[f"{blk}{name}_exps.weight"] = w.astype(np.float16)
    return "qwen3moe-three", "qwen3moe", meta | heads(4, 2, layers), tensors


def gated(random, count, kv_count, layers, head_norms=False, embedding=8.0, output=1.0):
    """The tensors of a model with gated units and separate matrices; without output, the embedding is the output matrix."""
    random.matrix("token_embd", VOCAB, WIDTH, embedding)
    for blk in blocks(layers):
        random.norm(blk + "attn_norm", WIDTH)
        random.matrix(blk + "attn_q", count * HEAD, WIDTH)
        random.matrix(blk + "attn_k", kv_count * HEAD, WIDTH)
        random.matrix(blk + "attn_v", kv_count * HEAD, WIDTH)
        if head_norms:
            random.norm(blk + "attn_q_norm", HEAD)
            random.norm(blk + "attn_k_norm", HEAD)
        random.matrix(blk + "attn_output", WIDTH, count * HEAD)
        random.norm(blk + "ffn_norm", WIDTH)
        random.matrix(blk + "ffn_gate", INNER, WIDTH)
        random.matrix(blk + "ffn_up", INNER, WIDTH)
        random.matrix(blk + "ffn_down", WIDTH, INNER)
    random.norm("output_norm", WIDTH)
    if output:
        random.matrix("output", VOCAB, WIDTH, output)
    return random.tensors


def blocks(layers):
    return [f"blk.{layer}." for layer in range(layers)]


def heads(count, kv_count, layers):
    return {
        "block_count": layers,
        "attention.head_count": count,
        "attention.head_count_kv": kv_count,
        "attention.key_length": HEAD,
        "attention.value_length": HEAD,
        "rope.dimension_count": HEAD,
    }


def write(path, arch, meta, tensors):
    writer = gguf.GGUFWriter(path, arch)
    writer.add_name("golden " + os.path.basename(path).removesuffix("-F16.gguf"))
    for key, value in meta.items():
        add = {int: writer.add_uint32, float: writer.add_float32, str: writer.add_string}[type(value)]
        add(f"{arch}.{key}", value)
    writer.add_tokenizer_model("no_vocab")
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_F16)
    for name, values in tensors.items():
        writer.add_tensor(name, values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(sys.argv[1])
