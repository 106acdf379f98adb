"""`python -m benchmarks.report`: results become one page, and plots that are the same each time."""

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks.plots import PLOTS
from benchmarks.report import page
from benchmarks.written import RESULTS, write


def learned(events: int) -> dict[str, Any]:
    stages = {"moments": {"cpu_seconds": events / 9}}
    return {"events": events, "cpu_seconds": events / 9, "peak_gib": 1.5, "stages": stages}


def test_a_page_has_the_ratios_of_what_was_measured_and_no_more(tmp_path: Path) -> None:
    write("embed", {"fast_speedup": 2.5024}, {}, {"texts": 9}, ("numpy",), folder=tmp_path)
    text = page(tmp_path)
    assert "| `fast_speedup` | 2.5024 | texts a second of OpenVINO" in text
    assert "How do time and memory" not in text
    assert json.loads((tmp_path / "embed.json").read_text())["commit"][:12] in text


def test_a_plot_is_the_same_bytes_for_the_same_results(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    found = {"runs": [learned(1_000), learned(20_000)]}
    for name in ("one", "two"):
        PLOTS["learning_scale"](found, tmp_path / f"{name}.svg")
    assert (tmp_path / "one.svg").read_bytes() == (tmp_path / "two.svg").read_bytes()
    assert (tmp_path / "one.svg").read_text().count("<path") > 10


@pytest.mark.parametrize("name", sorted(PLOTS))
def test_every_result_can_be_drawn(name: str, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    if not (RESULTS / f"{name}.json").exists():
        pytest.skip(f"{name} was not measured yet")
    PLOTS[name](json.loads((RESULTS / f"{name}.json").read_text()), tmp_path / "plot.svg")
    assert "<path" in (tmp_path / "plot.svg").read_text()
