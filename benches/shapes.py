#!/usr/bin/env python3
"""GGUF files with the shapes and formats of published models, and random weights.

    pip install gguf numpy
    shapes.py tinyllama-1.1b Q4_K_M OUT.gguf

Speed and memory depend on shapes and formats only, so these stand in for downloads. The formats are those llama-quantize gives
each matrix (`formats`). Scales are drawn so that activations stay in the range of a trained model's; the text is noise.
"""

import argparse

import gguf
import numpy as np
from gguf import GGMLQuantizationType as Type

#                  arch    layers  width  ffn   heads kv  head  vocabulary context  rope base  tied
SHAPES = {
    "smollm2-135m": ("llama", 30, 576, 1536, 9, 3, 64, 49152, 8192, 100_000, True),
    "tinyllama-1.1b": ("llama", 22, 2048, 5632, 32, 4, 64, 32000, 2048, 10_000, False),
    "qwen3-0.6b": ("qwen3", 28, 1024, 3072, 16, 8, 128, 151936, 40960, 1_000_000, True),
}

# A mix's format, and that of the matrices it treats better.
MIXES = {"Q4_0": (Type.Q4_0, Type.Q4_0), "Q8_0": (Type.Q8_0, Type.Q8_0), "Q4_K_M": (Type.Q4_K, Type.Q6_K)}

# Spread of the weights, as in small trained models.
SPREAD = 0.02


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("shape", choices=SHAPES)
    parser.add_argument("mix", choices=MIXES)
    parser.add_argument("out")
    args = parser.parse_args()
    arch, layers, width, ffn, heads, kv_heads, head, vocabulary, context, base, tied = SHAPES[args.shape]

    writer = gguf.GGUFWriter(args.out, arch)
    writer.add_name(f"{args.shape} {args.mix}, random weights")
    writer.add_context_length(context)
    writer.add_embedding_length(width)
    writer.add_block_count(layers)
    writer.add_feed_forward_length(ffn)
    writer.add_head_count(heads)
    writer.add_head_count_kv(kv_heads)
    writer.add_key_length(head)
    writer.add_value_length(head)
    writer.add_rope_dimension_count(head)
    writer.add_rope_freq_base(base)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_vocab_size(vocabulary)
    add_vocabulary(writer, vocabulary)

    rng = np.random.default_rng(1)
    for name, rows, cols in matrices(layers, width, ffn, heads * head, kv_heads * head, vocabulary, tied):
        kind = format_of(name, cols, MIXES[args.mix], layers, tied)
        writer.add_tensor(name, random_matrix(rng, kind, rows, cols), raw_dtype=kind)
    for name, n in norms(arch, layers, width, head):
        writer.add_tensor(name, rng.uniform(0.9, 1.1, n).astype(np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def matrices(layers, width, ffn, q, kv, vocabulary, tied):
    """(name, rows, columns) of every matrix."""
    yield "token_embd.weight", vocabulary, width
    for layer in range(layers):
        for name, rows, cols in [
            ("attn_q", q, width),
            ("attn_k", kv, width),
            ("attn_v", kv, width),
            ("attn_output", width, q),
            ("ffn_gate", ffn, width),
            ("ffn_up", ffn, width),
            ("ffn_down", width, ffn),
        ]:
            yield f"blk.{layer}.{name}.weight", rows, cols
    if not tied:
        yield "output.weight", vocabulary, width


def norms(arch, layers, width, head):
    """(name, length) of every norm."""
    yield "output_norm.weight", width
    for layer in range(layers):
        yield f"blk.{layer}.attn_norm.weight", width
        yield f"blk.{layer}.ffn_norm.weight", width
        if arch == "qwen3":
            yield f"blk.{layer}.attn_q_norm.weight", head
            yield f"blk.{layer}.attn_k_norm.weight", head


def format_of(name, cols, mix, layers, tied):
    """What llama-quantize makes of a matrix: the one that makes logits and, in an M mix, v and down of some layers are better."""
    usual, better = mix
    if name == "output.weight" or (tied and name == "token_embd.weight"):
        return Type.Q8_0 if cols % 256 or usual == Type.Q8_0 else Type.Q6_K
    if "attn_v" not in name and "ffn_down" not in name:
        return usual
    layer = int(name.split(".")[1])
    first, last = layers // 8, 7 * layers // 8
    return better if layer < first or layer >= last or (layer - first) % 3 == 2 else usual


def random_matrix(rng, kind, rows, cols):
    """Random codes in blocks whose scales give weights of the wanted spread: (rows, bytes of a row)."""
    weights, size = gguf.GGML_QUANT_SIZES[kind]
    n = rows * cols // weights
    blocks = rng.integers(0, 256, (n, size), dtype=np.uint8)

    def scale(at, mean):
        halves = (mean * rng.uniform(0.75, 1.25, n)).astype("<f2")
        blocks[:, at : at + 2] = halves.view(np.uint8).reshape(n, 2)

    # Codes drawn evenly from k values have a spread of k / sqrt(12); 6-bit scales of 0..63 are 32 on average.
    if kind == Type.Q4_0:
        scale(0, SPREAD / 4.6)
    elif kind == Type.Q8_0:
        scale(0, SPREAD / 74)
    elif kind == Type.Q4_K:
        scale(0, SPREAD / 4.6 / 32)
        scale(2, SPREAD / 4.6 / 32 * 7.5)  # the minimum: the mean of the codes
    elif kind == Type.Q6_K:
        scale(208, SPREAD / 18.5 / 74)
    else:
        raise ValueError(f"no random blocks of {kind.name}")
    return blocks.reshape(rows, cols // weights * size)


def add_vocabulary(writer, size):
    """SentencePiece with all bytes: it can encode any text."""
    tokens = ["<unk>", "<s>", "</s>"] + [f"<0x{byte:02X}>" for byte in range(256)]
    types = [gguf.TokenType.UNKNOWN] + [gguf.TokenType.CONTROL] * 2 + [gguf.TokenType.BYTE] * 256
    words = size - len(tokens)
    writer.add_tokenizer_model("llama")
    writer.add_token_list(tokens + [f"\u2581{i}" for i in range(words)])
    writer.add_token_scores([-float(i) for i in range(size)])
    writer.add_token_types(types + [gguf.TokenType.NORMAL] * words)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_unk_token_id(0)


if __name__ == "__main__":
    main()
