"""What an evaluation found comes in; JSON values and rows of a table go out."""

import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from llmrec_ray import __version__
from llmrec_ray.evaluation.compare import LEVEL, ROUNDS, Interval
from llmrec_ray.evaluation.data import Data, System
from llmrec_ray.evaluation.run import CUTS, MAIN, Evaluated, Tried, best_peer
from llmrec_ray.evaluation.splits import Split
from llmrec_ray.settings import LearningSettings

Json = dict[str, object]


def report(
    data: Data,
    split: Split,
    systems: Sequence[System],
    found: Evaluated,
    left_out: Mapping[str, str],
) -> Json:
    """Everything as JSON values: the split, each system's settings, measures, tests."""
    return {
        "protocol": split.protocol,
        "split": dict(split.facts),
        "relevant_from": data.relevant_from,
        "encoder": asdict(data.catalog.encoder),
        "cuts": list(CUTS),
        "bootstrap": {"rounds": ROUNDS, "level": LEVEL, "seed": split.facts["seed"], "by": "user"},
        "systems": {system.name: _settings(system) for system in systems},
        "left_out": dict(left_out),
        "seconds": {
            name: {"fit": round(fit, 2), "rank": round(rank, 2)}
            for name, (fit, rank) in found.seconds.items()
        },
        "trials": {tried.name: _trial(tried) for tried in found.tried},
        "version": __version__,
        "python": platform.python_version(),
        "machine": f"{platform.system()} {platform.machine()}",
    }


def rows(tried: Tried) -> list[dict[str, str]]:
    """A row a system: measures at 10, and how ours differs from it."""
    return [
        {
            "system": one.system,
            MAIN: f"{one.accuracy[MAIN].mean:.4f}",
            "95 %": _shown(one.accuracy[MAIN]),
            **{name: f"{one.accuracy[name].mean:.4f}" for name in ("recall@10", "mrr@10")},
            "ours is": _against(tried, one.system),
        }
        for one in tried.measured
    ]


def _settings(system: System) -> Json:
    """Values alone: where an environment lies on this machine is none."""
    fields: Json = asdict(system)  # pyright: ignore[reportArgumentType] every system is a dataclass
    values: Json = {name: value for name, value in fields.items() if not isinstance(value, Path)}
    if isinstance(values.get("learning"), LearningSettings):
        values["learning"] = values["learning"].model_dump(mode="json")  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType]
    return values


def _trial(tried: Tried) -> Json:
    return {
        "asks": tried.asks,
        "users": tried.users,
        "candidates": tried.candidates,
        "best_peer": best_peer(tried),
        "systems": {
            one.system: {
                "accuracy": {name: asdict(value) for name, value in one.accuracy.items()},
                "lists": dict(one.lists),
                f"{MAIN}_by_history": [asdict(group) for group in one.by_history],
            }
            for one in tried.measured
        },
        "ours_against": {
            peer: {name: asdict(test) for name, test in tests.items()}
            for peer, tests in tried.paired.items()
        },
    }


def _shown(value: Interval) -> str:
    return f"{value.low:.3f}–{value.high:.3f}"


def _against(tried: Tried, peer: str) -> str:
    """How much better ours is, and the lower bound of that."""
    if peer not in tried.paired:
        return ""
    test = tried.paired[peer][MAIN]
    if test.relative is None or test.relative_low is None:
        return f"{test.difference.mean:+.4f}"
    return f"{test.relative:+.0%} (≥ {test.relative_low:+.0%})"
