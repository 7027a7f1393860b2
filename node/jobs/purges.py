"""The job table's side of retention: what may go, what has been marked to go, what is gone.

A purge is marked in the table first, then its files are moved away in the same transaction that records
the purge as done, then they are deleted. Killed anywhere in between, the next run does the rest.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from pathlib import Path

from lfmri_node.node.jobs import schema
from lfmri_node.node.jobs.job import Stage
from lfmri_node.node.jobs.store import Store
from lfmri_node.node.jobs.writer import now


class What(StrEnum):
    """What of a measurement can go."""

    RESULTS = "results"
    RAW = "raw"
    RECORDS = "records"
    PARTS = "parts"  # of a scan that never became complete: no measurement yet


class State(StrEnum):
    """Whether something is left to do for a measurement."""

    OPEN = "open"
    DELIVERED = "delivered"
    QUARANTINED = "quarantined"
    KEPT = "kept"  # finished without a destination: what lies here is the only copy


@dataclass(slots=True, kw_only=True)
class Holding:
    """A measurement and all that came of it, as far as retention is concerned.

    Parameters
    ----------
    keys
        The measurement's key and those of its scans.
    since
        When its state was reached: the last delivery, or the last time it was put into quarantine.
    raw
        Its files in the spool.
    marked, done
        Purges that were begun, and those that are over, with the time.
    """

    key: str
    received_at: datetime
    since: datetime
    state: State
    keys: list[str]
    raw: list[Path] = field(default_factory=list)
    marked: set[What] = field(default_factory=set)
    done: dict[What, datetime] = field(default_factory=dict)


class Purges(Store):
    """The job table, seen by retention."""

    def holdings(self) -> list[Holding]:
        """Every measurement, oldest first."""
        query = (
            "SELECT key, parent, stage, received_at, updated_at, finished_at FROM jobs"
            " ORDER BY parent IS NOT NULL, received_at, key"
        )
        found: dict[str, Holding] = {}
        for row in self._rows(query):
            state = _state(row["stage"], finished=row["finished_at"] is not None)
            since = datetime.fromisoformat(row["finished_at"] or row["updated_at"])
            if row["parent"] is None:
                found[row["key"]] = Holding(
                    key=row["key"],
                    received_at=datetime.fromisoformat(row["received_at"]),
                    since=since,
                    state=state,
                    keys=[row["key"]],
                )
            else:
                _add_scan(found[row["parent"]], row["key"], state, since)
        for row in self._rows("SELECT job_key, path FROM sources ORDER BY job_key, part"):
            if row["job_key"] in found:
                found[row["job_key"]].raw.append(self._base / row["path"])
        for row in self._rows("SELECT * FROM purges"):
            what = What(row["what"])
            found[row["job_key"]].marked.add(what)
            if row["done_at"] is not None:
                found[row["job_key"]].done[what] = datetime.fromisoformat(row["done_at"])
        return list(found.values())

    def mark(self, key: str, what: What) -> None:
        """Decide that something goes, unless work on it was taken up; it is not counted on any more."""
        with self._change():
            self._connection.execute(
                "INSERT INTO purges SELECT key, ?, ?, NULL FROM jobs WHERE key=? AND NOT EXISTS"
                " (SELECT 1 FROM jobs WHERE (key=? OR parent=?) AND finished_at IS NULL"
                " AND stage!='quarantined') ON CONFLICT DO NOTHING",
                (what.value, schema.moment(now()), key, key, key),
            )

    @contextmanager
    def carrying_out(self, key: str, what: What) -> Iterator[bool]:
        """Do what was marked inside the block; it is recorded as done when the block ends well.

        Yields
        ------
        False where the measurement is worked on again and nothing may go.
        """
        with self._change():
            rows = self._rows("SELECT 1 FROM purges WHERE job_key=? AND what=?", key, what.value)
            yield bool(rows)
            self._connection.execute(
                "UPDATE purges SET done_at=? WHERE job_key=? AND what=? AND done_at IS NULL",
                (schema.moment(now()), key, what.value),
            )

    @contextmanager
    def without_job(self, paths: Sequence[Path]) -> Iterator[bool]:
        """Whether no job was made from any of these files; while the block lasts none is."""
        with self._change():
            yield not any(self.knows([path]) for path in paths)

    def forget(self, key: str) -> None:
        """Delete every row of a measurement of which raw data and results are gone."""
        with self._change():
            if self.is_purged(key, "raw") and self.is_purged(key, "results"):
                self._forget(key)

    def over_since(self, moment: datetime, keys: Collection[str]) -> set[str]:
        """Those of ``keys`` that nobody works on: finished before ``moment``, or not in the table."""
        rows = self._rows(
            "SELECT key FROM jobs WHERE finished_at IS NULL OR finished_at>?", schema.moment(moment)
        )
        return set(keys) - {row["key"] for row in rows}


def _state(stage: str, *, finished: bool) -> State:
    if stage == Stage.QUARANTINED:
        return State.QUARANTINED
    if not finished:
        return State.OPEN
    return State.DELIVERED if stage in (Stage.SENT, Stage.VERIFIED) else State.KEPT


_WORST = (State.OPEN, State.QUARANTINED, State.KEPT, State.DELIVERED)


def _add_scan(holding: Holding, key: str, state: State, since: datetime) -> None:
    first = len(holding.keys) == 1 and holding.state is State.KEPT  # the measurement's own row is done
    holding.keys.append(key)
    holding.state = state if first else min(holding.state, state, key=_WORST.index)
    holding.since = max(holding.since, since)


def age(moment: datetime, at: datetime) -> timedelta:
    """Time since ``moment``; a clock that was set back makes nothing old."""
    return max(at - moment, timedelta(0))
