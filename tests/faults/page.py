"""``page.py [FOLDER]``: the page `fault-report.md` of the reports that lie in a folder as JSON."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

Report = Mapping[str, Any]
FAULTS, WEEK, PAGE = "fault-report.json", "week-report.json", "fault-report.md"
DOCS = Path(__file__).parents[2] / "deploy" / "docs"

_HEAD = """# What the last fault campaigns found

Written by `tests/faults/page.py` from {sources}, which `make faults` and `make week` write. What each fault
is, and how is counted: [fault-tests.md](fault-tests.md#at-random-the-campaign).
"""
_SAID = {
    "acknowledged": "scans that the node acknowledged",
    "delivered": "of them with every object in both archives, pixels as undisturbed",
    "lost": "lost",
    "doubled": "objects that are there twice, or that nobody made",
    "quarantined": "in quarantine (none deserves it)",
    "turned_away": "times that a good scan was refused for good",
    "starved": "times that something did not go on for too long",
    "second_nodes": "times that two nodes worked on one folder",
    "own_exits": "times that the node ended by itself, as on a full disk, and was started again",
    "by_watcher": "scans that `lfmri-node gateway watch` sent, itself killed among the others",
    "owed": "scans that a restored backup did not know, sent again by their gateways",
    "remade": "objects that came again with another time of creation, and were kept once",
}
_COMMITMENT = {
    "here": "reported over the same association",
    "later": "reported up to three seconds later, over another",
    "twice": "reported twice",
    "failing": "reported failures",
    "silent": "never reported",
    "refusing": "refused the request for now",
}


def table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> Iterator[str]:
    """A table in Markdown."""
    yield f"| {' | '.join(head)} |"
    yield f"|{'---|' * len(head)}"
    for row in rows:
        yield f"| {' | '.join(str(cell) for cell in row)} |"


def section(report: Report) -> Iterator[str]:
    """One campaign."""
    yield f"`{report['command']}`: {_length(report['seconds'])}."
    yield ""
    counts = [(f"**{report[name]}**", said) for name, said in _SAID.items()]
    yield from table(("count", "what"), [(f"**{report['kills']}**", "times signal 9"), *counts])
    yield ""
    yield from table(("fault", "times"), sorted(report["faults"].items()))
    yield ""
    asked = [(report["commitment"].get(name, 0), said) for name, said in _COMMITMENT.items()]
    yield from table(("requests for commitment", "the archive"), asked)
    remarks = [f"- {name}: {text}" for name, part in report["parts"].items() for text in part["remarks"]]
    if remarks:
        yield from ("", "Remarks:", "", *remarks)
    yield ""


def page(faults: Report | None, week: Report | None) -> str:
    """The whole page, of the reports that there are."""
    sources = " and ".join(f"[{n}]({n})" for n, r in ((FAULTS, faults), (WEEK, week)) if r is not None)
    lines = [_HEAD.format(sources=sources)]
    if faults is not None:
        lines += ["## Kills and everything else", "", *section(faults)]
        parts = [
            (name, part["kills"], part["acknowledged"], part["delivered"], _length(part["seconds"]))
            for name, part in faults["parts"].items()
        ]
        lines += table(("node", "kills", "acknowledged", "delivered", "time"), parts)
        lines += [
            "",
            "light: numerics of a few lines; real: as installed; shared: PostgreSQL with three workers.",
            "",
        ]
    if week is not None:
        lines += ["## A simulated week", "", _week(week), "", *section(week)]
    if (any_report := faults or week) is not None:
        said = ", ".join(f"{name} {number}" for name, number in any_report["versions"].items())
        lines += [f"Versions: {said}."]
    return "\n".join(lines).rstrip() + "\n"


def _week(report: Report) -> str:
    share = 100 * report["delivered"] / max(report["acknowledged"], 1)
    return (
        f"{report['acknowledged']} of {report['exams']} exams, {report['days']:g} days of the node's clock: "
        f"{share:g} % of them in both archives, {report['doubled']} twice."
    )


def _length(seconds: float) -> str:
    return f"{seconds // 60:.0f} min {seconds % 60:.0f} s"


def read(path: Path) -> Report | None:
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None


def write_page(folder: Path) -> None:
    """Write the page beside the reports."""
    text = page(read(folder / FAULTS), read(folder / WEEK))
    (folder / PAGE).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    write_page(Path(sys.argv[1]) if len(sys.argv) > 1 else DOCS)
