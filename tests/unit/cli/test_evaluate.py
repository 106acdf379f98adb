"""`llmrec evaluate`: a table and a JSON report for every protocol, or a clear error."""

import json
from pathlib import Path

import pytest

from llmrec_ray.cli import main
from tests.support.evaluating import write_catalog


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small catalogue, and settings that need no model."""
    write_catalog(tmp_path)
    (tmp_path / "settings.yaml").write_text("embedding: {model: hashing}\n")
    monkeypatch.setenv("LLMREC_SETTINGS", str(tmp_path / "settings.yaml"))
    return tmp_path


def evaluate(folder: Path, protocol: str, *options: str) -> str | int | None:
    with pytest.raises(SystemExit) as exited:
        main(
            [
                "evaluate",
                *("--catalog", str(folder / "catalog.yaml")),
                *("--protocol", protocol),
                *("--out", str(folder / "out.json")),
                *options,
            ]
        )
    return exited.value.code


@pytest.mark.parametrize(
    ("protocol", "trials"),
    [
        ("warm", ["warm"]),
        ("loo", ["loo"]),
        ("cold-items", ["only-cold", "all-items"]),
        ("cold-users", ["k0", "k1", "k3", "k5"]),
        ("replay", ["before", "after"]),
    ],
)
def test_every_protocol_prints_a_table_and_writes_a_report(
    folder: Path, capsys: pytest.CaptureFixture[str], protocol: str, trials: list[str]
) -> None:
    assert evaluate(folder, protocol) == 0
    written = json.loads((folder / "out.json").read_text())
    assert list(written["trials"]) == trials
    assert written["split"]["seed"] == written["bootstrap"]["seed"] == 13
    assert written["systems"]["llmrec"]["learning"]["neighbours"] == 50
    for trial in written["trials"].values():
        for system in trial["systems"].values():
            for measure in ("ndcg", "recall", "hit_rate", "mrr"):
                for cut in (10, 20):
                    found = system["accuracy"][f"{measure}@{cut}"]
                    assert 0 <= found["low"] <= found["mean"] <= found["high"] <= 1
            assert 0 < system["lists"]["coverage@10"] <= 1
            assert sum(group["asks"] for group in system["ndcg@10_by_history"]) == trial["asks"]
        assert set(trial["ours_against"]) == set(trial["systems"]) - {"llmrec"}
        assert trial["best_peer"] in trial["ours_against"]
    assert "llmrec" in capsys.readouterr().out


def test_another_event_file_takes_the_place_of_the_described_one(folder: Path) -> None:
    lines = (folder / "events.csv").read_text().splitlines()
    (folder / "fewer.csv").write_text("\n".join(lines[: len(lines) // 2]) + "\n")
    assert evaluate(folder, "loo", "--events", str(folder / "fewer.csv")) == 0
    written = json.loads((folder / "out.json").read_text())
    assert 8 <= written["trials"]["loo"]["users"] <= 12


def test_the_same_seed_gives_the_same_numbers(folder: Path) -> None:
    trials = []
    for _ in range(2):
        assert evaluate(folder, "cold-items", "--seed", "7") == 0
        trials.append(json.loads((folder / "out.json").read_text())["trials"])
    assert trials[0] == trials[1]


def test_too_few_users_is_an_error_with_the_remedy(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert evaluate(folder, "loo", "--relevant-from", "9") == 1
    assert "0 users have something to ask for" in capsys.readouterr().err


def test_a_missing_event_file_is_named(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert evaluate(folder, "loo", "--events", str(folder / "none.csv")) == 1
    assert "none.csv" in capsys.readouterr().err


def test_a_missing_folder_for_the_report_is_said_before_the_work(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert evaluate(folder, "loo", "--out", str(folder / "nowhere" / "out.json")) == 1
    assert "nowhere is missing" in capsys.readouterr().err


def test_events_for_a_description_that_has_none_ask_for_their_columns(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = folder / "catalog.yaml"
    path.write_text(path.read_text().split("events:")[0])
    assert evaluate(folder, "loo", "--events", str(folder / "events.csv")) == 1
    assert "does not say what the columns" in capsys.readouterr().err


def test_an_event_file_of_an_unknown_format_is_named(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert evaluate(folder, "loo", "--events", str(folder / "events.xls")) == 1
    assert "events.xls names no format" in capsys.readouterr().err


def test_an_environment_for_sasrec_that_is_missing_is_said_before_the_work(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert evaluate(folder, "loo", "--sasrec-python", str(folder / "none")) == 1
    assert "none: no such file. Install it by sh benchmarks/sasrec.sh" in capsys.readouterr().err
    assert not (folder / "out.json").exists()


def test_without_its_environment_sasrec_is_said_to_be_left_out(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert evaluate(folder, "loo") == 0
    assert "left out: sasrec, in an environment of its own" in capsys.readouterr().out
    assert "sasrec" in json.loads((folder / "out.json").read_text())["left_out"]
