"""A text of 10 MB in a catalogue: cut or set aside with a reason, and the other items are kept."""

import json
from pathlib import Path

from llmrec_ray.catalog.clean import clean_catalog
from tests.unit.catalog.conftest import Describe

HUGE = "word <b>x</b> & " * 700_000
LIMIT = 20_000


def test_a_huge_text_is_cut(describe: Describe, tmp_path: Path) -> None:
    rows = [
        {"id": "a", "title": "A", "plot": HUGE, "genres": ["Drama"], "year": 1, "poster": None},
        {"id": "b", "title": HUGE, "plot": "short", "genres": [], "year": 2, "poster": None},
    ]
    lines = "\n".join(json.dumps(row) for row in rows)
    cleaned = clean_catalog(describe(lines, "items.jsonl"), tmp_path / "rejected.jsonl")
    a, b = cleaned.items.to_pylist()
    assert 0 < len(a["field.plot"]) <= LIMIT
    assert a["field.genres"] == ["Drama"]
    assert 0 < len(b["title"]) <= LIMIT
    assert sum(len(str(value)) for item in (a, b) for value in item.values()) < 3 * LIMIT


def test_a_huge_cell_of_a_csv_is_set_aside_with_the_reason(
    describe: Describe, tmp_path: Path
) -> None:
    data = f'id,title,plot,genres,year,poster\na,A,"{HUGE}",,1,\nb,B,short,,,\n'
    rejected = tmp_path / "rejected.jsonl"
    cleaned = clean_catalog(describe(data), rejected)
    assert cleaned.items["item_id"].to_pylist() == ["b"]
    (row,) = [json.loads(line) for line in rejected.read_text("utf-8").splitlines()]
    assert "cell over 131,072 characters" in row["reason"]
    assert row["row"] == 2
