"""A run's result and thresholds.toml in, everything that is over a threshold out.

`python -m loadtest.check RESULT.json` judges a result anew; its exit code is that of the run.
"""

import argparse
import json
import sys
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from loadtest.ledger import Kind, Ledger

THRESHOLDS = Path(__file__).parent / "thresholds.toml"
SHARES = ("failed_share", "refused_share", "degraded_share")
PERCENTILES = {"p50_ms": 0.5, "p95_ms": 0.95, "p99_ms": 0.99}


def thresholds_of(profile: str, path: Path = THRESHOLDS) -> Mapping[str, Any]:
    """The profile's thresholds; raises `ValueError` where they cannot be used."""
    try:
        read = tomllib.loads(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as cause:
        raise ValueError(f"cannot read thresholds from {path}: {cause}") from cause
    if (found := read.get(profile)) is None:
        raise ValueError(f"{path} has no section [{profile}].")
    _check_names(found, path, profile)
    return found


def _check_names(found: Mapping[str, Any], path: Path, profile: str) -> None:
    """A misspelt threshold would never be crossed."""
    kinds: Mapping[str, Any] = found.get("kinds", {})
    odd = [name for name in found if name not in {*SHARES, "kinds"}]
    odd += [
        f"{kind}.{name}"
        for kind, limits in kinds.items()
        for name in limits
        if name not in PERCENTILES
    ]
    if odd:
        raise ValueError(f"{path} [{profile}]: no threshold is called {', '.join(odd)}.")


def crossed(ledger: Ledger, thresholds: Mapping[str, Any]) -> list[str]:
    """What is over a threshold, each in a sentence; a kind that was never answered is too."""
    if not ledger.kinds:
        return ["nothing was called"]
    found = [
        f"{name}: {share} {_share(kind, share):.2%} is over {thresholds[share]:.2%}"
        for name, kind in sorted(ledger.kinds.items())
        for share in SHARES
        if share in thresholds and _share(kind, share) > thresholds[share]
    ]
    for name, limits in thresholds.get("kinds", {}).items():
        if (kind := ledger.kinds.get(name)) is None:
            continue
        for label, most in limits.items():
            ms = kind.percentile_ms(PERCENTILES[label])
            if ms is None:
                found.append(f"{name}: no call was answered")
            elif ms > most:
                found.append(f"{name}: {label} {ms:.0f} is over {most}")
    return found


def _share(kind: Kind, name: str) -> float:
    return getattr(kind, name.removesuffix("_share")) / max(kind.calls, 1)


def main(arguments: list[str] | None = None) -> int:
    """0 when no threshold is crossed, 1 when one is, 2 when that cannot be said."""
    parser = argparse.ArgumentParser(prog="python -m loadtest.check", description=main.__doc__)
    parser.add_argument("result", type=Path)
    parser.add_argument("--thresholds", type=Path, default=THRESHOLDS)
    chosen = parser.parse_args(arguments)
    try:
        read = json.loads(chosen.result.read_text("utf-8"))
        thresholds = thresholds_of(read["profile"], chosen.thresholds)
        found = crossed(Ledger.of_json(read), thresholds)
    except (OSError, ValueError, KeyError, TypeError) as error:
        print(f"{chosen.result} cannot be judged: {error}", file=sys.stderr)
        return 2
    print("\n".join(found) or "No threshold is crossed.")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
