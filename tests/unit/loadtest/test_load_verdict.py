"""What a run counted, and what of it is over a threshold."""

import json
from pathlib import Path

import pytest

from loadtest.check import crossed, main, thresholds_of
from loadtest.ledger import MOST_REASONS, Ledger
from loadtest.shapes import NAMES


def ledger(*, ms: float = 10, calls: int = 100, failed: int = 0, degraded: int = 0) -> Ledger:
    made = Ledger()
    for number in range(calls):
        made.answered("recommend", ms, degraded=number < degraded)
    for _ in range(failed):
        made.failed("recommend", "status 500")
    return made


def test_percentiles_are_within_the_width_of_a_bucket() -> None:
    book = Ledger()
    for ms in range(1, 1001):
        book.answered("search", float(ms))
    kind = book.kinds["search"]
    for share in (0.5, 0.95, 0.99):
        assert kind.percentile_ms(share) == pytest.approx(share * 1000, rel=0.02)


def test_a_latency_of_nothing_is_counted() -> None:
    assert ledger(ms=0).kinds["recommend"].percentile_ms(0.5) is not None


def test_ledgers_of_several_processes_add_up() -> None:
    whole = ledger(ms=10)
    whole.add(Ledger.of_json(json.loads(json.dumps(ledger(ms=90, failed=2).to_json()))))
    kind = whole.kinds["recommend"]
    assert (kind.calls, kind.failed) == (202, 2)
    assert kind.percentile_ms(0.25) == pytest.approx(10, rel=0.02)
    assert kind.percentile_ms(0.75) == pytest.approx(90, rel=0.02)
    assert whole.reasons == {"recommend: status 500": 2}


def test_reasons_without_end_are_counted_together() -> None:
    book = Ledger()
    for number in range(1000):
        book.failed("search", f"reason {number}")
    assert len(book.reasons) == MOST_REASONS + 1
    assert book.reasons.total() == 1000


def test_a_run_within_its_thresholds_crosses_none() -> None:
    assert crossed(ledger(), {"failed_share": 0, "kinds": {"recommend": {"p95_ms": 11}}}) == []


def test_one_failure_crosses_a_share_of_nothing() -> None:
    [found] = crossed(ledger(failed=1), {"failed_share": 0})
    assert found.startswith("recommend: failed_share")


def test_a_slow_kind_is_named_with_its_percentile() -> None:
    limits = {"kinds": {"recommend": {"p95_ms": 5, "p99_ms": 50}}}
    assert crossed(ledger(), limits) == ["recommend: p95_ms 10 is over 5"]


def test_degraded_answers_are_counted_against_their_share() -> None:
    assert crossed(ledger(degraded=2), {"degraded_share": 0.02}) == []
    assert len(crossed(ledger(degraded=3), {"degraded_share": 0.02})) == 1


def test_refused_calls_are_no_failures() -> None:
    book = ledger()
    book.refused("recommend", "overloaded")
    assert crossed(book, {"failed_share": 0}) == []
    assert len(crossed(book, {"refused_share": 0})) == 1


def test_a_run_that_called_nothing_does_not_pass() -> None:
    assert crossed(Ledger(), {}) == ["nothing was called"]


def test_a_kind_that_was_never_answered_does_not_pass() -> None:
    book = Ledger()
    book.refused("recommend", "overloaded")
    assert crossed(book, {"kinds": {"recommend": {"p95_ms": 9}}}) == [
        "recommend: no call was answered"
    ]


@pytest.mark.parametrize("profile", NAMES)
def test_every_profile_has_thresholds(profile: str) -> None:
    assert thresholds_of(profile)["failed_share"] == 0


@pytest.mark.parametrize(
    "content", ["", "[steady]\nfaild_share = 0", "[steady.kinds]\nsearch = {p97_ms = 1}", "[["]
)
def test_thresholds_that_cannot_be_used_are_named(tmp_path: Path, content: str) -> None:
    path = tmp_path / "thresholds.toml"
    path.write_text(content)
    with pytest.raises(ValueError, match=r"thresholds\.toml"):
        thresholds_of("steady", path)


def test_the_exit_code_is_the_verdict(tmp_path: Path) -> None:
    def judged(content: str) -> int:
        path = tmp_path / "result.json"
        path.write_text(content)
        return main([str(path)])

    assert judged(json.dumps({"profile": "steady", **ledger().to_json()})) == 0
    assert judged(json.dumps({"profile": "steady", **ledger(failed=1).to_json()})) == 1
    assert judged("no result") == 2
    assert judged("{}") == 2
