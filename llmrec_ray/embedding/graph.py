"""From a converted model's folder to a runner: texts in, unit vectors out, on the CPU.

A batch holds texts of like length, bounded by their number and by their tokens with padding.
"""
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportMissingTypeStubs=false
# OpenVINO and tokenizers have types in part

from collections.abc import Iterator, Sequence
from pathlib import Path
from threading import Lock

import numpy as np

from llmrec_ray.conversions.openvino import GRAPH, TOKENIZER
from llmrec_ray.types import Float32s

BATCH_TOKENS = 4096  # beyond, a forward pass' activations leave the cache


class Graph:
    """A compiled model. Calls from several threads take turns: one request has one memory."""

    def __init__(self, folder: Path, *, threads: int = 1, batch: int = 32) -> None:
        import openvino
        from tokenizers import Tokenizer

        core = openvino.Core()
        fast = "BF16" in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
        compiled = core.compile_model(
            str(folder / GRAPH),
            "CPU",
            {
                "INFERENCE_NUM_THREADS": threads,
                "NUM_STREAMS": 1,
                # Pinned, the replicas of one host would all take its first cores.
                "ENABLE_CPU_PINNING": False,
                "INFERENCE_PRECISION_HINT": "bf16" if fast else "f32",
                # Beside 8-bit weights: inputs that share a scale. 32 costs a fifth of the speed.
                "DYNAMIC_QUANTIZATION_GROUP_SIZE": 128,
            },
        )
        self.dim = int(compiled.output(0).partial_shape[1].get_length())
        self._request = compiled.create_infer_request()
        self._tokenizer = Tokenizer.from_file(str(folder / TOKENIZER))
        self._pad = int((self._tokenizer.padding or {"pad_id": 0})["pad_id"])
        self._tokenizer.no_padding()
        self._batch = batch
        self._turn = Lock()

    def run(self, texts: Sequence[str]) -> Float32s:
        """float32 [texts, dim], rows in the order of the texts."""
        vectors = np.empty((len(texts), self.dim), np.float32)
        tokens = [one.ids for one in self._tokenizer.encode_batch(list(texts))]
        for places in batches([len(ids) for ids in tokens], texts=self._batch):
            rows = [tokens[place] for place in places]
            with self._turn:
                vectors[places] = self._request.infer(self._padded(rows))[0]
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)

    def _padded(self, rows: Sequence[Sequence[int]]) -> list[np.ndarray]:
        width = max(len(row) for row in rows)
        ids = np.full((len(rows), width), self._pad, np.int64)
        mask = np.zeros((len(rows), width), np.int64)
        for place, row in enumerate(rows):
            ids[place, : len(row)] = row
            mask[place, : len(row)] = 1
        return [ids, mask]


def batches(
    lengths: Sequence[int], *, texts: int, tokens: int = BATCH_TOKENS
) -> Iterator[list[int]]:
    """Places in batches of like length, the shortest first; a lone text may exceed `tokens`."""
    batch: list[int] = []
    for place in sorted(range(len(lengths)), key=lengths.__getitem__):
        if batch and (len(batch) == texts or (len(batch) + 1) * lengths[place] > tokens):
            yield batch
            batch = []
        batch.append(place)
    if batch:
        yield batch
