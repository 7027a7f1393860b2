"""The bodies of the durable workflows, and how what they leave goes on.

One takes a measurement in, one computes a scan, one delivers a scan to a destination, one asks for another
try of all that. The names of the functions and of their steps, and the order of the steps, are a stored
format: DBOS continues a workflow that an earlier process left.
"""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import asdict
from types import TracebackType
from typing import Any, TypeVar

from dbos import DBOS
from dbos import error as dbos_error
from sqlalchemy.exc import SQLAlchemyError

from lfmri_node.node import logs
from lfmri_node.node.errors import Drained, Fenced
from lfmri_node.node.jobs.drain import Drain, Line
from lfmri_node.node.jobs.job import Failure, Stage
from lfmri_node.node.jobs.moves import Move
from lfmri_node.node.jobs.requests import Request
from lfmri_node.node.jobs.runner import Runner
from lfmri_node.node.jobs.store import Store
from lfmri_node.node.jobs.work import Kind, Work

HEALS = (OSError, sqlite3.Error, SQLAlchemyError)
"""A full disk or a locked database: no outcome of a workflow."""
_COMPUTE_STAGES = (Stage.CALIBRATED, Stage.RECONSTRUCTED, Stage.ENCODED)
T = TypeVar("T")


class Workflows:
    """What DBOS runs.

    Parameters
    ----------
    ask
        Takes a request that the engine sees to soon.
    start
        Makes sure that a work has a workflow.
    destinations
        Gives the names of the destinations that there are now.
    """

    def __init__(
        self,
        *,
        runner: Runner,
        store: Store,
        drain: Drain,
        ask: Callable[[Request], None],
        start: Callable[[Work], bool],
        destinations: Callable[[], Sequence[str]],
    ) -> None:
        self._runner = runner
        self._store = store
        self._drain = drain
        self._worker = Line(drain)
        self._ask = ask
        self._start = start
        self._destinations = destinations

    def bodies(self) -> list[Callable[..., None]]:
        """Functions whose names are those of the workflows: `Kind`, and ``retry``."""
        return [self._admit(), self._compute(), self._deliver(), self._retry()]

    def has_its_turn(self, work: Work) -> bool:
        """Whether nobody has what ``work`` needs, or waits for it."""
        if work.destination:
            return self._runner.is_free(work.destination)
        return len(self._worker) == 0 and not self._store.others_wait(work.key)

    def _admit(self) -> Callable[[str], None]:
        def admit(key: str) -> None:
            self._go_through(Work(kind=Kind.ADMIT, key=key), (Stage.DECODED,))

        return admit

    def _compute(self) -> Callable[[str], None]:
        def compute(key: str) -> None:
            self._go_through(Work(kind=Kind.COMPUTE, key=key), _COMPUTE_STAGES)

        return compute

    def _deliver(self) -> Callable[[str, str], None]:
        def deliver(key: str, destination: str) -> None:
            with _Guard(self, Work(kind=Kind.DELIVER, key=key, destination=destination)) as guard:
                guard.came_of(self._step("send", self._runner.deliver, key, destination))

        return deliver

    def _retry(self) -> Callable[[str], None]:
        def retry(key: str) -> None:
            works = [Work(kind=Kind.ADMIT, key=key), Work(kind=Kind.COMPUTE, key=key)]
            works += [Work(kind=Kind.DELIVER, key=key, destination=name) for name in self._destinations()]
            for work in works:  # of which those are started that are left to do
                self._ask(Request(work=work, reopened=True))

        return retry

    def _go_through(self, work: Work, stages: Sequence[Stage]) -> None:
        """Compute ``stages``, then start what comes after them."""
        with _Guard(self, work) as guard:
            if guard.came_of(self._computed(work, stages)):
                for kind, key, destination in DBOS.run_step(
                    {"name": "next"}, _unrecorded, self._next, work.key
                ):
                    self._start(Work(kind=Kind(kind), key=key, destination=destination))

    def _computed(self, work: Work, stages: Sequence[Stage]) -> Move:
        """Go through stages with the worker to oneself; a measurement's header goes before all scans."""
        with self._worker.alone(ahead=work.kind is Kind.ADMIT):
            for stage in stages:
                move = self._step(stage.value, self._runner.compute, work.key, stage)
                if move.then != "go":
                    break
            return move

    def _step(self, name: str, action: Callable[..., Move], *arguments: str) -> Move:
        return Move(**DBOS.run_step({"name": name}, self._tried, action, *arguments))

    def _tried(self, action: Callable[..., Move], *arguments: str) -> dict[str, Any]:
        """One try, as DBOS keeps it. A table or a disk that cannot be written now is no outcome."""
        try:
            return asdict(action(*arguments))
        except (OSError, sqlite3.Error) as error:
            logs.event(
                "work.postponed",
                level=logging.ERROR,
                job=arguments[0][:12],
                code="LF-JOB-017",
                message=type(error).__name__,
            )
            return asdict(self._runner.soon())

    def _start_next(self, key: str) -> None:
        for kind, of, destination in DBOS.run_step({"name": "next"}, _unrecorded, self._next, key):
            self._start(Work(kind=Kind(kind), key=of, destination=destination))

    def _next(self, key: str) -> list[tuple[str, str, str]]:
        return [(work.kind.value, work.key, work.destination) for work in self._runner.after(key)]

    def left(self, work: Work, kind: type[BaseException] | None, move: Move | None) -> None:
        """See to it that ``work`` goes on when its workflow was left, by an exception of ``kind`` or not.

        A workflow does not outlive a try that has to wait, so that no wait takes a place from those who
        need not; it is begun anew when the wait is over.

        Parameters
        ----------
        move
            What came of the try.

        Raises
        ------
        Drained
            In place of an exception that heals: the workflow stays pending, and is resumed unless the
            service drains, or somebody else has it already.
        """
        if kind is None and move is not None and move.then in ("wait", "remake"):
            if move.then == "remake":
                self._ask(Request(work=Work(kind=Kind.COMPUTE, key=work.key), reopened=True))
            pause = self._runner.pause(work, move)
            self._ask(Request(work=work, reopened=True, pause=pause))
        elif kind is None:  # the row may have been opened again behind the back of the last step
            self._ask(Request(work=work, reopened=True))
        elif issubclass(kind, Fenced):
            raise Drained
        elif issubclass(kind, (Drained, *HEALS)):
            if not self._drain.begun:
                self._ask(Request(work=work, broken_off=True))
            raise Drained
        elif issubclass(kind, dbos_error.DBOSException):  # its steps are those of another version
            self._ask(Request(work=work, reopened=True))
        elif issubclass(kind, Exception):
            self._put_aside(work.key, kind)

    def _put_aside(self, key: str, kind: type[BaseException]) -> None:
        job = self._store.find(key)
        if job is None or not job.is_open:
            return
        failure = Failure(
            code="LF-JOB-010",
            message=f"a defect of the node stopped this job ({kind.__name__})",
            hint="send the line 'error=' of the service's log to the developers; then `lfmri-node retry`",
            transient=False,
        )
        logs.event("job.defect", level=logging.ERROR, job=job.name, code=failure.code)
        self._store.quarantine(key, failure)


def _unrecorded(action: Callable[..., T], *arguments: object) -> T:
    """Do something as a step whose failure DBOS must not keep, because it would be raised again for ever.

    Raises
    ------
    Drained
        In place of an error of the job table or the disk.
    """
    try:
        return action(*arguments)
    except (OSError, sqlite3.Error) as error:
        raise Drained from error


class _Guard:
    """Tells how a workflow was left, and what came of its try."""

    def __init__(self, workflows: Workflows, work: Work) -> None:
        self._workflows = workflows
        self._work = work
        self._move: Move | None = None

    def __enter__(self) -> _Guard:
        return self

    def came_of(self, move: Move) -> bool:
        """Note what came of the try; whether it is what was wanted."""
        self._move = move
        return move.then == "go"

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._workflows.left(self._work, kind, self._move)
