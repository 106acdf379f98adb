"""`python -m benchmarks.quality`: files in the named folder become ratios beside their peers."""

import json
import random
from pathlib import Path

import pytest

from benchmarks.quality import LOWS, RATIOS, main


def write_films(folder: Path) -> None:
    folder.mkdir()
    header = "item_id,title,year,genres,overview,director,cast,keywords,country"
    films = [f"{n},Film {n},1990,War|Love,A plot.,Ann,Bob,kiss,France" for n in range(30)]
    (folder / "items.csv").write_text("\n".join([header, *films]) + "\n")
    rng = random.Random(1)
    ratings = [
        f"{user},{item},{rng.choice(['0.5', '4.0', '5.0'])},{1000 * user + place}"
        for user in range(20)
        for place, item in enumerate(rng.sample(range(30), 20))
    ]
    (folder / "ratings.csv").write_text("\n".join(["userId,movieId,rating,timestamp", *ratings]))


def write_products(folder: Path) -> None:
    folder.mkdir()
    products = [f"{n},Soap {n},Beauty > Soap" for n in range(20)]
    (folder / "items.csv").write_text("\n".join(["item_id,title,categories", *products]) + "\n")
    rng = random.Random(2)
    events = [
        f"{user},{item},{place}"
        for user in range(20)
        for place, item in enumerate(rng.sample(range(20), 5))
    ]
    (folder / "interactions.csv").write_text("\n".join(["user_id,item_id,position", *events]))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    write_films(tmp_path / "movielens-small")
    write_products(tmp_path / "beauty")
    monkeypatch.setenv("LLMREC_EMBEDDING__MODEL", "hashing")
    return tmp_path


def test_one_run_writes_every_ratio_and_its_peers(folder: Path) -> None:
    out = folder / "results"
    assert main(["--data", str(folder), "--out", str(out)]) == 0
    written = json.loads((out / "quality.json").read_text())
    assert set(written["ratios"]) == {*RATIOS, *LOWS}
    warm = written["runs"]["movielens-small warm"]["trials"]["warm"]
    assert (
        written["ratios"]["movies_ndcg10"]
        == warm["systems"]["llmrec"]["accuracy"]["ndcg@10"]["mean"]
    )
    test = warm["ours_against"][warm["best_peer"]]["ndcg@10"]
    assert written["ratios"]["movies_vs_best_peer_low"] == test["relative_low"]
    assert {"popularity", "item-knn", "ease"} <= set(warm["systems"])


def test_missing_data_is_named(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "beauty" / "items.csv").unlink()
    assert main(["--data", str(folder), "--only", "beauty loo"]) == 1
    assert "beauty/items.csv" in capsys.readouterr().err


def test_an_environment_for_sasrec_that_is_missing_is_named(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--data", str(folder), "--sasrec-python", str(folder / "none")]) == 1
    assert "none: no such file. Install it by sh benchmarks/sasrec.sh" in capsys.readouterr().err
