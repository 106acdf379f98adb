"""From texts to unit vectors with a sentence-transformers model, on a GPU where there is one."""
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# sentence-transformers has types in part

from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from hashlib import blake2b
from pathlib import Path
from threading import Lock

import numpy as np

from llmrec_ray.errors import InvalidInput, InvalidSettings
from llmrec_ray.ports import EncoderInfo
from llmrec_ray.types import Float32s, Runtime

# What decides about a vector; the rest of a model folder is documentation and other formats.
DECISIVE = (
    "*.safetensors",
    "*/*.safetensors",
    "config.json",
    "*/config.json",
    "modules.json",
    "sentence_bert_config.json",
    "tokenizer.json",
    "vocab.txt",
    "*.model",
)
LOADED = (*DECISIVE, "*.json")
# How a runtime comes to vectors that are not the model's: a new way gets a new name here.
RECIPES: Mapping[Runtime, bytes] = {"openvino-int8": b"openvino-int8-1"}


class SentenceTransformerEmbedder:
    """A loaded model. Calls from several threads take turns: its tokenizer serves one at a time."""

    def __init__(
        self,
        model: str,
        *,
        name: str | None = None,
        query_prefix: str | None = None,
        passage_prefix: str | None = None,
        threads: int = 1,
        batch: int = 32,
    ) -> None:
        """Load a folder or a hub name; a prefix of None means the model's own prompt, if any."""
        import torch
        from sentence_transformers import SentenceTransformer

        torch.set_num_threads(threads)
        with loading(name or model):
            folder = model_folder(model)
            self._model = SentenceTransformer(
                str(folder), model_kwargs={"dtype": torch.float32}, local_files_only=True
            )
        own = self._model.prompts
        self._query = own.get("query") or "" if query_prefix is None else query_prefix
        self._passage = own.get("document") or "" if passage_prefix is None else passage_prefix
        self._batch = batch
        self._turn = Lock()
        self._info = EncoderInfo(
            name=name or model,
            hash=encoder_hash(folder, self._query, self._passage),
            dim=self.passages(["dimension"]).shape[1],
        )

    @property
    def info(self) -> EncoderInfo:
        return self._info

    def passages(self, texts: Sequence[str]) -> Float32s:
        return self._encode(texts, self._passage)

    def queries(self, texts: Sequence[str]) -> Float32s:
        return self._encode(texts, self._query)

    def _encode(self, texts: Sequence[str], prefix: str) -> Float32s:
        if not texts:
            return np.empty((0, self._info.dim), np.float32)
        for text in texts:
            check_text(text)
        with self._turn:
            encoded = self._model.encode(  # it sorts by length before it makes batches
                [prefix + text for text in texts],
                prompt="",
                batch_size=self._batch,
                normalize_embeddings=True,
                show_progress_bar=False,
            )
        return np.asarray(encoded, np.float32)


def check_text(text: str) -> None:
    """Raise `InvalidInput` for half of a surrogate pair, which no tokenizer takes."""
    try:
        text.encode()
    except UnicodeEncodeError as cause:
        raise InvalidInput(
            f"the text {text[:40]!a} is not valid Unicode: it holds half of a surrogate pair. "
            "Send the text as UTF-8."
        ) from cause


@contextmanager
def loading(name: str) -> Generator[None]:
    """What a loader cannot find or read becomes `InvalidSettings`."""
    try:
        yield
    except (OSError, ValueError) as cause:
        raise InvalidSettings(
            f"cannot load the embedding model {name}: {cause}. Name a preset, a "
            "folder of a sentence-transformers model, or a hub name that can be reached.",
            model=name,
        ) from cause


def model_folder(model: str) -> Path:
    """A folder as it is, a hub name where the hub's cache keeps it."""
    if (path := Path(model)).is_dir():
        return path
    from huggingface_hub import snapshot_download

    return Path(snapshot_download(model, allow_patterns=list(LOADED)))


def encoder_hash(
    folder: Path, query_prefix: str, passage_prefix: str, runtime: Runtime = "torch"
) -> str:
    """BLAKE2b-128 of the prefixes and the files that decide about a vector, wherever they lie.

    A runtime counts where its vectors are others (docs/adr/0007): int8, not OpenVINO as such.
    """
    files = sorted(
        {
            path.relative_to(folder).as_posix()
            for pattern in DECISIVE
            for path in folder.glob(pattern)
        }
    )
    total = blake2b(digest_size=16)
    for part in (query_prefix, passage_prefix):
        total.update(blake2b(part.encode()).digest())
    for name in files:
        with (folder / name).open("rb") as file:
            content = blake2b()
            while block := file.read(1 << 20):
                content.update(block)
        total.update(blake2b(name.encode()).digest() + content.digest())
    if recipe := RECIPES.get(runtime):
        total.update(recipe)
    return total.hexdigest()
