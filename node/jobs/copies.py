"""A copy of the job table, also while a node writes it, and what of the spool belongs to it."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from lfmri_node.node.jobs.ledger import Ledger
from lfmri_node.node.jobs.writer import Writer


def copy_database(source: Path, target: Path) -> None:
    """Copy a SQLite database as it is at one moment, while others write it (https://sqlite.org/backup.html).

    Raises
    ------
    sqlite3.Error
        It cannot be read, or the copy cannot be written.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    uri = f"{source.absolute().as_uri()}?mode=rw"
    with closing(sqlite3.connect(uri, uri=True)) as from_, closing(sqlite3.connect(target)) as to:
        from_.backup(to)


class Copied(Writer):
    """The copy of a job table."""

    def rewind(self) -> None:
        """Have intermediate results, which are not in a copy, made again: what follows is the same."""
        halfway = "('calibrated', 'reconstructed')"
        with self._change():
            self._connection.execute(
                f"UPDATE jobs SET stage='decoded' WHERE finished_at IS NULL AND stage IN {halfway}"
            )
            self._connection.execute(
                f"UPDATE jobs SET resume='decoded' WHERE stage='quarantined' AND resume IN {halfway}"
            )


class Contents(Ledger):
    """What of a job table's files somebody still waits for. Read-only, as `Ledger`."""

    def over(self) -> set[Path]:
        """Spool files of which nothing is left to do: every scan made from them is finished."""
        query = (
            "SELECT path FROM sources s JOIN jobs j ON j.key=s.job_key"
            " GROUP BY path HAVING count(*)=count(j.finished_at)"
        )
        return {self._base / row["path"] for row in self._rows(query)}

    def undelivered(self) -> Iterator[Path]:
        """Encoded objects of jobs that are not finished."""
        query = "SELECT path FROM objects o JOIN jobs j ON j.key=o.job_key WHERE j.finished_at IS NULL"
        yield from (self._base / row["path"] for row in self._rows(query))
