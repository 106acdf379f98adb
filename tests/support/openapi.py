"""`python -m tests.support.openapi` writes docs/openapi.json."""

import json
import tempfile
from pathlib import Path

from tests.support.service import build_house

SNAPSHOT = Path(__file__).parents[2] / "docs" / "openapi.json"


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        house = build_house(Path(folder))
        SNAPSHOT.write_text(json.dumps(house.app.openapi(), indent=2, ensure_ascii=False) + "\n")
        house.close()


if __name__ == "__main__":
    main()
