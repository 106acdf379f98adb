"""Coded events as files in, vectors of items and of histories as files out: SASRec by `rectools`.

`PYTHON sasrec_process.py check|fit|encode FOLDER` runs in an environment of its own
(benchmarks/sasrec.sh), so it imports nothing of this package; `sasrec.py` says what the files hold.
"""

# pyright: basic, reportMissingImports=false, reportAttributeAccessIssue=false
# (what it imports is installed in that other environment alone)

import json
import sys
from collections.abc import Callable, Mapping
from datetime import timedelta
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

PACKAGES = ("RecTools", "torch", "pytorch-lightning", "numpy")
LONGEST = 200
"""Events of a history at most, as for MovieLens in Kang and McAuley 2018."""

COVERED = 0.95
"""The part of the training histories that the model reads to their beginning."""

BATCH = 512


def check(_folder: Path) -> None:
    """Raise where a package is missing."""
    _versions()


def fit(folder: Path) -> None:
    """Train until the loss of held-out events rises, or the epochs or the minutes are over."""
    import torch
    from pytorch_lightning import seed_everything
    from rectools.dataset import Dataset
    from rectools.models import SASRecModel

    settings = json.loads((folder / "settings.json").read_text("utf-8"))
    lengths, codes = _histories(folder / "train.npz")
    seed_everything(settings["seed"], verbose=False)
    held = held_out(lengths, settings["held_out"], settings["seed"])
    longest = int(min(LONGEST, max(2, np.quantile(lengths, COVERED))))
    model = SASRecModel(
        n_blocks=settings["blocks"],
        n_heads=settings["heads"],
        n_factors=settings["dim"],
        dropout_rate=settings["dropout"],
        session_max_len=longest,
        loss="softmax",
        lr=settings["rate"],
        batch_size=settings["batch"],
        lightning_module_type=_module(),
        get_val_mask_func=lambda _: held,
        get_trainer_func=lambda: _trainer(folder, settings),
    )
    model.fit(Dataset.construct(_frame(lengths, codes)))
    trained = model.fit_trainer
    best = trained.checkpoint_callback
    weights = torch.load(best.best_model_path, weights_only=False)["state_dict"]
    model.lightning_model.load_state_dict(weights)
    torch.save(model.torch_model.eval(), folder / "model.pt")
    _write_items(folder, model, settings["items"])
    told = {
        "epochs": trained.current_epoch,
        "validation_loss": float(best.best_model_score),
        "stopped_by": _stopped_by(trained, settings["epochs"]),
        "longest": longest,
        "versions": _versions(),
    }
    (folder / "trained.json").write_text(json.dumps(told), "utf-8")


def encode(folder: Path) -> None:
    """Vectors of the asked histories, float32 [histories, dim]; 0 without an item it learnt."""
    import torch

    model = torch.load(folder / "model.pt", weights_only=False)
    longest = json.loads((folder / "trained.json").read_text("utf-8"))["longest"]
    numbers = np.load(folder / "numbers.npy")
    lengths, codes = _histories(folder / "asked.npz")
    read = np.zeros((len(lengths), longest), np.int64)
    for row, of_user in enumerate(np.split(numbers[codes], np.cumsum(lengths)[:-1])):
        known = of_user[of_user > 0][-longest:]
        if len(known):
            read[row, -len(known) :] = known
    with torch.inference_mode():
        items = model.item_model.get_all_embeddings()
        parts = [np.zeros((0, items.shape[1]), np.float32)]
        for start in range(0, len(read), BATCH):
            batch = {"x": torch.from_numpy(read[start : start + BATCH])}
            parts.append(model.encode_sessions(batch, items)[:, -1].numpy())
    vectors = np.concatenate(parts)
    vectors[~read.any(axis=1)] = 0.0
    np.save(folder / "histories.npy", vectors)


def held_out(lengths: np.ndarray, most: int, seed: int) -> np.ndarray:
    """Marks the last event of at most `most` users, drawn by the seed, bool [events]."""
    ends = np.cumsum(lengths) - 1
    able = np.flatnonzero(lengths > 2)
    drawn = np.random.default_rng(seed).permutation(able)[:most]
    held = np.zeros(int(lengths.sum()), np.bool_)
    held[ends[drawn]] = True
    return held


def _histories(path: Path) -> tuple[np.ndarray, np.ndarray]:
    found = np.load(path)
    return found["lengths"], found["codes"]


def _frame(lengths: np.ndarray, codes: np.ndarray) -> Any:
    """The interactions as rectools wants them; a second for each event keeps their order."""
    import pandas as pd

    return pd.DataFrame(
        {
            "user_id": np.repeat(np.arange(len(lengths)), lengths),
            "item_id": codes,
            "weight": 1.0,
            "datetime": np.arange(len(codes)).astype("datetime64[s]"),
        }
    )


def _module() -> Any:
    """The library's own training step but for padding, which weighs nothing: it is not scored."""
    import torch
    from rectools.models.nn.transformers.lightning import TransformerLightningModule

    class Unpadded(TransformerLightningModule):
        def training_step(self, batch: Any, _: int) -> Any:
            items = self.torch_model.item_model.get_all_embeddings()
            filled = batch["y"] != 0
            said = self.torch_model.encode_sessions(batch, items)[filled] @ items.T
            return torch.nn.functional.cross_entropy(said, batch["y"][filled])

    return Unpadded


def _trainer(folder: Path, settings: Mapping[str, Any]) -> Any:
    from pytorch_lightning import Trainer
    from pytorch_lightning.callbacks import EarlyStopping, ModelCheckpoint

    return Trainer(
        accelerator="cpu",
        max_epochs=settings["epochs"],
        max_time=timedelta(minutes=settings["minutes"]),
        callbacks=[
            EarlyStopping("val_loss", patience=settings["patience"]),
            ModelCheckpoint(folder / "checkpoints", monitor="val_loss"),
        ],
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
    )


def _stopped_by(trained: Any, epochs: int) -> str:
    if trained.early_stopping_callback.stopped_epoch:
        return "patience"
    return "epochs" if trained.current_epoch >= epochs else "minutes"


def _write_items(folder: Path, model: Any, items: int) -> None:
    """Vectors float32 [items, dim], and the model's number of each item, 0 where it has none."""
    learnt = model.data_preparator.get_known_item_ids().astype(np.int64)
    inside = model.data_preparator.get_known_items_sorted_internal_ids()
    embedded = model.torch_model.item_model.get_all_embeddings().detach().numpy()
    numbers = np.zeros(items, np.int64)
    numbers[learnt] = inside
    vectors = np.zeros((items, embedded.shape[1]), np.float32)
    vectors[learnt] = embedded[inside]
    np.save(folder / "numbers.npy", numbers)
    np.save(folder / "items.npy", vectors)


def _versions() -> dict[str, str]:
    return {name: version(name) for name in PACKAGES}


STEPS: Mapping[str, Callable[[Path], None]] = {"check": check, "fit": fit, "encode": encode}

if __name__ == "__main__":
    STEPS[sys.argv[1]](Path(sys.argv[2]))
