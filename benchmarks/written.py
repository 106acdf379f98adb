"""What a benchmark measured in, `results/NAME.json` out, with the machine and the commit."""

import json
import os
import platform
import subprocess
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path

HERE = Path(__file__).parent
RESULTS = HERE / "results"


def write(
    name: str,
    ratios: Mapping[str, float],
    measured: Mapping[str, object],
    settings: Mapping[str, object],
    packages: Sequence[str],
    *,
    folder: Path = RESULTS,
) -> None:
    """Print the ratios and write the file."""
    print(json.dumps(ratios, indent=2))
    folder.mkdir(parents=True, exist_ok=True)
    written = {
        "ratios": ratios,
        **measured,
        "settings": settings,
        "machine": {
            "processor": _processor(),
            "cpus": os.cpu_count(),
            "system": platform.platform(),
        },
        "packages": {package: version(package) for package in packages},
        "commit": _git("rev-parse", "HEAD"),
        "changed": bool(_git("status", "--porcelain", "--untracked-files=no")),
    }
    (folder / f"{name}.json").write_text(json.dumps(written, indent=2) + "\n", "utf-8")


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    return next((line.split(":")[1].strip() for line in lines if "model name" in line), "unknown")


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=HERE, capture_output=True, text=True, check=True)
    return done.stdout.strip()
