"""The parent's side of the worker: one long-lived child process that does all numerics.

One JSON object a line goes in on stdin and comes back on stdout. The child imports torch and SigPy;
this process never does, so the listener stays small and a crash in numerics cannot take it down.
"""

from __future__ import annotations

import json
import os
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any

from lfmri_node.node.errors import StageFailed, WorkerDied

Progress = Callable[[int, int], None]

PATIENT_THREADS = {"OMP_WAIT_POLICY": "PASSIVE"}
"""Threads that wait for one another sleep instead of spinning. On a machine that does other work too
this halved the CPU time of a reconstruction; the environment of the service wins over it."""

_LOG_LIMIT_BYTES = 10_000_000


class WorkerProcess:
    """Starts the worker when it is first needed, again when it has died, and talks to it.

    Parameters
    ----------
    command
        Program and arguments of the worker.
    log
        File that takes the worker's stderr.
    stage_limit_s
        A request that takes longer is answered by killing the worker.
    """

    def __init__(self, command: Sequence[str], *, log: Path, stage_limit_s: float) -> None:
        self._command = list(command)
        self._log = log
        self._stage_limit_s = stage_limit_s
        self._process: subprocess.Popen[str] | None = None
        self._turn = threading.RLock()
        self._next_id = 0

    @property
    def process_id(self) -> int | None:
        """Process id of the living worker; None where there is none."""
        process = self._process
        return process.pid if process is not None and process.poll() is None else None

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Have the worker to oneself for the length of the block; others wait."""
        with self._turn:
            yield

    def start(self) -> None:
        """Start the worker now, so that its imports are done when the first job comes."""
        with self._turn:
            self._living()

    def call(
        self, operation: str, task: Mapping[str, object], progress: Progress | None = None
    ) -> dict[str, Any]:
        """Have the worker do ``operation`` on ``task``; one request at a time, callers wait their turn.

        Returns
        -------
        What the worker answered.

        Raises
        ------
        StageFailed
            The worker answered with an error.
        WorkerDied
            LF-JOB-011 the process ended before it answered; LF-JOB-012 it was stopped because the
            request took longer than ``stage_limit_s``.
        """
        with self._turn:
            process = self._living()
            self._next_id += 1
            request = {"id": self._next_id, "operation": operation, "task": dict(task)}
            overdue = threading.Event()
            alarm = threading.Timer(self._stage_limit_s, self._overdue, (process, overdue))
            alarm.daemon = True
            alarm.start()
            try:
                answer = self._converse(process, request, progress)
            finally:
                alarm.cancel()
            if answer is None:
                raise self._death(process, timed_out=overdue.is_set())
            return _unpack(answer)

    def _converse(
        self, process: subprocess.Popen[str], request: Mapping[str, object], progress: Progress | None
    ) -> dict[str, Any] | None:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            process.stdin.write(json.dumps(request) + "\n")
            process.stdin.flush()
        except (BrokenPipeError, ValueError):
            return None
        for line in process.stdout:
            answer: dict[str, Any] = json.loads(line)
            if answer.get("id") != request["id"]:
                continue
            if "progress" not in answer:
                return answer
            if progress is not None:
                progress(*answer["progress"])
        return None

    @staticmethod
    def _overdue(process: subprocess.Popen[str], overdue: threading.Event) -> None:
        overdue.set()
        process.kill()

    def _death(self, process: subprocess.Popen[str], *, timed_out: bool) -> WorkerDied:
        status = process.wait()
        if timed_out:
            return WorkerDied(
                "LF-JOB-012",
                f"a stage took longer than {self._stage_limit_s:.0f} s and was stopped",
                "raise recon.stage_limit_s if this size of scan is expected",
            )
        how = f"signal {-status}" if status < 0 else f"exit status {status}"
        return WorkerDied(
            "LF-JOB-011",
            f"the reconstruction process ended during a stage ({how})",
            "signal 9 often means out of memory; see logs/worker.log in the data directory",
        )

    def _living(self) -> subprocess.Popen[str]:
        if self._process is not None and self._process.poll() is None:
            return self._process
        self._log.parent.mkdir(parents=True, exist_ok=True)
        if self._log.exists() and self._log.stat().st_size > _LOG_LIMIT_BYTES:
            self._log.replace(self._log.with_suffix(".log.1"))
        with self._log.open("ab") as stderr:
            self._process = subprocess.Popen(
                self._command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stderr,
                encoding="utf-8",
                env={**PATIENT_THREADS, **os.environ},
                start_new_session=True,  # a Ctrl-C at the terminal is for the service to handle
            )
        return self._process

    def stop(self) -> None:
        """End the worker: its stdin is closed, which it takes as the order to leave at once."""
        process = self._process
        if process is None:
            return
        assert process.stdin is not None
        with suppress(BrokenPipeError):
            process.stdin.close()
        try:
            process.wait(timeout=5.0)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def __enter__(self) -> WorkerProcess:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def _unpack(answer: Mapping[str, object]) -> dict[str, Any]:
    error = answer.get("error")
    if isinstance(error, dict):
        raise StageFailed(
            str(error["code"]),
            str(error["message"]),
            str(error["hint"]),
            transient=bool(error["transient"]),
            refused=bool(error["refused"]),
        )
    result = answer["result"]
    assert isinstance(result, dict)
    return result
