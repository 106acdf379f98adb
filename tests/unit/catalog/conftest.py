"""Small catalogues on disk."""

from collections.abc import Callable
from pathlib import Path

import pytest

from llmrec_ray.catalog.description import CatalogDescription, load_description

COLUMNS = """
columns:
  id: id
  title: title
  text: [plot]
  tags: [genres]
  numbers: [year]
  images: [poster]
"""

Describe = Callable[..., CatalogDescription]


@pytest.fixture
def describe(tmp_path: Path) -> Describe:
    """Write a data file and a description of it; `more` is further YAML."""

    def write(
        data: str | bytes,
        name: str = "items.csv",
        *,
        columns: str = COLUMNS,
        more: str = "",
    ) -> CatalogDescription:
        raw = data.encode() if isinstance(data, str) else data
        (tmp_path / name).write_bytes(raw)
        description = tmp_path / "catalog.yaml"
        description.write_text(f"files: {name}\n{columns}\n{more}\n", "utf-8")
        return load_description(description)

    return write
