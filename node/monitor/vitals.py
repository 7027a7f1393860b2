"""What only the serving process knows of itself, and what follows from it: alive, ready."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from lfmri_node.node.errors import NodeError
from lfmri_node.node.jobs.database import Table
from lfmri_node.node.jobs.ledger import Ledger


@dataclass(frozen=True, slots=True, kw_only=True)
class Vitals:
    """Questions to the parts of a running service; each may be asked from any thread.

    Parameters
    ----------
    listens, moves_jobs
        Whether the thread that lets callers in, and the one that starts workflows, is alive.
    worker_was_warm
        Whether a reconstruction process has been ready once. One that dies later is started again with
        the next job, and keeps nobody from sending.
    worker_starts
        How often one was started.
    draining
        Whether the service is about to end.
    associations
        ``accepted``, or the code of a refusal -> how many since the start.
    shut
        Destination -> whether it is left alone for a while because it did not answer.
    """

    listens: Callable[[], bool]
    moves_jobs: Callable[[], bool]
    worker_was_warm: Callable[[], bool]
    worker_starts: Callable[[], int]
    draining: Callable[[], bool]
    associations: Callable[[], Mapping[str, int]]
    shut: Callable[[], Mapping[str, bool]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One condition; ``reason`` says what is wrong, "" where nothing is."""

    name: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """The answer of ``/healthz`` or ``/readyz``."""

    checks: tuple[Check, ...]

    @property
    def good(self) -> bool:
        return not any(check.reason for check in self.checks)

    def document(self) -> dict[str, object]:
        """JSON-able: ``good``, ``reasons`` of what is not, ``checks`` with each."""
        return {
            "good": self.good,
            "reasons": [check.reason for check in self.checks if check.reason],
            "checks": {check.name: not check.reason for check in self.checks},
        }


def alive(vitals: Vitals, table: Table) -> Report:
    """Whether the process does its work at all: where it does not, a restart helps."""
    return Report(
        checks=(
            Check(name="listener", reason=_unless(vitals.listens(), "nobody is let in")),
            Check(name="engine", reason=_unless(vitals.moves_jobs(), "no workflow is started")),
            _database(table),
        )
    )


def ready(vitals: Vitals, table: Table, root: Path, *, floor_gb: float) -> Report:
    """Whether a scan that comes now is taken and worked on: where it is not, a sender had better wait."""
    return Report(
        checks=(
            *alive(vitals, table).checks,
            Check(name="disk", reason=_disk(root, floor_gb)),
            Check(
                name="worker",
                reason=_unless(vitals.worker_was_warm(), "the reconstruction process is starting"),
            ),
            Check(name="draining", reason=_unless(not vitals.draining(), "the service is about to end")),
        )
    )


def bytes_free(folder: Path) -> int:
    """Free space where the data directory lies."""
    return shutil.disk_usage(folder).free


def _unless(good: bool, reason: str) -> str:
    return "" if good else reason


def _disk(root: Path, floor_gb: float) -> str:
    free_gb = bytes_free(root) / 2**30
    return _unless(free_gb >= floor_gb, f"{free_gb:.1f} GB free, listener.free_space_floor_gb = {floor_gb:g}")


def _database(table: Table) -> Check:
    return Check(name="database", reason=next(_problems(table), ""))


def _problems(table: Table) -> Iterator[str]:
    try:
        with closing(Ledger(table)) as ledger:
            ledger.latest_change()
    except NodeError as error:
        yield f"{error.code}: {error.message}"
    except sqlite3.Error as error:
        yield f"the job table does not answer ({type(error).__name__})"
