"""``page.py [FOLDER]``: the page `fault-report.md` of the reports that lie in a folder as JSON."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

Report = Mapping[str, Any]
FAULTS, PAGE = "fault-report.json", "fault-report.md"
TITLES = {
    FAULTS: "Kills and everything else",
    "week-report.json": "A simulated week",
}
"""Reports, in the order of the page."""
DOCS = Path(__file__).parents[2] / "deploy" / "docs"

_HEAD = """# What the last fault campaigns found

Written by `tests/faults/page.py` from {sources}, which `make faults` and `make week` write. What each fault
is, and how is counted: [fault-tests.md](fault-tests.md#at-random-the-campaign). Nodes: light has numerics of
a few lines; real is the service as installed; shared is PostgreSQL with three workers.
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
    counts = [(f"**{report[name]}**", said) for name, said in _SAID.items() if name in report]
    yield from table(("count", "what"), [(f"**{report['kills']}**", "times signal 9"), *counts])
    yield ""
    yield from table(("fault", "times"), sorted(report["faults"].items()))
    yield ""
    asked = [(report["commitment"].get(name, 0), said) for name, said in _COMMITMENT.items()]
    yield from (*table(("requests for commitment", "the archive"), asked), "")
    yield from table(("node", "kills", "acknowledged", "delivered", "time"), list(_parts(report)))
    remarks = [f"- {name}: {text}" for name, part in report["parts"].items() for text in part["remarks"]]
    if remarks:
        yield from ("", "Remarks:", "", *remarks)
    yield ""


def _parts(report: Report) -> Iterator[tuple[object, ...]]:
    for name, part in report["parts"].items():
        yield name, part["kills"], part["acknowledged"], part["delivered"], _length(part["seconds"])


def page(reports: Mapping[str, Report]) -> str:
    """The whole page; ``reports``: by the names of their files."""
    lines = [_HEAD.format(sources=", ".join(f"[{name}]({name})" for name in reports))]
    for name, report in reports.items():
        lines += [f"## {TITLES[name]}", ""]
        lines += [_week(report), ""] if "exams" in report else []
        lines += section(report)
        said = ", ".join(f"{program} {number}" for program, number in report["versions"].items())
        lines += [f"Versions: {said}.", ""]
    return "\n".join(lines).rstrip() + "\n"


def _week(report: Report) -> str:
    share = 100 * report["delivered"] / max(report["acknowledged"], 1)
    return (
        f"{report['acknowledged']} of {report['exams']} exams, {report['days']:g} days of the node's clock: "
        f"{share:g} % of them in both archives, {report['doubled']} twice."
    )


def _length(seconds: float) -> str:
    return f"{seconds // 60:.0f} min {seconds % 60:.0f} s"


def read(folder: Path) -> dict[str, Report]:
    """The reports of a folder, by their names."""
    there = (name for name in TITLES if (folder / name).exists())
    return {name: json.loads((folder / name).read_text(encoding="utf-8")) for name in there}


def write_page(folder: Path) -> None:
    """Write the page beside the reports."""
    (folder / PAGE).write_text(page(read(folder)), encoding="utf-8")


if __name__ == "__main__":
    write_page(Path(sys.argv[1]) if len(sys.argv) > 1 else DOCS)
