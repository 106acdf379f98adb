"""`llmrec users` and `llmrec events`: receipts, exports, and what is said when there is nothing."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from llmrec_ray.cli import main
from llmrec_ray.feedback.events import open_event_store
from llmrec_ray.types import Event

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs the command line on stores in a folder, in which one user has two events."""
    url = f"sqlite:///{tmp_path}/events.db"
    file = tmp_path / "settings.yaml"
    file.write_text(
        f"object_store: {{url: 'file://{tmp_path}/objects'}}\nevent_store: {{url: '{url}'}}\n"
    )
    monkeypatch.setenv("LLMREC_SETTINGS", str(file))
    monkeypatch.setenv("COLUMNS", "200")
    with open_event_store(url, timeout_s=5, ttl_s=60) as store:
        noon = datetime(2026, 3, 1, 12, tzinfo=UTC)
        store.append([Event(f"e{n}", "ada", "i1", "like", noon) for n in range(2)])

    def run(*arguments: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as exited:
            main(arguments)
        printed = capsys.readouterr()
        code = exited.value.code
        return code if isinstance(code, int) else 0, printed.out, printed.err

    return run


def test_an_export_lists_its_objects_and_a_name_is_taken_once(run: Run) -> None:
    code, out, _ = run("events", "export", "--name", "march", "--output", "json")
    assert code == 0
    assert [row["object"].rpartition("-")[0] for row in json.loads(out)] == ["exports/march/00000"]
    code, _, err = run("events", "export", "--name", "march")
    assert (code, "choose another name" in err) == (1, True)
    code, _, err = run("events", "export", "--name", "../x")
    assert (code, "cannot name an export" in err) == (1, True)


def test_forgetting_prints_a_receipt_without_the_id(run: Run) -> None:
    run("events", "export")
    code, out, _ = run("events", "forget", "e1", "--output", "json")
    assert (code, json.loads(out)[0]["events"], json.loads(out)[0]["exports"]) == (0, 1, 1)
    code, out, _ = run("users", "forget", "ada", "--output", "json")
    assert (code, json.loads(out)[0]["events"], "ada" in out) == (0, 1, False)


def test_an_event_that_is_not_there_is_an_error(run: Run) -> None:
    code, _, err = run("events", "forget", "nope")
    assert (code, "no event 'nope' is stored" in err) == (1, True)


def test_nothing_to_export_is_said(run: Run) -> None:
    run("users", "forget", "ada")
    assert run("events", "export")[1] == "No event is stored: nothing was written.\n"
