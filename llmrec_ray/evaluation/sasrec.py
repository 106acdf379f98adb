"""The peer SASRec of the library `rectools`: pasts in, a ranker that another Python trained out.

Files go to `sasrec_process.py` and come back, arrays without pickles: `train.npz` and `asked.npz`
hold `lengths` and `codes`, all histories one after the other, oldest event first; `items.npy`
and `histories.npy` the vectors whose products are the scores; `numbers.npy` is 0 for an item that
was never learnt; `trained.json` what the training came to.
"""

import json
import shutil
import subprocess
import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import mkdtemp

import numpy as np

from llmrec_ray.errors import InvalidInput, Unavailable
from llmrec_ray.evaluation import sasrec_process
from llmrec_ray.evaluation.data import Ask, Catalog, Past, Ranker
from llmrec_ray.evaluation.ranking import popularity_of, ranked, taken
from llmrec_ray.types import Bools, Float64s, Ints

INSTALL = (
    "sh benchmarks/sasrec.sh var/sasrec, then --sasrec-python var/sasrec/bin/python"
    " (docs/evaluation.md)"
)
CHECK_S = 120.0
LAST_LINES = 3


@dataclass(frozen=True, slots=True)
class Sasrec:
    """Self-attention over the history (Kang and McAuley 2018), with the softmax over all items.

    The last event of `held_out` training users stops it, after `patience` epochs without a better
    loss; `trained` is filled in by `fit`. Only one vector a history is learnt, so it has nothing to
    say to a history without items that it learnt: these are ranked by popularity.
    """

    python: Path
    dim: int = 64
    blocks: int = 2
    heads: int = 2
    dropout: float = 0.2
    rate: float = 0.001
    batch: int = 64
    epochs: int = 400
    patience: int = 20
    held_out: int = 1_000
    minutes: float = 20.0
    seed: int = 13
    name: str = "sasrec"
    trained: dict[str, object] = field(default_factory=dict[str, object])

    def fit(self, catalog: Catalog, train: Sequence[Past]) -> Ranker:
        path = Path(mkdtemp(prefix="llmrec-sasrec-"))
        ranker = Trained(self.python, path, popularity_of(taken(train, len(catalog))))
        settings = {
            "items": len(catalog),
            "dim": self.dim,
            "blocks": self.blocks,
            "heads": self.heads,
            "dropout": self.dropout,
            "rate": self.rate,
            "batch": self.batch,
            "epochs": self.epochs,
            "patience": self.patience,
            "held_out": self.held_out,
            "minutes": self.minutes,
            "seed": self.seed,
        }
        (path / "settings.json").write_text(json.dumps(settings), "utf-8")
        write_histories(path / "train.npz", train)
        _run(self.python, "fit", path)
        self.trained.update(json.loads((path / "trained.json").read_text("utf-8")))
        return ranker


class Trained:
    """Scores are products of the vectors in `folder`, which goes with it."""

    def __init__(self, python: Path, folder: Path, popularity: Float64s) -> None:
        self._python = python
        self._folder = folder
        self._popularity = popularity
        weakref.finalize(self, shutil.rmtree, folder)

    def rank(self, asks: Sequence[Ask], allowed: Bools, limit: int) -> Ints:
        write_histories(self._folder / "asked.npz", [ask.past for ask in asks])
        _run(self._python, "encode", self._folder)
        return ranked(scores_of(self._folder), self._popularity, asks, allowed, limit)


def scores_of(folder: Path) -> Callable[[slice], Float64s]:
    """Scores of a slice of the asked histories, float64 [asks, items]; unlearnt items are last."""
    histories = np.load(folder / "histories.npy").astype(np.float64)
    items = np.load(folder / "items.npy").astype(np.float64)
    unlearnt = np.load(folder / "numbers.npy") == 0

    def scores(block: slice) -> Float64s:
        found = histories[block] @ items.T
        found[:, unlearnt] = found.min(axis=1, keepdims=True, initial=0.0) - histories[block].any(
            axis=1, keepdims=True
        )
        return found

    return scores


def checked(python: Path) -> Path:
    """A Python that has what it takes; raises `InvalidInput` otherwise."""
    if not python.is_file():
        raise InvalidInput(f"--sasrec-python {python}: no such file. Install it by {INSTALL}.")
    try:
        _run(python, "check", Path(), timeout_s=CHECK_S)
    except Unavailable as error:
        raise InvalidInput(
            f"--sasrec-python {python}: rectools cannot be used there ({error}). Install it by"
            f" {INSTALL}."
        ) from error
    return python


def write_histories(path: Path, pasts: Sequence[Past]) -> None:
    """The codes of all pasts one after the other, and how many each has, as int64."""
    lengths = np.array([len(past) for past in pasts], dtype=np.int64)
    codes = np.concatenate([np.zeros(0, np.int64), *(past.codes for past in pasts)])
    np.savez(path, lengths=lengths, codes=codes)


def _run(python: Path, step: str, folder: Path, *, timeout_s: float | None = None) -> None:
    command = [str(python), sasrec_process.__file__, step, str(folder)]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=timeout_s
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Unavailable(f"SASRec did not {step}: {error}") from error
    if done.returncode:
        said = " / ".join(done.stderr.strip().splitlines()[-LAST_LINES:])
        raise Unavailable(f"SASRec did not {step}, status {done.returncode}: {said}")
