"""From texts to unit vectors on a CPU with OpenVINO: the model is converted once, and checked."""

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from llmrec_ray.conversions import openvino as conversion
from llmrec_ray.embedding.encoder import check_text, encoder_hash, loading, model_folder
from llmrec_ray.embedding.graph import Graph
from llmrec_ray.embedding.identity import prompts
from llmrec_ray.errors import InvalidSettings
from llmrec_ray.models import FOLDER, converted
from llmrec_ray.ports import EncoderInfo
from llmrec_ray.types import Float32s, Runtime

# The least cosine to torch that a probe may have. OpenVINO as such stands for the model itself
# (docs/adr/0007); int8 is another encoder, and the bound shows a failed conversion alone.
NEAREST: dict[Runtime, float] = {"openvino": 0.9999, "openvino-int8": 0.95}
PROBES = (
    "A film.",
    "Documentary film from the United States (2009), directed by Ondi Timoner: WE LIVE IN PUBLIC.",
    "Café naïve — ﬁlm №5, １２３",
    "太阳即将毁灭，人类在地球表面建造巨大的推进器。",
    "",
    "a text that is much longer than a model reads, " * 60,
)


class OpenVinoEmbedder:
    """The model as a graph of OpenVINO; `runtime` says in which precision."""

    def __init__(
        self,
        model: str,
        *,
        runtime: Runtime = "openvino",
        name: str | None = None,
        query_prefix: str | None = None,
        passage_prefix: str | None = None,
        threads: int = 1,
        batch: int = 32,
        models: Path = FOLDER,
    ) -> None:
        """Load a folder or a hub name; a prefix of None means the model's own prompt, if any.

        Raises `InvalidSettings` where the model cannot be loaded, or OpenVINO's vectors are not
        the model's.
        """
        name = name or model
        if find_spec("openvino") is None:
            raise _refused(runtime, "OpenVINO is not installed; the package's cpu extra has it")
        with loading(name):
            folder = model_folder(model)
            own = prompts(folder)
            graph = _graph_of(folder, name, runtime, models)
        self._query = own.get("query") or "" if query_prefix is None else query_prefix
        self._passage = own.get("document") or "" if passage_prefix is None else passage_prefix
        self._graph = Graph(graph, threads=threads, batch=batch)
        self._info = EncoderInfo(
            name=name,
            hash=encoder_hash(folder, self._query, self._passage, runtime),
            dim=self._graph.dim,
        )

    @property
    def info(self) -> EncoderInfo:
        return self._info

    def passages(self, texts: Sequence[str]) -> Float32s:
        return self._encode(texts, self._passage)

    def queries(self, texts: Sequence[str]) -> Float32s:
        return self._encode(texts, self._query)

    def _encode(self, texts: Sequence[str], prefix: str) -> Float32s:
        for text in texts:
            check_text(text)
        return self._graph.run([prefix + text for text in texts])


def _graph_of(folder: Path, name: str, runtime: Runtime, models: Path) -> Path:
    """The converted folder, named by the hash of the model: a changed one gets its own."""

    def convert(target: Path) -> None:
        try:
            expected = conversion.convert(folder, target, PROBES, int8=runtime == "openvino-int8")
        except RuntimeError as cause:
            first = next(iter(str(cause).splitlines()), "")
            raise _refused(runtime, f"{name} cannot be converted: {first}") from cause
        nearest = float(np.min(np.sum(Graph(target).run(PROBES) * expected, axis=1)))
        if not nearest >= NEAREST[runtime]:
            raise _refused(
                runtime,
                f"{name} gives other vectors there than with torch (cosine {nearest:.5f} on a"
                f" probe, at least {NEAREST[runtime]} needed)",
            )

    return converted(models / f"{runtime}-{encoder_hash(folder, '', '', runtime)}", convert)


def _refused(runtime: Runtime, why: str) -> InvalidSettings:
    return InvalidSettings(
        f"embedding.runtime is {runtime}, and {why}. Set embedding.runtime to torch.",
        field="embedding.runtime",
    )
