"""The heartbeat of a process that shares its jobs with others, and its look at theirs."""

from __future__ import annotations

import logging
import sqlite3
import threading
import time
from types import TracebackType
from typing import Self

from dbos import error as dbos_error
from sqlalchemy.exc import SQLAlchemyError

from lfmri_node.node import logs
from lfmri_node.node.errors import Fenced, JobError
from lfmri_node.node.jobs.database import Table
from lfmri_node.node.jobs.engine import Engine
from lfmri_node.node.jobs.workers import Workers

_BEATS, _LOOKS = 4, 3
"""Beats within the time after which somebody is dead; part of that time between two looks that agree."""


class _Regular:
    """Does something again and again in a thread of its own, with a connection of its own."""

    def __init__(self, table: Table, epoch: int | None, *, dead_after_s: float) -> None:
        assert epoch is not None  # only who has entered shares the work
        self._workers = Workers(table, epoch=epoch)
        self._epoch = epoch
        self._dead_after_s = dead_after_s
        self._stop = threading.Event()
        self.fenced = threading.Event()
        self._thread = threading.Thread(target=self._run, name=type(self).__name__, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()

    def _run(self) -> None:
        away = False
        while not self._stop.is_set() and not self.fenced.is_set():
            try:
                self._once()
                away = False
            except Fenced:
                self.fenced.set()
            except (sqlite3.Error, SQLAlchemyError, dbos_error.DBOSException) as error:
                if not away:  # told once, however long it lasts
                    cause = type(error).__name__
                    logs.event("pulse.failed", level=logging.ERROR, code="LF-JOB-017", message=cause)
                away = True
            self._stop.wait(self._dead_after_s / _BEATS)

    def _once(self) -> None:
        raise NotImplementedError


class Heart(_Regular):
    """Says that this process lives."""

    def _once(self) -> None:
        if not self._workers.beat(self._epoch):
            raise Fenced

    def require_beating(self) -> None:
        """Check that nobody took this process for dead.

        Raises
        ------
        JobError
            LF-JOB-071
        """
        if self.fenced.is_set():
            raise JobError(
                "LF-JOB-071",
                "this process was silent for too long: others took it for dead and do its work",
                "nothing is lost; start it again, and see whether the machine sleeps or swaps",
            )


class Lookout(_Regular):
    """Takes over what dead processes leave.

    Somebody is dead who has been silent for ``dead_after_s`` by the database's clock, and is so at two looks
    some time apart: after an outage of the database everybody has been silent for long, and the living are
    heard of at once. A thread apart from the heart's: the engine tries again and again, in its own time,
    while its database is away.
    """

    def __init__(self, table: Table, engine: Engine, epoch: int | None, *, dead_after_s: float) -> None:
        super().__init__(table, epoch, dead_after_s=dead_after_s)
        self._engine = engine
        self._suspects: dict[tuple[int, float], float] = {}

    def _once(self) -> None:
        at = time.monotonic()
        silent = self._workers.silent(self._dead_after_s)
        self._suspects = {who: self._suspects.get(who, at) for who in silent}
        dead = [who for who, since in self._suspects.items() if at - since >= self._dead_after_s / _LOOKS]
        if dead or self._workers.left_behind() or self._engine.orphans(self._workers.living()):
            self._engine.take_over(self._epoch, dead, self._workers)
