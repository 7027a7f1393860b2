"""What is wrong at a moment, and what of it somebody has not been told.

What is told of is the state of things, not the events that led to it: so nothing is lost while a mail server
is away or the node restarts, a storm is one message, and nothing is told twice. No patient data: names are
digits of hashes, and names of destinations from the configuration.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Self

from lfmri_node.dicom_io.receive.incomplete import OVERDUE, incomplete_scans
from lfmri_node.node.config import Config
from lfmri_node.node.doors.streams import kept_streams
from lfmri_node.node.jobs.overview import Overview
from lfmri_node.node.jobs.runner import HELD
from lfmri_node.node.jobs.tables import databases_of
from lfmri_node.node.layout import Layout
from lfmri_node.node.monitor.vitals import Vitals, bytes_free

_MOST = 50
_COMFORT_BYTES = 10 << 30
_ENDS = ("destination", "disk")
"""Subjects of which it is told, too, that they are well again."""
_WORDS = {
    "quarantine": "in quarantine",
    "held": "held: nobody has said whose it is",
    "incomplete": "incomplete: not all of it has come",
    "destination": "takes nothing",
    "disk": "nearly full",
    "worker": "the reconstruction process ended and was started again",
}


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Trouble:
    """One thing that is wrong.

    Parameters
    ----------
    subject
        As `lfmri_node.node.config.watching.Subject`.
    name
        Which job, scan or destination, or how many starts of the worker.
    """

    subject: str
    name: str
    code: str

    def to_json(self) -> dict[str, str]:
        return {"subject": self.subject, "name": self.name, "code": self.code}

    def words(self) -> str:
        """For people."""
        return f"{self.subject} {self.name}: {_WORDS[self.subject]} ({self.code})"


def troubles(config: Config, vitals: Vitals, *, destination_down_s: float) -> frozenset[Trouble]:
    """What is wrong now.

    Raises
    ------
    NodeError, sqlite3.Error, OSError
        The job table or the disk cannot be asked.
    """
    layout, present = Layout(root=config.node.data_dir), datetime.now(UTC)
    with closing(Overview(databases_of(config).table)) as table:
        found = [
            Trouble(subject="quarantine", name=job.name, code=job.failure.code)
            for job in table.quarantined()
            if job.failure is not None and not job.superseded
        ]
        found += [Trouble(subject="held", name=job.name, code=HELD) for job in table.held()]
        for destination in config.destinations:
            since = table.backlog(destination.name).held_since
            if since is not None and (present - since).total_seconds() >= destination_down_s:
                found.append(Trouble(subject="destination", name=destination.name, code="LF-DEL-001"))
    found += [
        Trouble(subject="incomplete", name=scan.name, code=OVERDUE)
        for scan in incomplete_scans(layout.spool)
        if scan.overdue(present, config.listener.incomplete_after_s)
    ]
    found += [
        Trouble(subject="incomplete", name=note.name[:12], code=note.code)
        for note in kept_streams(layout.spool)
    ]
    if bytes_free(layout.root) < config.listener.free_space_floor_gb * 2**30 + _COMFORT_BYTES:
        found.append(Trouble(subject="disk", name="node.data_dir", code="LF-DOC-003"))
    if vitals.worker_starts() > 1:
        found.append(Trouble(subject="worker", name=f"start {vitals.worker_starts()}", code="LF-JOB-011"))
    return frozenset(found)


@dataclass(frozen=True, slots=True, kw_only=True)
class News:
    """What is to be told: what is wrong now and was not, and what is well again."""

    new: tuple[Trouble, ...]
    over: tuple[Trouble, ...]

    @classmethod
    def between(cls, told: frozenset[Trouble], present: frozenset[Trouble]) -> Self:
        over = (item for item in told - present if item.subject in _ENDS)
        return cls(new=tuple(sorted(present - told)), over=tuple(sorted(over)))

    def __bool__(self) -> bool:
        return bool(self.new or self.over)

    def document(self, node: str, at: datetime) -> dict[str, Any]:
        """The body of a webhook's message."""
        return {
            "node": node,
            "at": at.isoformat(timespec="seconds"),
            "new": [item.to_json() for item in self.new[:_MOST]],
            "over": [item.to_json() for item in self.over[:_MOST]],
            "left_out": max(len(self.new) - _MOST, 0) + max(len(self.over) - _MOST, 0),
            "text": "\n".join(self.lines()),
        }

    def lines(self) -> Iterator[str]:
        """For people, a line each."""
        yield from _some(self.new, "")
        yield from _some(self.over, "well again: ")


def _some(items: Sequence[Trouble], before: str) -> Iterator[str]:
    for item in items[:_MOST]:
        yield before + item.words()
    if len(items) > _MOST:
        yield f"{before}and {len(items) - _MOST} more"
