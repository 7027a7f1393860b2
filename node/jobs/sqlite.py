"""The job table's database in a SQLite file."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from lfmri_node.node.jobs.database import PATIENCE_S, Database, Row


class SqliteDatabase(Database):
    """A SQLite file.

    Parameters
    ----------
    writes
        The file is made where it is missing; else nothing in it can be changed.
    """

    clock = "(julianday('now') - 2440587.5) * 86400.0"
    one_of = "SELECT value FROM json_each(?)"
    text_of = "{} ->> '{}'"

    def __init__(self, path: Path, *, writes: bool) -> None:
        self._lock = threading.RLock()
        if writes:
            path.parent.mkdir(parents=True, exist_ok=True)
        self._connection = sqlite3.connect(
            f"{path.absolute().as_uri()}?mode={'rwc' if writes else 'rw'}",
            uri=True,
            timeout=PATIENCE_S,
            isolation_level=None,
            check_same_thread=False,
        )
        self._connection.row_factory = sqlite3.Row
        if writes:
            for pragma in ("foreign_keys=ON", "journal_mode=WAL", "synchronous=FULL"):
                self._connection.execute(f"PRAGMA {pragma}")
        else:
            self._connection.execute("PRAGMA query_only=ON")

    def execute(self, query: str, values: Sequence[object] = ()) -> Sequence[Row]:
        with self._lock:
            return self._connection.execute(query, values).fetchall()

    def executemany(self, query: str, rows: Iterable[Sequence[object]]) -> None:
        with self._lock:
            self._connection.executemany(query, rows)

    @contextmanager
    def changing(self) -> Iterator[None]:
        with self._lock:
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:
                self._connection.execute("ROLLBACK")
                raise
            self._connection.execute("COMMIT")

    def version(self) -> int:
        return int(self._connection.execute("PRAGMA user_version").fetchone()[0])

    def set_version(self, version: int) -> None:
        self.execute(f"PRAGMA user_version={version}")

    def define(self, statement: str) -> None:
        self.execute(statement)

    def copy_to(self, target: Path) -> Path:
        """A complete copy under its final name, as it was when the copying began."""
        part = target.with_name(f"{target.name}.part")
        part.unlink(missing_ok=True)
        copy = sqlite3.connect(part)
        try:
            self._connection.backup(copy)
        finally:
            copy.close()
        return part.replace(target)

    def close(self) -> None:
        with self._lock:
            self._connection.close()
