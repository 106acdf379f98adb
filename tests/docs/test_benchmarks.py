"""docs/benchmarks.md says what the results say, and every ratio is explained."""

from benchmarks.report import PAGE, page
from benchmarks.written import RESULTS


def test_the_page_is_made_from_the_results() -> None:
    text = PAGE.read_text()
    assert text == page(RESULTS), "python -m benchmarks.report makes it anew"
    assert "| |" not in text.replace("|---|", ""), "benchmarks/report.py has no words for a ratio"
    assert "|  |" not in text, "benchmarks/report.py has no words for a ratio"
