"""The page of the last campaigns says what their reports say."""

from page import DOCS, FAULTS, PAGE, page, read


def test_the_page_is_that_of_the_reports() -> None:
    """Written anew by ``python tests/faults/page.py``."""
    assert (DOCS / PAGE).read_text(encoding="utf-8") == page(read(DOCS))


def test_what_went_wrong_stands_on_it() -> None:
    report = read(DOCS)[FAULTS]
    part = {**next(iter(report["parts"].values())), "remarks": ["moody: 1 scans not as expected"]}
    text = page({FAULTS: {**report, "lost": 7, "parts": {"light 1": part}}})
    assert "| **7** | lost |" in text
    assert "- light 1: moody: 1 scans not as expected" in text
