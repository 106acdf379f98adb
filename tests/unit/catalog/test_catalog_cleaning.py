import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from llmrec_ray.catalog.clean import NumberScale, clean_catalog, clean_items
from llmrec_ray.catalog.description import CatalogDescription, CatalogLimits, ItemColumns
from llmrec_ray.catalog.read import RawBatch
from llmrec_ray.catalog.report import Tally
from llmrec_ray.schemas import items_schema

HEADER = "id,title,plot,genres,year,poster\n"
LIMITS = "limits: {id_chars: 8, text_chars: 20, tags: 3}"
Describe = Callable[..., CatalogDescription]

MESSY = (
    HEADER
    + "a,AmÃ©lie,<p>Short &amp; sweet</p>,Comedy||Comedy|,1994,http://x/a.jpg\n"
    + "b,Second,A plot that is much longer than allowed,A|B|C|D,nineteen,no address\n"
    + "a,Twice,,,,\n"
    + ",No id,,,,\n"
    + "   ,Blank id,,,,\n"
    + "much-too-long,Long id,,,,\n"
    + "c\x07c,Bell,,,,\n"
    + "d,<br>,,,,\n"
    + "d,Now with a title,,,1e999,\n"
    + "e,too,few\n"
    + "f,F,,,NaN,\n"
    + "g,G,,,1_000,\n"
    + "a,Thrice,,,,\n"
    + "h,H,,,+2.5e3,\n"
)


def test_the_report_says_what_was_kept_repaired_and_rejected(
    describe: Describe, tmp_path: Path
) -> None:
    report = clean_catalog(describe(MESSY, more=LIMITS), tmp_path / "rejected.jsonl").report
    golden = (Path(__file__).parent / "report.txt").read_text("utf-8")
    assert str(report) + "\n" == golden + f"  the rejected rows: {tmp_path / 'rejected.jsonl'}\n"
    assert json.loads(report.to_json())["rejected"]["duplicate id"] == 2


def test_rejected_rows_go_to_a_file_with_reason_place_and_values(
    describe: Describe, tmp_path: Path
) -> None:
    clean_catalog(describe(MESSY, more=LIMITS), tmp_path / "some" / "rejected.jsonl")
    lines = (tmp_path / "some" / "rejected.jsonl").read_text("utf-8").splitlines()
    records = [json.loads(line) for line in lines]
    assert sorted(record["row"] for record in records) == [4, 5, 6, 7, 8, 9, 11, 14]
    twice = next(record for record in records if record["row"] == 4)
    assert twice["reason"] == "duplicate id"
    assert twice["file"] == str(tmp_path / "items.csv")
    assert twice["values"]["title"] == "Twice"


def test_rejected_rows_of_an_earlier_run_are_gone(describe: Describe, tmp_path: Path) -> None:
    stale = tmp_path / "rejected.jsonl"
    stale.write_text("{}\n")
    report = clean_catalog(describe(HEADER + "a,A,,,,\n"), stale).report
    assert not stale.exists()
    assert report.rejected_to is None


def test_the_first_usable_row_of_an_id_is_kept(describe: Describe) -> None:
    items = clean_catalog(describe(MESSY, more=LIMITS)).items
    titles = dict(zip(items["item_id"].to_pylist(), items["title"].to_pylist(), strict=True))
    assert titles == {
        "a": "Amélie",
        "b": "Second",
        "d": "Now with a title",
        "f": "F",
        "g": "G",
        "h": "H",
    }


def test_fields_are_repaired_cut_or_left_out(describe: Describe) -> None:
    items = clean_catalog(describe(MESSY, more=LIMITS)).items.to_pylist()
    assert items[0]["field.plot"] == "Short & sweet"
    assert items[0]["field.genres"] == ["Comedy"]
    assert items[1]["field.plot"] == "A plot that is much"
    assert items[1]["field.genres"] == ["A", "B", "C"]
    assert [item["field.year"] for item in items] == [1994.0, None, None, None, None, 2500.0]
    assert [item["field.poster"] for item in items[:2]] == ["http://x/a.jpg", None]


def test_a_scale_describes_the_numbers_in_their_own_units(describe: Describe) -> None:
    scales = clean_catalog(
        describe(HEADER + "".join(f"{n},t,,,{n},\n" for n in (1990, 2000, 2010)))
    ).scales
    assert scales == {
        "year": NumberScale(1990.0, 2010.0, 2000.0, float(np.std([1990, 2000, 2010])))
    }


def test_numbers_that_are_all_equal_normalise_to_zero(describe: Describe) -> None:
    scales = clean_catalog(describe(HEADER + "a,A,,,5,\nb,B,,,5,\n")).scales
    assert scales["year"] == NumberScale(5.0, 5.0, 5.0, 1.0)


def test_a_number_field_without_numbers_has_no_scale(describe: Describe) -> None:
    assert clean_catalog(describe(HEADER + "a,A,,,,\n")).scales == {}


def test_one_column_may_be_text_and_tags(describe: Describe) -> None:
    columns = "columns: {id: id, title: title, text: {path: genres}, tags: [genres]}"
    (item,) = clean_catalog(describe(HEADER + "a,A,,x|y,,\n", columns=columns)).items.to_pylist()
    assert (item["field.path"], item["field.genres"]) == ("x|y", ["x", "y"])


def test_a_list_of_images_gives_the_first(describe: Describe) -> None:
    row = '{"id": "a", "title": "A", "images": ["http://x/1", "http://x/2"]}\n'
    described = describe(
        row, "items.jsonl", columns="columns: {id: id, title: title, images: images}"
    )
    assert clean_catalog(described).items["field.images"].to_pylist() == ["http://x/1"]


# ── cleaning clean data changes nothing ──────────────────────────────────────────────────────────

COLUMNS = ItemColumns(
    id="i",
    title="t",
    text={"plot": "p"},
    tags={"genres": "g"},
    numbers={"year": "y"},
    images={"poster": "q"},
)
NASTY = st.text(max_size=30) | st.sampled_from(
    ["<b>x</b>", "Ã©", "&amp;lt;", " a  b ", "\x00", "9" * 30, "nan", "1e5", "-.5", "+7", "x" * 90]
)
RAW = pa.schema(
    [
        pa.field("item_id", pa.string()),
        pa.field("title", pa.string()),
        pa.field("field.plot", pa.string()),
        pa.field("field.genres", pa.list_(pa.string())),
        pa.field("field.year", pa.string()),
        pa.field("field.poster", pa.string()),
    ]
)
ROWS = st.lists(
    st.tuples(
        st.none() | NASTY,
        st.none() | NASTY,
        st.none() | NASTY,
        st.none() | st.lists(st.none() | NASTY, max_size=6),
        st.none() | NASTY,
        st.none() | NASTY,
    ),
    min_size=1,
    max_size=12,
)
SMALL = CatalogLimits(id_chars=20, title_chars=25, text_chars=25, tag_chars=10, tags=3)


def cleaned(table: pa.Table) -> tuple[pa.Table, Tally]:
    tally = Tally("catalogue")
    batches = [
        RawBatch(Path("x"), np.arange(batch.num_rows, dtype=np.int64), batch)
        for batch in table.to_batches()
    ]
    return clean_items(batches, COLUMNS, SMALL, tally), tally


@given(ROWS)
def test_cleaning_a_clean_catalogue_changes_nothing(rows: list[tuple[object, ...]]) -> None:
    columns = [pa.array(c, f.type) for c, f in zip(zip(*rows, strict=True), RAW, strict=True)]
    once, _ = cleaned(pa.table(columns, schema=RAW))
    assert once.schema == items_schema(COLUMNS.kinds)
    if once.num_rows == 0:
        return
    numbers = once.set_column(4, "field.year", once["field.year"].cast(pa.string()))
    twice, tally = cleaned(numbers)
    assert twice.equals(once)
    assert tally.report().lines() == [f"catalogue: {once.num_rows} of {once.num_rows} rows kept"]
