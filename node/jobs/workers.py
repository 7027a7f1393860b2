"""Who works on the jobs: one row a process that ever did, its epoch, and when it was heard of last.

A process enters with an epoch of its own, the highest so far. While several share the table each says again
and again that it lives. One that is silent for too long, or whose name somebody else takes, is ended by
another; from then on nothing that it writes is taken (`writer.Writer`), also when it was only frozen and
wakes. Times are the database's, so that no machine's clock matters.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

from lfmri_node.node.errors import JobError
from lfmri_node.node.jobs import schema
from lfmri_node.node.jobs.database import Row
from lfmri_node.node.jobs.job import CUT_OFF
from lfmri_node.node.jobs.writer import Writer, now

NODE = "node"
"""Name of the one process that listens and delivers."""
_REMEMBERED = timedelta(days=30)


@dataclass(frozen=True, slots=True, kw_only=True)
class Heirs:
    """What is known of the living while the dead are dealt with.

    Parameters
    ----------
    living
        `executor` of all that live.
    inherited
        Epochs that nobody had taken anything over from until now.
    """

    living: frozenset[str]
    inherited: tuple[int, ...]


class Workers(Writer):
    """The job table, seen by a process that works on the jobs."""

    def enter(self, name: str, *, alone: bool, dead_after_s: float) -> int | None:
        """Begin to work under a name; returns the epoch.

        Parameters
        ----------
        alone
            Nobody else can be at work: the data directory's lock says so.

        Returns
        -------
        None where another of this name is at work, as far as one can see now.
        """
        with self._change():
            rows = self._rows(f"SELECT *, {self._silence} AS silent_s FROM workers WHERE ended_at IS NULL")
            for row in rows:
                same = alone or row["name"] == name
                if same and not alone and row["silent_s"] <= dead_after_s and not _is_gone(row):
                    return None
                if same:
                    self._end(row["epoch"])
            self._connection.execute(
                "DELETE FROM workers WHERE heir IS NOT NULL AND ended_at<?",
                (schema.moment(now() - _REMEMBERED),),
            )
            (new,) = self._connection.execute(
                "INSERT INTO workers (name, host, process, listens, begun_at, beat_s)"
                f" VALUES (?, ?, ?, ?, ?, {self._connection.clock}) RETURNING epoch",
                (name, socket.gethostname(), os.getpid(), int(name == NODE), schema.moment(now())),
            )
            return int(new["epoch"])

    @property
    def _silence(self) -> str:
        return f"{self._connection.clock} - beat_s"

    def beat(self, epoch: int) -> bool:
        """Say that one lives; False where one was ended. No change: it never waits for one."""
        rows = self._connection.execute(
            f"UPDATE workers SET beat_s={self._connection.clock} WHERE epoch=? AND ended_at IS NULL"
            " RETURNING epoch",
            (epoch,),
        )
        return bool(rows)

    def silent(self, dead_after_s: float) -> frozenset[tuple[int, float]]:
        """Epoch and last beat of those who have not been heard of for so long."""
        rows = self._rows(
            f"SELECT epoch, beat_s FROM workers WHERE ended_at IS NULL AND {self._silence}>?", dead_after_s
        )
        return frozenset((row["epoch"], row["beat_s"]) for row in rows)

    def leave(self, epoch: int) -> None:
        """Stop working, in good order."""
        with self._change():
            self._end(epoch)

    @contextmanager
    def taking_over(self, dead: Collection[tuple[int, float]], heir: int) -> Iterator[Heirs]:
        """End those who are silent still, and what is theirs is the heir's; nobody else does so, and nobody
        enters, while the block lasts."""
        with self._change():
            for epoch, beat_s in dead:
                if self._rows("SELECT 1 AS n FROM workers WHERE epoch=? AND beat_s=?", epoch, beat_s):
                    self._end(epoch)
            inherited = self._connection.execute(
                "UPDATE workers SET heir=? WHERE ended_at IS NOT NULL AND heir IS NULL RETURNING epoch",
                (heir,),
            )
            yield Heirs(living=self.living(), inherited=tuple(row["epoch"] for row in inherited))

    def left_behind(self) -> bool:
        """Whether somebody has ended from whom nobody took anything over."""
        return bool(
            self._rows("SELECT 1 AS n FROM workers WHERE ended_at IS NOT NULL AND heir IS NULL LIMIT 1")
        )

    def living(self) -> frozenset[str]:
        """`executor` of those that have not ended, silent or not."""
        rows = self._rows("SELECT name, epoch FROM workers WHERE ended_at IS NULL")
        return frozenset(executor(row["name"], row["epoch"]) for row in rows)

    def _end(self, epoch: int) -> None:
        """Take nothing more from an epoch; what it had under way is cut off."""
        at = schema.moment(now())
        self._connection.execute(
            "UPDATE workers SET ended_at=? WHERE epoch=? AND ended_at IS NULL", (at, epoch)
        )
        self._connection.execute(
            "UPDATE timings SET outcome=? WHERE outcome IS NULL AND (job_key IN (SELECT key FROM jobs"
            " WHERE worker=?) OR destination!='' AND EXISTS"
            " (SELECT 1 FROM workers WHERE epoch=? AND listens=1))",
            (CUT_OFF, epoch, epoch),
        )
        self._connection.execute(
            "UPDATE jobs SET running=NULL, progress=NULL, worker=NULL WHERE worker=?", (epoch,)
        )


def executor(name: str, epoch: int | None) -> str:
    """What the engine calls a process that shares its jobs: what an ended one took is never the new one's."""
    return f"{name}:{epoch}"


def _is_gone(row: Row) -> bool:
    """Whether a process of this machine has ended, as far as its number tells."""
    if row["host"] != socket.gethostname():
        return False
    if row["process"] == os.getpid():
        return True
    try:
        os.kill(row["process"], 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return False


def name_is_taken(name: str) -> JobError:
    """LF-JOB-072."""
    return JobError(
        "LF-JOB-072",
        f"another worker called '{name}' is at work on these jobs",
        "give every worker a name of its own (--name), or stop the other one",
    )
