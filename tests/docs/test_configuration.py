"""docs/configuration.md names every setting with its default, and no other."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import BaseModel

from llmrec_ray.settings import Settings

PAGE = (Path(__file__).parents[2] / "docs" / "configuration.md").read_text("utf-8")
ROWS = dict(re.findall(r"^\| `([a-z_]+\.[a-z_]+)` \| (.+?) \|", PAGE, re.MULTILINE))


def settings_and_defaults() -> Iterator[tuple[str, object]]:
    for section, value in Settings():
        assert isinstance(value, BaseModel)
        for name, default in value:
            yield f"{section}.{name}", default


def test_every_setting_is_documented_and_none_is_made_up() -> None:
    assert sorted(ROWS) == sorted(name for name, _ in settings_and_defaults())


@pytest.mark.parametrize(("name", "default"), list(settings_and_defaults()))
def test_the_documented_default_is_the_default(name: str, default: object) -> None:
    written = ROWS[name]
    if written.startswith("`"):
        drawn = str(list(default) if isinstance(default, tuple) else default)
        assert written.strip("`").lower() in {drawn.lower(), drawn.lower().replace(".0", "")}
    else:
        assert default is None or isinstance(default, dict)
