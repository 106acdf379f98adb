"""Tables as objects: equal tables are one object, and a changed byte is noticed."""

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmrec_ray.errors import Corrupt
from llmrec_ray.storage.columns import coded, numbers, texts, vectors
from llmrec_ray.storage.local import FolderStore
from llmrec_ray.storage.tables import content_hash, decode, encode, get_table, put_table


@pytest.fixture
def store(tmp_path: Path) -> FolderStore:
    return FolderStore(tmp_path, durable=False)


def table(rows: int = 5) -> pa.Table:
    return pa.table({"name": [f"n{row % 3}" for row in range(rows)], "value": [0.5] * rows})


def vector_table(rows: int, dim: int = 3) -> pa.Table:
    flat = pa.array(np.arange(rows * dim, dtype=np.float32))
    return pa.table({"vector": pa.FixedSizeListArray.from_arrays(flat, dim)})


def test_a_table_comes_back_as_it_was(store: FolderStore) -> None:
    for each in (table(), table(0), vector_table(4), vector_table(0)):
        assert get_table(store, put_table(store, "objects", each)).equals(each)


def test_the_key_of_an_object_holds_its_hash(store: FolderStore) -> None:
    stored = put_table(store, "objects", table())
    assert stored.key == f"objects/{stored.hash[:2]}/{stored.hash}.arrow"
    assert stored.hash == content_hash(store.get(stored.key))
    assert stored.bytes == len(store.get(stored.key))
    assert len(stored.hash) == 64


def test_equal_tables_are_one_object(store: FolderStore) -> None:
    assert put_table(store, "objects", table()) == put_table(store, "objects", table())
    assert len(store.list("objects/")) == 1


@given(st.lists(st.integers(0, 12), max_size=5), st.integers(0, 5))
def test_chunks_and_slices_make_no_difference_to_the_bytes(cuts: list[int], skipped: int) -> None:
    whole = pa.table(
        {
            "name": [None if row % 4 == 1 else f"n{row}" for row in range(skipped, 12)],
            "tags": [None if row % 4 == 2 else [f"t{row}"] for row in range(skipped, 12)],
            "value": [None if row % 4 == 3 else float(row) for row in range(skipped, 12)],
        }
    )
    bounds = sorted({0, 12, *cuts})
    longer = pa.table(
        {
            "name": [None if row % 4 == 1 else f"n{row}" for row in range(12)],
            "tags": [None if row % 4 == 2 else [f"t{row}"] for row in range(12)],
            "value": [None if row % 4 == 3 else float(row) for row in range(12)],
        }
    )
    pieces = [longer.slice(start, end - start) for start, end in pairwise(bounds)]
    assert encode(pa.concat_tables(pieces).slice(skipped)) == encode(whole)


def test_what_lies_under_a_missing_value_makes_no_difference_to_taken_rows() -> None:
    valid, values = pa.py_buffer(b"\x05"), pa.py_buffer(np.array([1.0, 666.0, 3.0]).tobytes())
    hidden = pa.Array.from_buffers(pa.float64(), 3, [valid, values])
    plain = pa.array([1.0, None, 3.0])
    rows = np.array([2, 1, 0])
    one, other = (pa.table({"value": each}).take(rows) for each in (hidden, plain))
    assert encode(one) == encode(other)


def test_vectors_are_stored_plain_and_the_rest_compressed() -> None:
    assert len(encode(vector_table(10_000))) > 10_000 * 3 * 4
    assert len(encode(table(10_000))) < 10_000 * (2 + 4 + 8) / 2


@pytest.mark.parametrize("cut", [0, 1, 100])
def test_a_table_cut_short_is_not_read(store: FolderStore, tmp_path: Path, cut: int) -> None:
    stored = put_table(store, "objects", table())
    path = tmp_path / stored.key
    path.write_bytes(path.read_bytes()[: -cut or None] if cut else b"")
    with pytest.raises(Corrupt, match=stored.hash):
        get_table(store, stored)


@given(st.data())
def test_any_flipped_bit_is_noticed(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("flipped")
    store = FolderStore(folder, durable=False)
    stored = put_table(store, "objects", table())
    bit = data.draw(st.integers(0, stored.bytes * 8 - 1))
    content = bytearray((folder / stored.key).read_bytes())
    content[bit // 8] ^= 1 << bit % 8
    (folder / stored.key).write_bytes(content)
    with pytest.raises(Corrupt):
        get_table(store, stored)


def test_a_missing_object_is_corruption_with_a_remedy(store: FolderStore) -> None:
    stored = replace(put_table(store, "objects", table()), key="objects/00/00.arrow")
    with pytest.raises(Corrupt, match=r"objects/00/00\.arrow is missing.*llmrec generations"):
        get_table(store, stored)


def test_columns_become_typed_values() -> None:
    made = pa.concat_tables([table(2), table(4)])
    assert texts(made, "name") == ["n0", "n1", "n0", "n1", "n2", "n0"]
    assert numbers(made, "value").tolist() == [0.5] * 6
    names, codes = coded(made, "name")
    assert [names[code] for code in codes] == texts(made, "name")
    assert sorted(names) == ["n0", "n1", "n2"]


def test_vectors_of_a_slice_are_those_of_its_rows() -> None:
    made = pa.concat_tables([vector_table(4), vector_table(2)])
    assert vectors(made.slice(3, 2)).tolist() == [[9, 10, 11], [0, 1, 2]]
    assert vectors(made.slice(6)).shape == (0, 3)


def test_decoding_is_the_inverse_of_encoding() -> None:
    assert decode(encode(vector_table(7))).equals(vector_table(7))
