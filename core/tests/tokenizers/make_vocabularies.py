"""Makes the fixtures in `made/`: small vocabularies, 1,000 texts, and the ids that Hugging Face's `tokenizers` gives.

    pip install tokenizers==0.23.3 sentencepiece==0.2.3 gguf==0.19.0 protobuf
    python make_vocabularies.py

Every random choice has a fixed seed: a second run writes the same files.

    texts.json        the texts
    NAME.gguf         a vocabulary
    NAME.ids          for each text: the number of ids and the ids, as little-endian u16
    NAME.texts.json   what the ids decode to, for kinds that do not give the text back
    kinds.json        a line for each kind of tokenizer: its files, and by which names GGUF asks for it

All byte-level rules share one vocabulary. It is trained without any rule, so that its tokens run across the cuts that
rules make: a cut in the wrong place shows. A seventh of its merges is left out, so that some tokens are only found as
whole words.
"""

import io
import json
import random
import struct
import unicodedata
from collections import Counter
from pathlib import Path

import numpy as np
import sentencepiece
from gguf import GGUFWriter
from sentencepiece import sentencepiece_model_pb2
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, trainers
from tokenizers import pre_tokenizers as pre

HERE = Path(__file__).parent / "made"
NORMAL, UNKNOWN, CONTROL, BYTE = 1, 2, 3, 6

# ---------------------------------------------------------------------------------------------------------- the texts

SPACES = " \t\n\r\v\f\x85\xa0\u1680\u2003\u2009\u200a\u2028\u2029\u202f\u205f\u3000"
SPECIAL = ["<s>", "</s>", "<unk>", "<|endoftext|>", "<|im_start|>", "[CLS]", "[SEP]", "[UNK]", "<0x0A>", "##ing", "▁", "Ġ",
           "Ċ", "<pad>", "[MASK]"]
EMOJI = ["😀", "🚀", "👩‍👩‍👧", "🏳️‍🌈", "👍🏽", "🇩🇪", "✅", "1️⃣", "❤️"]
PHRASES = ["def f(x):\n    return x\n", "https://a.b/c?d=1&e=%20", "мир и труд", "世界，你好。", "naïve façade", "İstanbul", "ẞß ﬁ ﬆ",
           "हिन्दी में", "ภาษาไทย", "مرحبا بالعالم", "שלום", "한국어 말", "カタカナとひらがな", "tiếng Việt", "Ǆ ǅ ǆ ʰ", "２０２４年", "x²+y³≠½",
           "The quick brown fox", "HTTPServer iPhone McDonald", "I'm you'll they've WE'RE It'S don't he'd 'ſ", "‘quoted’ “text” „so“",
           "a\u0301e\u0308", "Å K Ω", "`code` $5 + <b> = ^~|", "1,234,567.89", "٣٤٥ ०१२ Ⅷ ①", "x\u200by\u00adz\ufeff", "\u0000\u0001\u001b[0m",
           "//\r\n\r\n--\n/", "foo_bar-baz", "  indented\n\ttabbed", "#include <a.h>\n"]
MARKS = ["\u0301!", "\u0301\u0001", " \u0301.", "!\u0308?", "\u0301\u0301;", "1\u0301,", "\n\u0301\n", "\u0301A", "\u0308Ab", " \u0301 ", "\u0301'", "ा।"]
CONTRACTIONS = ["'s", "'t", "'re", "'ve", "'m", "'ll", "'d", "'S", "'LL", "'Re", "'ſ", "’s", "'", "''"]
SIGNS = "!?.,;:-_=+*&^%$#@()[]{}<>/\\|`~\"'€£¥§©®°±×÷«»¿¡…–—‘’“”•¬"
WORDS = "the of to and a in is it you that was for on are with as at be this from have or by one had not Hello World ABC Abc aBC".split()


def odd_ones():
    """Characters that the package's tables (some of Unicode 8) and newer ones do not agree on: left out."""
    clean = normalizers.BertNormalizer(clean_text=True, handle_chinese_chars=False, strip_accents=False, lowercase=False)
    cut, mark = pre.Punctuation("isolated"), normalizers.StripAccents()
    found = set()
    for code in range(0x110000):
        c, category = chr(code), unicodedata.category(chr(code))
        if category == "Cs":
            continue
        removed = category in ("Cc", "Cf", "Co") and c not in "\t\n\r" or c == "\ufffd"
        sign = category[0] == "P" or code < 128 and category[0] == "S"
        bare = "" if category == "Mn" else c
        if (category == "Cn" or removed != (clean.normalize_str(c) == "") or sign != (len(cut.pre_tokenize_str(f"a{c}b")) == 3)
                or bare != mark.normalize_str(c)):
            found.add(c)
    return found


def random_text(rng, left_out):
    """A text of up to 16 pieces of every sort."""
    return "".join(random_piece(rng, left_out) for _ in range(rng.randint(1, 16)))


def random_piece(rng, left_out):
    kind = rng.randrange(16)
    if kind == 0:
        return rng.choice(SPACES) * rng.randint(1, 5)
    if kind == 1:
        return "".join(rng.choice(" \n\t\r ") for _ in range(rng.randint(1, 5)))
    if kind == 2:
        return str(rng.randrange(10 ** rng.randint(1, 9)))
    if kind == 3:
        return rng.choice(CONTRACTIONS)
    if kind == 4:
        return rng.choice(EMOJI + ["²", "½", "Ⅷ", "٣", "①"])
    if kind == 5:
        blocks = [(0x20, 0x250), (0x300, 0x370), (0x370, 0x3100), (0x4E00, 0x9FFF), (0xAC00, 0xD7A4), (0xF900, 0xFFFF),
                  (0x10000, 0x1FFFF), (0xE000, 0xE010), (0, 0x20)]
        start, end = rng.choice(blocks)
        chars = (chr(rng.randrange(start, end)) for _ in range(rng.randint(1, 4)))
        return "".join(c for c in chars if c not in left_out)
    if kind == 6:
        return "".join(rng.choice(SIGNS) for _ in range(rng.randint(1, 5)))
    if kind == 7:
        return rng.choice(SPECIAL)
    if kind == 8:
        return rng.choice("aeiouAEIOUnкаあ") + chr(rng.choice([0x300, 0x301, 0x308, 0x327, 0x323, 0x20DD]))
    if kind == 9:
        return rng.choice(PHRASES)
    if kind == 10:
        return rng.choice(MARKS)
    if kind == 11:
        return " " + "".join(rng.choice("etaoinshrdlu") for _ in range(rng.randint(2, 9)))
    return rng.choice(["", " ", " "]) + rng.choice(WORDS)


# ----------------------------------------------------------------------------------------- byte-level rules, by name

GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
LLAMA3 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+"
          r"|\s+(?!\S)|\s+")
QWEN2 = LLAMA3.replace(r"\p{N}{1,3}", r"\p{N}")
QWEN35 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+"
          r"|\s+(?!\S)|\s+")
SEED = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1}| ?[^\s\p{L}\p{N}\r\n]+|\s*[\r\n]+"
        r"|\s+(?!\S)|\s+")
UPPER, LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
TEKKEN = (rf"[^\r\n\p{{L}}\p{{N}}]?{UPPER}*{LOWER}+|[^\r\n\p{{L}}\p{{N}}]?{UPPER}+{LOWER}*|\p{{N}}"
          r"| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+")
SHORT = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
GPT4O = (rf"[^\r\n\p{{L}}\p{{N}}]?{UPPER}*{LOWER}+{SHORT}|[^\r\n\p{{L}}\p{{N}}]?{UPPER}+{LOWER}*{SHORT}|\p{{N}}{{1,3}}"
         r"| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+")
CASED = (  # DeepSeek LLM's own list
    "A-Za-zµÀ-ÖØ-öø-ƺƼ-ƿǄ-ʓʕ-ʯͰ-ͳͶͷͻ-ͽͿΆΈ-ΊΌΎ-ΡΣ-ϵϷ-ҁҊ-ԯԱ-ՖႠ-ჅᎠ-Ᏽᏸ-ᏽᲐ-ᲺᲽ-Ჿᴀ-ᴫᵫ-ᵷᵹ-ᶚḀ-ἕἘ-Ἕἠ-ὅὈ-Ὅὐ-ὗὙὛὝ"
    "\u1f5f-\u1f7d\u1f80-\u1fb4\u1fb6-\u1fbc\u1fbe\u1fc2-\u1fc4\u1fc6-\u1fcc\u1fd0-\u1fd3\u1fd6-\u1fdb\u1fe0-\u1fec"
    "\u1ff2-\u1ff4\u1ff6-\u1ffcℂℇℊ-ℓℕℙ-ℝℤ\u2126ℨ\u212a-ℭℯ-ℴℹℼ-ℿⅅ-ⅉⅎↃↄⰀ-ⱻⱾ-ⳤⳫ-ⳮⳲⳳꙀ-ꙭꚀ-ꚛꜢ-ꝯꝱ-ꞇꞋ-ꞎꭰ-ꮿﬀ-ﬆﬓ-ﬗＡ-Ｚａ-ｚ"
    "𐐀-𐑏𐒰-𐓓𐓘-𐓻𐲀-𐲲𐳀-𐳲𑢠-𑣟𞤀-𞥃")
IDEOGRAPHS = "[\u4e00-\u9fa5\u0800-\u4e00\uac00-\ud7ff]+"
V3 = (r"""[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*"""
      r"|\s*[\r\n]+|\s+(?!\S)|\s+")
BLOOM = " ?[^(\\s|[.,!?…。，、।۔،])]+"


def split(regex):
    return pre.Split(Regex(regex), "isolated")


single = pre.Digits(individual_digits=True)
# What cuts words before bytes become letters; whole words (`ignore_merges`); names in GGUF files, the fixture's first.
# Sources: the models' tokenizer.json; llama.cpp's llama-vocab.cpp for which names share a rule, and for `default`.
RULES = [
    ([split(r"[\p{P}$+<=>^~|]+"), split(GPT2), pre.Digits(False), split("[0-9][0-9][0-9]")], False, "default"),
    ([split(GPT2)], False,
     "gpt-2 phi-2 mpt olmo jais trillion granite-docling exaone4 mellum modern-bert gigachat a.x-4.0 jina-es jina-de "
     "jina-v1-en jina-v2-es jina-v2-de jina-v2-code roberta-bpe"),
    ([single, split(GPT2)], False, "smollm starcoder refact command-r codeshell exaone minerva-7b mellum2"),
    ([split(LLAMA3)], True,
     "llama-bpe llama3 llama-v3 falcon3 falcon-h1 pixtral midm-2.0 lfm2 jina-v5-nano"),
    ([split(LLAMA3)], False, "smaug-bpe dbrx glm4 chatglm-bpe"),
    ([split(r"\p{N}{1,3}"), split(LLAMA3.replace(r"\p{N}{1,3}", r"\p{N}+"))], True, "minicpm5"),
    ([split(QWEN2)], False,
     "qwen2 deepseek-r1-qwen stablelm2 megrez hunyuan solar-open grok-2 kormo f2llmv2"),
    ([split(r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+")],
     False, "bailingmoe bailingmoe2 llada-moe"),
    ([split(QWEN35)], False, "qwen35"),
    ([split(SEED)], False, "seed-coder"),
    ([split(GPT4O)], False, "gpt-4o llama4 kanana2 talkie minimax-m2"),
    ([split(TEKKEN)], True, "tekken"),
    ([pre.Punctuation("contiguous"), split(GPT2), split("[0-9]+"), split("[0-9][0-9][0-9]")], False, "falcon"),
    ([split("[\r\n]"), split(f"\\s?[{CASED}]+"),
      split("\\s?[!-/:-~\uff01-\uff0f\uff1a-\uff5e\u2018-\u201f\u3000-\u3002]+"), split("\\s+$"), split(IDEOGRAPHS), single],
     False, "deepseek-llm"),
    ([split("[\r\n]"), split(r"\s?\p{L}+"), split(r"\s?\p{P}+"), split(IDEOGRAPHS), single], False, "deepseek-coder"),
    ([split(r"\p{N}{1,3}"), split("[\u4e00-\u9fa5\u3040-\u309f\u30a0-\u30ff]+"), split(V3)], False,
     "deepseek-v3 hunyuan-dense joyai-llm hy_v4"),
    ([split(BLOOM)], False, "bloom poro-chat gpt3-finnish"),
    ([split(BLOOM), single], False, "viking"),
]


def train_bytes(corpus, cuts):
    """Tokens in order of their ids, and merges."""
    trained = Tokenizer(models.BPE())
    trained.pre_tokenizer = cuts
    trained.train_from_iterator(corpus, trainers.BpeTrainer(
        vocab_size=2000, show_progress=False, initial_alphabet=pre.ByteLevel.alphabet(), max_token_length=8))
    model = json.loads(trained.to_str())["model"]
    return sorted(model["vocab"], key=model["vocab"].get), [tuple(pair) for pair in model["merges"]]


def falcon(texts, corpus):
    """With Falcon's own order: numbers are cut when bytes are letters already, of which some count as numbers."""
    cuts = pre.Sequence([pre.Punctuation("contiguous"), pre.ByteLevel(add_prefix_space=False, use_regex=True),
                         pre.Digits(False), split("[0-9][0-9][0-9]")])
    tokens, merges = train_bytes(corpus, cuts)
    write_gguf("falcon", "gpt2", tokens, [NORMAL] * len(tokens), pre="falcon", merges=[" ".join(pair) for pair in merges])
    tokenizer = Tokenizer(models.BPE(vocab={token: i for i, token in enumerate(tokens)}, merges=merges))
    tokenizer.pre_tokenizer = cuts
    ids = [tokenizer.encode(text, add_special_tokens=False).ids for text in texts]
    yield {"ids": write_ids("falcon-own", ids), "vocabulary": "falcon.gguf", "model": "gpt2", "pre": ["falcon"]}


def byte_level(texts, corpus):
    to_bytes = pre.ByteLevel(add_prefix_space=False, use_regex=False)
    tokens, merges = train_bytes(corpus, to_bytes)
    merges = [pair for i, pair in enumerate(merges) if i % 7 != 3]
    extra = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    write_gguf("byte-level", "gpt2", tokens + extra, [NORMAL] * len(tokens) + [CONTROL] * 3, pre="gpt-2",
               merges=[" ".join(pair) for pair in merges], bos=len(tokens), eos=len(tokens) + 2)
    vocab = {token: i for i, token in enumerate(tokens + extra)}
    seen = {}
    for cuts, whole_words, names in RULES:
        tokenizer = Tokenizer(models.BPE(vocab=vocab, merges=merges, ignore_merges=whole_words))
        tokenizer.pre_tokenizer = pre.Sequence([*cuts, to_bytes])
        tokenizer.decoder = decoders.ByteLevel()
        ids = [tokenizer.encode(text, add_special_tokens=False).ids for text in texts]
        assert all(tokenizer.decode(i, skip_special_tokens=False) == t for i, t in zip(ids, texts))
        names = names.split()
        # Where two rules give the same ids, that is meant: Ling's regex is Qwen 2's in other words.
        same = seen.setdefault(str(ids), names[0])
        assert same in (names[0], "qwen2"), (names, same)
        yield {"ids": write_ids(names[0], ids), "vocabulary": "byte-level.gguf", "model": "gpt2", "pre": names}


# -------------------------------------------------------------------------------------------- SentencePiece's two models

BYTES = [f"<0x{byte:02X}>" for byte in range(256)]


def spm(texts, corpus):
    """SentencePiece's BPE with byte fallback, as transformers turns Llama 2's into a `tokenizers` model."""
    trained = Tokenizer(models.BPE())
    common = {c for c, _ in Counter("".join(corpus)).most_common(250)}
    kept = ["".join(c for c in text if c in common).replace(" ", "▁") for text in corpus]
    trained.train_from_iterator(kept, trainers.BpeTrainer(vocab_size=1200, show_progress=False, max_token_length=8))
    vocab = json.loads(trained.to_str())["model"]["vocab"]
    head = ["<unk>", "<s>", "</s>", *BYTES]
    learned = [token for token in sorted(vocab, key=vocab.get) if token not in head]
    tokens = head + learned
    types = [UNKNOWN, CONTROL, CONTROL] + [BYTE] * 256 + [NORMAL] * len(learned)
    scores = [0.0] * 259 + [-float(i) for i in range(len(learned))]
    write_gguf("spm", "llama", tokens, types, scores=scores, bos=1, eos=2, unk=0)
    rank = {token: i for i, token in enumerate(learned)}
    # Every way to put a token together of two others, the best token first.
    merges = [(token[:i], token[i:]) for token in learned for i in range(1, len(token))
              if token[:i] in rank and token[i:] in rank]
    tokenizer = Tokenizer(models.BPE(vocab={t: i for i, t in enumerate(tokens)}, merges=merges, unk_token="<unk>",
                                     fuse_unk=True, byte_fallback=True))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    ids = [tokenizer.encode(text, add_special_tokens=False).ids for text in texts]
    yield {"ids": write_ids("spm", ids), "vocabulary": "spm.gguf", "model": "llama"}


def unigram(texts, corpus, name, byte_fallback, rule, merge_spaces, prefix):
    """The cut is `tokenizers`' (sums in f64), the normalisation SentencePiece's own: the two differ there, since
    `tokenizers` looks its table up by grapheme. SentencePiece cuts as well, and must agree."""
    charsmap = charsmap_of(rule)
    # Rare characters are left out, and so unknown.
    common = {c for c, _ in Counter("".join(corpus)).most_common(250)} - {"\0"}
    trained = train_sentencepiece(["".join(c for c in text if c in common) for text in corpus], rule, 900)
    learned = [(piece.piece, piece.score) for piece in trained.pieces if piece.type == NORMAL]
    head = ["<pad>", "</s>", "<unk>"] + BYTES * byte_fallback
    # Half of the scores rounded, so that there are ties; some letters only in longer tokens, to weigh those with the unknown.
    learned = [(t, round(s) if i % 2 else s) for i, (t, s) in enumerate(learned)
               if t not in head and (len(t) > 1 or t == "▁" or ord(t) % 4)]
    types = [CONTROL, CONTROL, UNKNOWN] + [BYTE] * (len(head) - 3) + [NORMAL] * len(learned)
    tokens = head + [t for t, _ in learned]
    scores = [0.0] * len(head) + [float(np.float32(s)) for _, s in learned]

    def more(writer):
        writer.add_add_space_prefix(prefix)
        writer.add_remove_extra_whitespaces(merge_spaces)
        if charsmap:
            writer.add_precompiled_charsmap(charsmap)

    write_gguf(name, "t5", tokens, types, scores=scores, more=more, eos=1, unk=2)
    tokenizer = Tokenizer(models.Unigram(list(zip(tokens, scores)), 2, byte_fallback))
    judge = sentencepiece_model(tokens, types, scores, charsmap, merge_spaces, prefix, byte_fallback)
    ids, ties = [], 0
    for text in texts:
        normal, other = judge.Normalize(text), judge.EncodeAsIds(text)
        row = tokenizer.encode(normal, add_special_tokens=False).ids
        if any(token in normal for token in head):
            row = other  # to `tokenizers` the name of a control or byte token is that token; here it is text
        ties += row != other
        ids.append(row)
    assert ties <= 10, f"{name}: SentencePiece cuts {ties} texts otherwise"
    tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), *[decoders.ByteFallback()] * byte_fallback,
                                           decoders.Fuse(), *[decoders.Strip(" ", 1, 0)] * prefix])
    decoded = [tokenizer.decode([id for id in row if id != 2], skip_special_tokens=False) for row in ids]
    yield {"ids": write_ids(name, ids), "vocabulary": f"{name}.gguf", "model": "t5",
           "decoded": write_json(f"{name}.texts.json", decoded)}


def charsmap_of(rule):
    """SentencePiece's table for a normalisation: a trained model has it."""
    if rule == "identity":
        return b""
    return train_sentencepiece(["a b"] * 9, rule, 6).normalizer_spec.precompiled_charsmap


def train_sentencepiece(corpus, rule, size):
    """(`tokenizers` has a trainer too, but what it makes changes from run to run.)"""
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.Train(
        sentence_iterator=iter(corpus), model_writer=model, vocab_size=size, normalization_rule_name=rule, num_threads=1,
        character_coverage=1.0, hard_vocab_limit=False, minloglevel=2)
    proto = sentencepiece_model_pb2.ModelProto()
    proto.ParseFromString(model.getvalue())
    return proto


def sentencepiece_model(tokens, types, scores, charsmap, merge_spaces, prefix, byte_fallback):
    proto = sentencepiece_model_pb2.ModelProto()
    for token, kind, score in zip(tokens, types, scores):
        proto.pieces.add(piece=token, type=kind, score=score)
    spec = proto.trainer_spec
    spec.model_type, spec.byte_fallback, spec.vocab_size = 1, byte_fallback, len(tokens)
    spec.unk_id, spec.bos_id, spec.eos_id, spec.pad_id = tokens.index("<unk>"), -1, -1, -1
    normal = proto.normalizer_spec
    normal.precompiled_charsmap, normal.add_dummy_prefix = charsmap, prefix
    normal.remove_extra_whitespaces, normal.escape_whitespaces = merge_spaces, True
    processor = sentencepiece.SentencePieceProcessor()
    processor.LoadFromSerializedProto(proto.SerializeToString())
    return processor


# --------------------------------------------------------------------------------------------------------------- BERT

def wordpiece(texts, corpus, name, lower):
    normalizer = normalizers.BertNormalizer(lowercase=lower)
    trained = Tokenizer(models.BPE())  # what the trainer for WordPiece makes changes from run to run
    trained.normalizer, trained.pre_tokenizer = normalizer, pre.BertPreTokenizer()
    clean = [normalizer.normalize_str(text) for text in corpus]
    common = {c for c, _ in Counter("".join(clean)).most_common(300)}
    trained.train_from_iterator(["".join(c for c in text if c in common) for text in clean], trainers.BpeTrainer(
        vocab_size=900, show_progress=False))
    learned = trained.get_vocab()
    learned = sorted(learned, key=learned.get)
    # Some letters do not stand within words, so that some words cannot be written.
    within = ["##" + token for token in learned if len(token) > 1 or ord(token) % 4]
    tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *learned, *within]
    vocab = {token: i for i, token in enumerate(tokens)}
    # As converters write them.
    spelled = [t if i < 5 else t[2:] if t.startswith("##") else "▁" + t for i, t in enumerate(tokens)]

    def more(writer):
        if not lower:
            writer.add_bool("tokenizer.ggml.normalizer.lowercase", False)

    write_gguf(name, "bert", spelled, [CONTROL, UNKNOWN, CONTROL, CONTROL, CONTROL] + [NORMAL] * (len(tokens) - 5), more=more,
               unk=1, cls=2, sep=3)
    tokenizer = Tokenizer(models.WordPiece(vocab=vocab, unk_token="[UNK]", max_input_chars_per_word=100))
    tokenizer.normalizer, tokenizer.pre_tokenizer = normalizer, pre.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece(cleanup=False)
    ids = [tokenizer.encode(text, add_special_tokens=False).ids for text in texts]
    decoded = [tokenizer.decode([id for id in row if id != 1], skip_special_tokens=False) for row in ids]
    yield {"ids": write_ids(name, ids), "vocabulary": f"{name}.gguf", "model": "bert",
           "decoded": write_json(f"{name}.texts.json", decoded)}


# ------------------------------------------------------------------------------------------------------------- output

def write_gguf(name, model, tokens, types, *, pre=None, merges=None, scores=None, more=lambda writer: None, **ids):
    writer = GGUFWriter(HERE / f"{name}.gguf", "llama")
    writer.add_tokenizer_model(model)
    if pre:
        writer.add_tokenizer_pre(pre)
    writer.add_token_list(tokens)
    writer.add_token_types(types)
    if merges:
        writer.add_token_merges(merges)
    if scores is not None:
        writer.add_token_scores([float(score) for score in scores])
    for key, id in ids.items():
        key = {"unk": "unknown", "sep": "seperator"}.get(key, key)
        writer.add_uint32(f"tokenizer.ggml.{key}_token_id", id)
    more(writer)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()


def write_ids(name, ids):
    rows = (struct.pack(f"<{len(row) + 1}H", len(row), *row) for row in ids)
    (HERE / f"{name}.ids").write_bytes(b"".join(rows))
    return f"{name}.ids"


def write_json(name, value):
    (HERE / name).write_text(json.dumps(value, ensure_ascii=True, indent=0) + "\n")
    return name


def main():
    HERE.mkdir(exist_ok=True)
    left_out = odd_ones()
    rng = random.Random(1)
    texts = ["", " ", *(random_text(rng, left_out) for _ in range(998))]
    rng = random.Random(2)
    corpus = [random_text(rng, left_out) for _ in range(4000)]
    write_json("texts.json", texts)
    kinds = [
        *byte_level(texts, corpus),
        *falcon(texts, corpus),
        *spm(texts, corpus),
        *unigram(texts, corpus, "unigram-t5", byte_fallback=False, rule="nmt_nfkc", merge_spaces=True, prefix=True),
        *unigram(texts, corpus, "unigram-bytes", byte_fallback=True, rule="identity", merge_spaces=False, prefix=False),
        *wordpiece(texts, corpus, "bert-uncased", lower=True),
        *wordpiece(texts, corpus, "bert-cased", lower=False),
    ]
    (HERE / "kinds.json").write_text("[\n" + ",\n".join(json.dumps(kind) for kind in kinds) + "\n]\n")


if __name__ == "__main__":
    main()
