"""The README: its links lead somewhere, its commands exist, its requests are the service's."""

import re
from pathlib import Path

from serve.up import greeting
from tests.support.readme import README, curls

ROOT = README.parent
TEXT = README.read_text("utf-8")


def test_every_link_leads_somewhere() -> None:
    links = re.findall(r"\]\((?!https?:)([^)#]+)\)", TEXT)
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_every_make_target_exists() -> None:
    makefile = (ROOT / "Makefile").read_text("utf-8")
    targets = set(re.findall(r"^([a-z-]+):", makefile, re.MULTILINE))
    assert set(re.findall(r"`?make ([a-z-]+)", TEXT)) - {"it"} <= targets


def test_every_path_of_the_file_tree_exists() -> None:
    tree = TEXT.split("## What is where")[1].split("```")[1]
    top = re.findall(r"^([\w.]+/?)  ", tree, re.MULTILINE)
    inner = re.findall(r"^  ([\w.]+/?)  ", tree, re.MULTILINE)
    paths = [ROOT / name for name in top] + [ROOT / "llmrec_ray" / name for name in inner]
    assert len(paths) > 12
    assert [str(path) for path in paths if not path.exists()] == []


def test_the_first_requests_are_those_that_the_service_greets_with() -> None:
    assert curls(TEXT)[:3] == curls(greeting("http://127.0.0.1:8000"))


def test_the_description_shown_is_the_demos() -> None:
    shown = re.search(r"passage: (.+)", TEXT)
    assert shown
    assert f"passage: {shown[1]}" in Path(ROOT / "demo" / "films.yaml").read_text("utf-8")
