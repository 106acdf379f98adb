"""From a sentence-transformers folder to an OpenVINO graph and its tokenizer, for the CPU.

The graph holds every module of the model (transformer, pooling, dense layers, normalisation): token
ids and their mask in, unit vectors out. The tokenizer truncates and pads as the model's does.
"""
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportMissingTypeStubs=false
# torch, sentence-transformers and OpenVINO have types in part

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from llmrec_ray.errors import InvalidSettings
from llmrec_ray.types import Float32s

GRAPH, TOKENIZER = "encoder.xml", "tokenizer.json"
IDS = [[101, 102, 103, 104], [101, 102, 0, 0]]  # tracing needs their shape alone
MASK = [[1, 1, 1, 1], [1, 1, 0, 0]]
MATRIX = 2  # dimensions
TINY = np.float32(1e-6)  # an output whose weights are all zero


def convert(source: Path, target: Path, probes: Sequence[str], *, int8: bool) -> Float32s:
    """Fill the existing folder `target`; out comes what torch makes of `probes`, [n, dim]."""
    import torch
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(
        str(source), device="cpu", model_kwargs={"dtype": torch.float32}, local_files_only=True
    ).eval()
    (target / TOKENIZER).write_text(_tokenizer(model, source), "utf-8")
    _write_graph(model, target / GRAPH, int8=int8)
    vectors = model.encode(
        list(probes), prompt="", normalize_embeddings=True, show_progress_bar=False
    )
    return np.asarray(vectors, np.float32)


def _write_graph(model: Any, path: Path, *, int8: bool) -> None:
    import openvino
    import torch

    class Encoder(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model  # a part of it, or tracing takes its weights for inputs

        def forward(self, input_ids: Any, attention_mask: Any) -> Any:
            found = self.model({"input_ids": input_ids, "attention_mask": attention_mask})
            return torch.nn.functional.normalize(found["sentence_embedding"], dim=1)

    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # of the tracer, about branches: the probes answer them
        graph = openvino.convert_model(
            Encoder().eval(),
            example_input=(torch.tensor(IDS), torch.tensor(MASK)),
            input=[openvino.PartialShape([-1, -1])] * 2,
        )
    if int8:
        _quantise(graph)
    openvino.save_model(graph, path)  # float16 weights: finer than the bfloat16 they run in


def _quantise(graph: Any) -> None:
    """Every weight matrix to 8 bits, a scale per output; activations are scaled as they come.

    So nothing is calibrated, and every machine comes to the same weights.
    """
    from openvino import opset13 as ops

    for product in graph.get_ops():
        if product.get_type_name() != "MatMul":
            continue
        held = product.input_value(1).get_node()
        if held.get_type_name() != "Constant" or len(held.get_output_shape(0)) != MATRIX:
            continue
        weights: Float32s = np.asarray(held.data, np.float32)
        inputs = 1 if product.get_attributes()["transpose_b"] else 0
        scales = np.maximum(np.abs(weights).max(axis=inputs, keepdims=True), TINY) / 127
        codes = ops.constant(np.rint(weights / scales).astype(np.int8))
        restored = ops.multiply(ops.convert(codes, "f32"), ops.constant(scales))
        product.input(1).replace_source_output(restored.output(0))


def _tokenizer(model: Any, source: Path) -> str:
    own = model.tokenizer
    if not getattr(own, "is_fast", False):
        raise InvalidSettings(
            f"the tokenizer of {source} is not one of the `tokenizers` library, which OpenVINO's"
            " encoder needs. Set embedding.runtime to torch.",
            field="embedding.runtime",
        )
    from tokenizers import Tokenizer

    copied = Tokenizer.from_str(own.backend_tokenizer.to_str())
    copied.enable_truncation(int(model.max_seq_length))
    copied.enable_padding(pad_id=own.pad_token_id, pad_token=own.pad_token)
    return copied.to_str()
