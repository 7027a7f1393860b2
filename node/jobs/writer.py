"""Writing the job table: every change is one transaction that is on disk before the call returns."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

from lfmri_node.node.errors import Fenced
from lfmri_node.node.jobs import migrations, schema
from lfmri_node.node.jobs.database import Table
from lfmri_node.node.jobs.job import Job
from lfmri_node.node.jobs.ledger import Ledger


def now() -> datetime:
    """The present moment, aware, UTC."""
    return datetime.now(UTC)


class Writer(Ledger):
    """The job table, created where missing.

    Parameters
    ----------
    epoch
        Of the process that works on the jobs (`workers`): once it was ended, no change is taken from it. None
        for an operator's command.

    Raises
    ------
    JobError
        LF-JOB-004 where it has another schema version; see `migrations.migrate`.
    """

    def __init__(self, table: Table, *, epoch: int | None = None) -> None:
        self.epoch = epoch
        self._open(table, writes=True)
        if self._connection.version() == 0:
            with self._change():
                if self._connection.version() == 0:  # nobody was faster
                    migrations.bring_up_to(self._connection, 0)
        migrations.require_present(self._connection.version())

    @contextmanager
    def _change(self) -> Iterator[None]:
        with self._connection.changing():
            if self.epoch is not None and not self._lives(self.epoch):
                raise Fenced
            yield

    def _lives(self, epoch: int) -> bool:
        return bool(self._rows("SELECT 1 AS n FROM workers WHERE epoch=? AND ended_at IS NULL", epoch))

    def _write(self, job: Job) -> Job:
        row = schema.job_row(job)
        columns, marks = ", ".join(row), ", ".join("?" * len(row))
        updates = ", ".join(f"{column}=excluded.{column}" for column in row if column != "key")
        self._connection.execute(
            f"INSERT INTO jobs ({columns}) VALUES ({marks}) ON CONFLICT(key) DO UPDATE SET {updates}",
            tuple(row.values()),
        )
        return job

    def _end_timing(
        self, key: str, outcome: str, seconds: float | None = None, destination: str = ""
    ) -> None:
        self._connection.execute(
            "UPDATE timings SET outcome=?, seconds=? WHERE job_key=? AND destination=? AND outcome IS NULL",
            (outcome, seconds, key, destination),
        )
