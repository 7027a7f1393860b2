"""dciodvfy and dcentvfy over every kind of job: no error, and no warning but those of conformance.md."""

import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path

import pytest
from variants import VARIANTS

from lfmri_node.dicom_io.objects.validate import program

_CONFORMANCE = Path(__file__).parents[3] / "deploy" / "docs" / "conformance.md"
_BOTH = "both contrasts of a scan"


@dataclass(frozen=True)
class Said:
    """A line of a validator that is no name of an IOD, and what it is said of: a role, or a study."""

    subject: str
    line: str


@dataclass(frozen=True)
class Accepted:
    """A row of the table of warnings that stay."""

    pattern: str
    subjects: frozenset[str]

    def covers(self, said: Said) -> bool:
        return (
            not self.subjects.isdisjoint((said.subject, "all"))
            and "Warning - " in said.line
            and fnmatchcase(said.line.replace("Warning - ", ""), self.pattern.replace("[", "[[]"))
        )


def accepted() -> list[Accepted]:
    _, _, section = _CONFORMANCE.read_text(encoding="utf-8").partition("### A.A.10 What the validators say\n")
    section, _, _ = section.partition("\n## ")
    rows = [line.strip("| ").split(" | ") for line in section.splitlines() if line.startswith("| `")]
    assert rows
    assert all(len(row) == 3 and row[2] for row in rows), "each with its reason"
    return [Accepted(row[0].strip("`"), frozenset(row[1].split(", "))) for row in rows]


def answer(name: str, *files: Path) -> list[str]:
    command = [program(name), *files]
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    lines = [line.strip() for line in (done.stdout + done.stderr).splitlines() if " - " in line]
    return lines if done.returncode == 0 else [*lines, f"Error - status {done.returncode}"]


@pytest.fixture(scope="module")
def told(job_of) -> Callable[[str], set[Said]]:
    """``told(name)``: what is said of a variant, Raw Data objects included; of `_BOTH`, of one study."""

    def ask(name: str) -> set[Said]:
        if name == _BOTH:
            first, second = job_of("one lesion"), job_of("second contrast")
            return {
                Said("study", line) for line in answer("dcentvfy", *first.files, *second.delivery.files())
            }
        files = job_of(name).files
        objects = {Said(p.name.rsplit("-", 1)[0], line) for p in files for line in answer("dciodvfy", p)}
        return objects | {Said("study", line) for line in answer("dcentvfy", *files)}

    return cache(ask)


@pytest.mark.parametrize("name", [*VARIANTS, _BOTH])
def test_there_is_no_error_and_every_warning_is_explained(told, name):
    rows = accepted()
    assert [said for said in told(name) if not any(row.covers(said) for row in rows)] == []


@pytest.mark.parametrize("row", accepted(), ids=lambda row: row.pattern)
def test_what_is_explained_does_occur_and_where_it_is_said_to(told, row):
    occurs_in = {said.subject for name in (*VARIANTS, _BOTH) for said in told(name) if row.covers(said)}
    assert occurs_in
    assert row.subjects in (occurs_in, {"all"})
