"""The database under the job table: the same SQL for SQLite and for PostgreSQL, the same promises.

A change is one transaction that is on disk before the call returns, and changes come one after the other:
in SQLite the file's lock sees to that, in PostgreSQL one advisory lock, also between processes. So nobody
has to think about what another process does between a look and a write. A question may be asked meanwhile.

Queries are written in SQLite's dialect with ``?`` for values, and kept to what both understand; what cannot
be said in both is one of the attributes of `Database`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

PATIENCE_S = 30.0
"""How long a change waits for its turn."""


class Row(Protocol):
    """A row, by the names of its columns."""

    def __getitem__(self, column: str, /) -> Any: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class PostgresTable:
    """A job table in PostgreSQL.

    Parameters
    ----------
    url
        ``postgresql://...`` with the password, which is never shown.
    root
        ``node.data_dir``, to which the paths in the table are relative.
    """

    url: str = field(repr=False)
    root: Path


Table = Path | PostgresTable
"""Where a job table is: a SQLite file in ``state`` below ``node.data_dir``, or PostgreSQL."""


class Database(ABC):
    """One connection; any thread may use it.

    Attributes
    ----------
    clock
        Expression: seconds since 1970 by the database's clock, the same for every process that uses it.
    one_of
        Query: the values of a JSON array of texts that is given as one value.
    text_of
        Expression of a JSON object's member: column and name to be filled in.
    """

    clock: str
    one_of: str
    text_of: str

    @abstractmethod
    def execute(self, query: str, values: Sequence[object] = ()) -> Sequence[Row]:
        """Do one statement; returns the rows that it gives."""

    @abstractmethod
    def executemany(self, query: str, rows: Iterable[Sequence[object]]) -> None:
        """Do one statement with each of ``rows``."""

    @abstractmethod
    def changing(self) -> AbstractContextManager[None]:
        """One change: the block's statements all, durably, or where it is left by an exception none."""

    @abstractmethod
    def version(self) -> int:
        """Version of the tables; 0 where there are none."""

    @abstractmethod
    def set_version(self, version: int) -> None:
        """Note it."""

    @abstractmethod
    def define(self, statement: str) -> None:
        """Do a statement of `migrations`."""

    @abstractmethod
    def close(self) -> None:
        """The object is of no use afterwards."""
