from pathlib import Path

import pytest

from llmrec_ray.catalog.description import CatalogDescription, load_description
from llmrec_ray.errors import InvalidCatalog

GOOD = """
files: items.csv
columns: {id: id, title: title, text: {about: plot}, tags: [genres], numbers: [year], images: cover}
passage: "{title} ({year}). {about}"
"""


def load(folder: Path, text: str) -> CatalogDescription:
    path = folder / "catalog.yaml"
    path.write_text(text, "utf-8")
    return load_description(path)


def test_fields_get_their_kinds_and_columns(tmp_path: Path) -> None:
    columns = load(tmp_path, GOOD).columns
    assert columns.kinds == {"about": "text", "genres": "tags", "year": "number", "cover": "image"}
    assert columns.sources["about"] == "plot"


def test_files_are_found_beside_the_description(tmp_path: Path) -> None:
    assert load(tmp_path, GOOD).paths == (tmp_path / "items.csv",)


def test_a_pattern_stands_for_its_files_in_order(tmp_path: Path) -> None:
    for name in ("part-2.csv", "part-1.csv"):
        (tmp_path / name).touch()
    described = load(tmp_path, GOOD.replace("items.csv", "'part-*.csv'"))
    assert [path.name for path in described.paths] == ["part-1.csv", "part-2.csv"]


@pytest.mark.parametrize(
    ("ending", "kind"),
    [
        ("csv", "csv"),
        ("tsv", "csv"),
        ("csv.gz", "csv"),
        ("jsonl", "jsonl"),
        ("parquet", "parquet"),
        ("feather", "arrow"),
        ("arrow", "arrow"),
    ],
)
def test_the_format_follows_from_the_ending(tmp_path: Path, ending: str, kind: str) -> None:
    described = load(tmp_path, GOOD.replace("items.csv", f"items.{ending}"))
    assert described.format_of(described.paths[0]) == kind


def test_a_named_format_wins_over_the_ending(tmp_path: Path) -> None:
    described = load(tmp_path, GOOD.replace("items.csv", "items.dat\nformat: parquet"))
    assert described.format_of(described.paths[0]) == "parquet"


EVENTS = "\nevents: {files: events.csv, columns: {user: u, item: i}"


@pytest.mark.parametrize(
    ("text", "field", "says"),
    [
        ("columns: {id: id, title: title}", "files", "required"),
        ("files: items.csv", "columns", "required"),
        ("files: []\ncolumns: {id: id, title: t}", "files", "at least 1"),
        ("files: items.csv\ncolumns: {id: id}", "columns.title", "required"),
        (GOOD + "colour: red", "colour", "Remove it"),
        (GOOD.replace("numbers: [year]", "numbers: [genres]"), "columns", "named twice"),
        (GOOD.replace("about: plot", "title: plot"), "columns", "'title' is taken"),
        (GOOD.replace("about: plot", "a.b: plot"), "columns", "'a.b' is no field name"),
        (GOOD.replace("{about}", "{plot}"), "description", "{plot} in the passage is no field"),
        (GOOD.replace("items.csv", "items.dat"), "description", "names no format"),
        (GOOD.replace("items.csv", "'*.csv'"), "files", "no file matches"),
        (GOOD + "encoding: klingon", "encoding", "unknown encoding"),
        (GOOD + "csv: {delimiter: ';;'}", "csv.delimiter", "at most 1"),
        (GOOD + "limits: {id_chars: 0}", "limits.id_chars", "greater than"),
        (GOOD + EVENTS + "}", "events", "either `type: rating`"),
        (GOOD + EVENTS + ", type: rating}", "events", "ratings need"),
        (GOOD + EVENTS + ", type: stare}", "events.type", "Input should be"),
    ],
)
def test_a_bad_description_names_file_field_and_remedy(
    tmp_path: Path, text: str, field: str, says: str
) -> None:
    with pytest.raises(InvalidCatalog) as caught:
        load(tmp_path, text)
    assert caught.value.details == {"file": str(tmp_path / "catalog.yaml"), "field": field}
    assert says in str(caught.value)
    assert str(tmp_path / "catalog.yaml") in str(caught.value)


@pytest.mark.parametrize("text", ["", "just words", "- a\n- list", "files: [unclosed"])
def test_a_file_that_holds_no_mapping_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(InvalidCatalog, match="It must be UTF-8 YAML"):
        load(tmp_path, text)


def test_a_missing_description_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidCatalog, match=r"nowhere\.yaml"):
        load_description(tmp_path / "nowhere.yaml")
