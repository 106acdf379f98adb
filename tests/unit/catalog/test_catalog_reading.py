import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet
import pytest

from llmrec_ray.catalog.clean import Cleaned, clean_catalog
from llmrec_ray.catalog.description import CatalogDescription
from llmrec_ray.catalog.read import read_rows
from llmrec_ray.catalog.report import Tally
from llmrec_ray.catalog.shape import Wanted
from llmrec_ray.errors import InvalidCatalog

HEADER = "id,title,plot,genres,year,poster\n"
Describe = Callable[..., CatalogDescription]

ROWS: list[dict[str, Any]] = [
    {
        "id": "a",
        "title": "Heat",
        "plot": "Cops, and robbers.",
        "genres": ["Crime", "Drama"],
        "year": 1995,
        "poster": "http://x/1.jpg",
    },
    {
        "id": "b",
        "title": "千と千尋の神隠し",
        "plot": None,
        "genres": None,
        "year": 2001.5,
        "poster": None,
    },
]


def good_files() -> dict[str, bytes]:
    table = pa.table(
        {
            name: pa.array([row[name] for row in ROWS], kind)
            for name, kind in {
                "id": pa.string(),
                "title": pa.large_string(),
                "plot": pa.string(),
                "genres": pa.list_(pa.string()),
                "year": pa.float64(),
                "poster": pa.string(),
            }.items()
        }
    )
    parquet, stream, file = (pa.BufferOutputStream() for _ in range(3))
    pyarrow.parquet.write_table(table, parquet)
    with pa.ipc.new_file(file, table.schema) as writer:
        writer.write_table(table)
    with pa.ipc.new_stream(stream, table.schema) as writer:
        writer.write_table(table)
    csv = (
        HEADER
        + 'a,Heat,"Cops, and robbers.",Crime|Drama,1995,http://x/1.jpg\n'
        + "b,千と千尋の神隠し,,,2001.5,\n"
    )
    return {
        "items.csv": csv.encode(),
        "items.csv.gz": gzip.compress(csv.encode()),
        "items.tsv": csv.replace('"Cops, and robbers."', "Cops; and robbers.")
        .replace(",", "\t")
        .replace(";", ",")
        .encode(),
        "items.jsonl": "".join(json.dumps(row) + "\n" for row in ROWS).encode(),
        "items.parquet": parquet.getvalue().to_pybytes(),
        "items.feather": file.getvalue().to_pybytes(),
        "items.arrow": stream.getvalue().to_pybytes(),
    }


@pytest.mark.parametrize("name", good_files())
def test_every_format_gives_the_same_table(describe: Describe, name: str) -> None:
    items = clean_catalog(describe(good_files()[name], name)).items
    assert items.to_pylist() == [
        {
            "item_id": "a",
            "title": "Heat",
            "field.plot": "Cops, and robbers.",
            "field.genres": ["Crime", "Drama"],
            "field.year": 1995.0,
            "field.poster": "http://x/1.jpg",
        },
        {
            "item_id": "b",
            "title": "千と千尋の神隠し",
            "field.plot": None,
            "field.genres": None,
            "field.year": 2001.5,
            "field.poster": None,
        },
    ]


def test_ids_that_are_numbers_read_alike_in_every_format(describe: Describe) -> None:
    ids: list[list[str | None]] = []
    columns = "columns: {id: id, title: title}"
    for kind in (pa.int64(), pa.float64(), pa.string()):
        values = ["7", "8"] if kind == pa.string() else [7, 8]
        sink = pa.BufferOutputStream()
        pyarrow.parquet.write_table(
            pa.table({"id": pa.array(values, kind), "title": ["a", "b"]}), sink
        )
        described = describe(sink.getvalue().to_pybytes(), "n.parquet", columns=columns)
        ids.append(clean_catalog(described).items["item_id"].to_pylist())
    for number in ("7", "7.0", '"7"'):
        described = describe(
            f'{{"id": {number}, "title": "a"}}\n{{"id": "8", "title": "b"}}\n',
            "n.jsonl",
            columns=columns,
        )
        ids.append(clean_catalog(described).items["item_id"].to_pylist())
    assert ids == [["7", "8"]] * 6


def test_rows_stream_in_batches_with_their_places(describe: Describe) -> None:
    described = describe(HEADER + "".join(f"{n},t,,,,\n" for n in range(10)))
    batches = list(read_rows(described, [Wanted("x", "id")], Tally("rows"), batch_rows=4))
    assert [batch.rows.tolist() for batch in batches] == [[2, 3, 4, 5], [6, 7, 8, 9], [10, 11]]
    assert batches[1].table.to_pydict() == {"x": ["4", "5", "6", "7"]}


def test_a_row_over_several_lines_is_placed_where_it_begins(
    describe: Describe, tmp_path: Path
) -> None:
    described = describe(HEADER + 'a,A,"one\ntwo\nthree",,,\n,no id,,,,\n')
    clean_catalog(described, tmp_path / "rejected.jsonl")
    assert rejected(tmp_path)[0]["row"] == 5


def test_several_files_are_one_catalogue(describe: Describe, tmp_path: Path) -> None:
    (tmp_path / "first.csv").write_text(HEADER + "a,A,,,,\n")
    described = describe(HEADER + "b,B,,,,\n", "second.csv", more="")
    both = described.model_copy(update={"files": [tmp_path / "first.csv", *described.files]})
    assert clean_catalog(both).items["item_id"].to_pylist() == ["a", "b"]


def test_a_headerless_file_gets_its_column_names_from_the_description(describe: Describe) -> None:
    described = describe(
        "a::Heat\nb::Up\n".replace("::", ";"),
        columns="columns: {id: n, title: t}",
        more="csv: {delimiter: ';', header: [n, t]}",
    )
    assert clean_catalog(described).items["title"].to_pylist() == ["Heat", "Up"]


def test_a_named_encoding_is_read(describe: Describe) -> None:
    data = (HEADER + "a,千と千尋,,,,\n").encode("gb18030")
    assert clean_catalog(describe(data, more="encoding: gb18030")).items["title"][0].as_py() == (
        "千と千尋"
    )


def test_single_bytes_of_windows_1252_are_repaired(describe: Describe) -> None:
    data = HEADER.encode() + "a,Amélie,naïve café,,,\n".encode("cp1252") + "b,Ł,,,,\n".encode()
    cleaned = clean_catalog(describe(data))
    assert cleaned.items["title"].to_pylist() == ["Amélie", "Ł"]
    assert cleaned.report.repaired == {"line: Windows-1252 bytes repaired": 1}


def test_a_byte_order_mark_is_no_part_of_a_name(describe: Describe) -> None:
    data = b"\xef\xbb\xbf" + (HEADER + "a,A,,,,\n").encode()
    assert clean_catalog(describe(data)).items.num_rows == 1


# ── bad rows: rejected, counted, kept aside ──────────────────────────────────────────────────────


def rejected(folder: Path) -> list[dict[str, Any]]:
    lines = (folder / "rejected.jsonl").read_text("utf-8").splitlines()
    return [json.loads(line) for line in lines]


@pytest.mark.parametrize(
    ("name", "row", "reason"),
    [
        ("items.csv", "x,too,few\n", "wrong number of cells"),
        ("items.csv", "x,one,too,many,cells,in,it\n", "wrong number of cells"),
        ("items.csv", 'x,"stray "quote,,,,\n', "malformed quotes"),
        (
            "items.csv",
            f"x,{'y' * 140_000},,,,\n",
            "cell over 131,072 characters (a quote that is not closed?)",
        ),
        ("items.jsonl", '{"id": "x", "title": \n', "no JSON object"),
        ("items.jsonl", '["x", "title"]\n', "no JSON object"),
        ("items.jsonl", '{"id": {"x": 1}, "title": "t"}\n', "nested value in a column"),
    ],
)
def test_a_malformed_row_is_set_aside_and_the_rest_is_kept(
    describe: Describe, tmp_path: Path, name: str, row: str, reason: str
) -> None:
    first, second = (
        (HEADER + "a,A,,,,\n", "b,B,,,,\n")
        if name.endswith("csv")
        else tuple(
            json.dumps(dict.fromkeys(HEADER.strip().split(","), i)) + "\n" for i in ("a", "b")
        )
    )
    cleaned = clean_catalog(describe(first + row + second, name), tmp_path / "rejected.jsonl")
    place = (first + row).count("\n")
    assert cleaned.items["item_id"].to_pylist() == ["a", "b"]
    assert cleaned.report.rejected == {reason: 1}
    assert cleaned.report.rejected_to == str(tmp_path / "rejected.jsonl")
    (record,) = rejected(tmp_path)
    assert (record["file"], record["row"], record["reason"]) == (
        str(tmp_path / name),
        place,
        reason,
    )
    assert "x" in str(record["values"])


# ── bad files: an error with file, row and remedy ────────────────────────────────────────────────


def broken(describe: Describe, data: str | bytes, name: str, **more: str) -> InvalidCatalog:
    described = describe(data, name, **more)
    with pytest.raises(InvalidCatalog) as caught:
        clean_catalog(described)
    assert caught.value.details["file"] == str(described.paths[0])
    return caught.value


def cut(name: str, keep: float) -> bytes:
    data = good_files()[name]
    return data[: int(len(data) * keep)]


@pytest.mark.parametrize(
    ("name", "data", "row", "says"),
    [
        ("items.csv", b"", None, "the file is empty"),
        ("items.jsonl", b"", None, "the file is empty"),
        ("items.parquet", b"", None, "the file is empty"),
        ("items.csv", HEADER, None, "a header and no rows"),
        ("items.jsonl", "\n\n", None, "has no rows"),
        ("items.csv", "id,name,plot,genres,year,poster\na,b,,,,\n", 1, "no column 'title'"),
        ("items.csv", "id,id,title,plot,genres,year,poster\n", 1, "two columns 'id'"),
        ("items.jsonl", '{"id": "a", "tilte": "b"}\n', 1, "Did you mean 'tilte'?"),
        ("items.jsonl", '[{"id": "a"},\n {"id": "b"}]\n', 1, "one JSON list"),
        ("items.csv", HEADER.encode() + "a,千と千尋,,,,\n".encode("gb18030"), 2, "not UTF-8"),
        ("items.csv", HEADER.encode() + b"a,\x81,,,,\n", 2, "not UTF-8"),
        ("items.csv", HEADER.encode("utf-16"), 1, "encoding: utf-16"),
        ("items.csv", b"PK\x03\x04rest", None, "zip archive"),
        ("items.csv", b"PAR1rest", None, "format: parquet"),
        ("items.csv", gzip.compress(HEADER.encode()), None, "end in .gz"),
        ("items.csv", b"a,\0,b", None, "no text"),
        ("items.parquet", b"id,title\na,b\n", None, "not a Parquet file"),
        ("items.arrow", b"id,title\na,b\n", None, "not an Arrow IPC"),
        ("items.feather", b"FEA1" + bytes(20), None, "version 1"),
        # cut short
        ("items.csv", HEADER + "a,A,,,,\nb,B", 3, "cut short"),
        ("items.csv", HEADER + 'a,A,,,,\nb,"B is lo', 3, "never closed"),
        ("items.jsonl", '{"id": "a"}\n{"id": "b", "ti', 2, "cut short"),
        ("items.csv.gz", good_files()["items.csv.gz"][:-4], 4, "cut short"),
        ("items.parquet", cut("items.parquet", 0.9), None, "cut short"),
        ("items.feather", cut("items.feather", 0.9), None, "cut short"),
        ("items.arrow", cut("items.arrow", 0.7), None, "cut short"),
    ],
)
def test_a_bad_file_fails_with_file_row_and_remedy(
    describe: Describe, name: str, data: str | bytes, row: int | None, says: str
) -> None:
    error = broken(describe, data, name)
    assert says in str(error)
    assert error.details.get("row") == row
    assert str(error).count(". ") >= 1  # the problem, then the remedy


def test_a_file_that_is_not_there_fails(describe: Describe, tmp_path: Path) -> None:
    described = describe(HEADER)
    (tmp_path / "items.csv").unlink()
    with pytest.raises(
        InvalidCatalog, match=r"items\.csv: there is no such file\. Correct `files`"
    ):
        clean_catalog(described)


def test_text_in_another_encoding_than_named_fails(describe: Describe) -> None:
    error = broken(describe, HEADER + "a,é,,,,\n", "items.csv", more="encoding: ascii")
    assert "not ascii text" in str(error)


def test_a_missing_parquet_column_is_named_with_what_there_is(describe: Describe) -> None:
    error = broken(
        describe,
        good_files()["items.parquet"],
        "items.parquet",
        columns="columns: {id: id, title: name}",
    )
    assert "no column 'name'. There are: id, title, plot" in str(error)


def test_a_nested_parquet_column_is_refused(describe: Describe) -> None:
    sink = pa.BufferOutputStream()
    table = pa.table({"id": ["a"], "title": [{"de": "Hitze", "en": "Heat"}]})
    pyarrow.parquet.write_table(table, sink)
    error = broken(
        describe,
        sink.getvalue().to_pybytes(),
        "items.parquet",
        columns="columns: {id: id, title: title}",
    )
    assert "column 'title' holds struct" in str(error)


def test_a_file_of_which_every_row_is_rejected_fails(describe: Describe, tmp_path: Path) -> None:
    described = describe(HEADER + "a;A;;;;\nb;B;;;;\n")
    with pytest.raises(InvalidCatalog, match="every one of 2 rows was rejected") as caught:
        clean_catalog(described, tmp_path / "rejected.jsonl")
    assert "2 for: wrong number of cells" in str(caught.value)
    assert str(tmp_path / "rejected.jsonl") in str(caught.value)


def test_a_cleaned_catalogue_says_what_it_holds(describe: Describe) -> None:
    cleaned: Cleaned = clean_catalog(describe(good_files()["items.csv"]))
    assert cleaned.fields == {
        "plot": "text",
        "genres": "tags",
        "year": "number",
        "poster": "image",
    }
