"""Writing the job table: SQLite, one writer process.

Every change is one transaction that is on disk before the call returns (``synchronous=FULL``).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from lfmri_node.node.jobs import migrations, schema
from lfmri_node.node.jobs.job import Job
from lfmri_node.node.jobs.ledger import Ledger


def now() -> datetime:
    """The present moment, aware, UTC."""
    return datetime.now(UTC)


class Writer(Ledger):
    """The job table in ``path``, created where missing.

    Raises
    ------
    JobError
        LF-JOB-004 where it has another schema version; see `migrations.migrate`.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._open(path, mode="rwc")
        self._connection.execute("PRAGMA foreign_keys=ON")
        self._connection.execute("PRAGMA journal_mode=WAL")
        self._connection.execute("PRAGMA synchronous=FULL")
        with self._change():
            if migrations.version_of(self._connection) == 0:
                migrations.bring_up_to(self._connection, 0)
        self._check_version()

    @contextmanager
    def _change(self) -> Iterator[None]:
        with self._lock:
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:
                self._connection.execute("ROLLBACK")
                raise
            self._connection.execute("COMMIT")

    def _write(self, job: Job) -> Job:
        row = schema.job_row(job)
        columns = ", ".join(row)
        marks = ", ".join(f":{column}" for column in row)
        updates = ", ".join(f"{column}=excluded.{column}" for column in row if column != "key")
        self._connection.execute(
            f"INSERT INTO jobs ({columns}) VALUES ({marks}) ON CONFLICT(key) DO UPDATE SET {updates}", row
        )
        return job

    def _end_timing(
        self, key: str, outcome: str, seconds: float | None = None, destination: str = ""
    ) -> None:
        self._connection.execute(
            "UPDATE timings SET outcome=?, seconds=? WHERE job_key=? AND destination=? AND outcome IS NULL",
            (outcome, seconds, key, destination),
        )
