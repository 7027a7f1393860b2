"""The parent's side of the worker: one long-lived child process that does all numerics.

One JSON object a line goes in on stdin and comes back on stdout. The child imports torch;
this process never does, so the listener stays small and a crash in numerics cannot take it down.
"""

from __future__ import annotations

import json
import os
import subprocess
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from lfmri_node.node import logs
from lfmri_node.node.errors import StageFailed, WorkerDied

Progress = Callable[[int, int], None]
Weights = tuple[str, str]
"""File of a site's own weights, and its SHA-256."""
Launcher = Callable[[Sequence[Weights]], Sequence[str]]
"""Words before the worker's command, for one that reads these weights."""

ENVIRONMENT = {
    "OMP_WAIT_POLICY": "PASSIVE",
    "MALLOC_MMAP_THRESHOLD_": str(32 << 20),
    "MALLOC_TRIM_THRESHOLD_": str(1 << 30),
    "MALLOC_TOP_PAD_": str(64 << 20),
    "MALLOC_ARENA_MAX": "1",
    "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1",
}
"""Of a process that reconstructs; the environment of the service wins over it.

Threads that wait for one another sleep instead of spinning: on a machine that does other work too this
halved the CPU time of a reconstruction. Memory that was let go stays with the process (mallopt(3)) and comes
in huge pages, so that the kernel clears a fifth of the pages that it did before: the encoding operator of 12
coils took half of the CPU time. Other C libraries than glibc ignore these names."""

_WARM_UP_LIMIT_S = 600.0
_LEAVE_S = 2.0
_ENOUGH, _PATIENCE = 5, 10
"""Good tries that say how fast this node is; so many times what they make expect is too long."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TimeLimit:
    """How long a stage may take: a worker that hangs keeps the others waiting no longer than this."""

    stage_s: float
    slice_s: float

    def of(self, summary: Mapping[str, object], paces: Sequence[float] = ()) -> float:
        """Seconds for a scan; before its header is read, those of a scan without slices.

        Parameters
        ----------
        paces
            Seconds for each unit of `size_of` that the latest good tries of the stage took. With enough of
            them a try has so many times what the slowest of them would have taken, and at least `stage_s`.
        """
        most = self.stage_s + self.slice_s * int(str(summary.get("n_slices", 0)))
        size = size_of(summary)
        if size == 0 or len(paces) < _ENOUGH:
            return most
        return min(most, max(self.stage_s, _PATIENCE * max(paces) * size))


def size_of(summary: Mapping[str, object]) -> int:
    """How much there is to compute: samples of all slices and coils; 0 where that is not known."""
    size = 1
    for name in ("n_slices", "n_coils", "n_pixels"):
        size *= int(str(summary.get(name, 0)))
    return size


class WorkerProcess:
    """Starts the worker when it is first needed, again when it has died, and talks to it.

    One caller at a time: whoever calls has it to itself. `get_ready` may be called beside.

    Attributes
    ----------
    n_starts
        How often a process was started because there was none.
    was_warm
        Whether one has been ready once.

    Parameters
    ----------
    command
        Program and arguments of the worker.
    log
        File that takes the worker's stderr.
    launcher
        May confine it to the files that it is known to need.
    weights
        Those that it may read from the start.
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        log: Path,
        launcher: Launcher = lambda _weights: (),
        weights: Sequence[Weights] = (),
    ) -> None:
        self._command = list(command)
        self._launcher = launcher
        self._weights = list(weights)
        self._log = log
        self._process: subprocess.Popen[str] | None = None
        self._ready = False
        self._warming = threading.Lock()
        self._stopped = False
        self._next_id = 0
        self.n_starts = 0
        self.was_warm = False

    def start(self) -> None:
        """Start the worker now, so that its imports are under way when the first job comes."""
        self._living()

    def get_ready(self) -> None:
        """Return when the worker has made its imports and waits for a request.

        Raises
        ------
        WorkerDied
            LF-JOB-019 it ended before that, or took too long: no job is to blame.
        """
        with self._warming:
            process = self._living()
            if self._ready:
                return
            assert process.stdout is not None
            with _Alarm(process, _WARM_UP_LIMIT_S):
                for line in process.stdout:
                    said = json.loads(line)
                    self._ready = "ready" in said
                    if self._ready:
                        self.was_warm = True
                        if precision := said.get("precision"):
                            logs.event("worker.precision", what=precision)
                        return
        raise WorkerDied(
            "LF-JOB-019",
            f"the reconstruction process cannot start ({_ending(process.wait())})",
            "see logs/worker.log in the data directory; the node tries again by itself",
        )

    def call(
        self,
        operation: str,
        task: Mapping[str, object],
        *,
        limit_s: float,
        progress: Progress | None = None,
        weights: Weights | None = None,
    ) -> dict[str, Any]:
        """Have the worker do ``operation`` on ``task``.

        Parameters
        ----------
        limit_s
            A request that takes longer is answered by killing the worker.
        weights
            What the operation reads; a process that may not is replaced by one that may.

        Returns
        -------
        What the worker answered.

        Raises
        ------
        StageFailed
            The worker answered with an error.
        WorkerDied
            LF-JOB-011 the process ended before it answered; LF-JOB-012 it was stopped because the
            request took longer than ``limit_s``; LF-JOB-019 it could not start.
        """
        if weights is not None and weights not in self._weights:
            self._let_read(weights)
        self.get_ready()
        process = self._living()
        self._next_id += 1
        request = {"id": self._next_id, "operation": operation, "task": dict(task)}
        with _Alarm(process, limit_s) as alarm:
            answer = self._converse(process, request, progress)
        if answer is None:
            raise _death(process.wait(), limit_s if alarm.rung else None)
        return _unpack(answer)

    def _converse(
        self, process: subprocess.Popen[str], request: Mapping[str, object], progress: Progress | None
    ) -> dict[str, Any] | None:
        assert process.stdin is not None
        try:
            process.stdin.write(json.dumps(request) + "\n")
            process.stdin.flush()
        except (BrokenPipeError, ValueError):
            return None
        assert process.stdout is not None
        for line in process.stdout:
            answer: dict[str, Any] = json.loads(line)
            if answer.get("id") != request["id"]:
                continue
            if "progress" not in answer:
                return answer
            if progress is not None:
                progress(*answer["progress"])
        return None

    def _let_read(self, weights: Weights) -> None:
        with self._warming:
            self._weights.append(weights)
            if self._process is not None and self._process.poll() is None:
                _end(self._process)
                self.n_starts -= 1

    def _living(self) -> subprocess.Popen[str]:
        if self._stopped:
            raise WorkerDied("LF-JOB-019", "the service stops", "start it again")
        if self._process is not None and self._process.poll() is None:
            return self._process
        self._ready = False
        self._log.parent.mkdir(parents=True, exist_ok=True)
        with self._log.open("ab") as stderr:
            self._process = subprocess.Popen(
                [*self._launcher(self._weights), *self._command],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stderr,
                encoding="utf-8",
                env={**ENVIRONMENT, **os.environ},
                start_new_session=True,  # a Ctrl-C at the terminal is for the service to handle
            )
        self.n_starts += 1
        return self._process

    def stop(self) -> None:
        """End the worker for good: its stdin is closed, which it takes as the order to leave at once."""
        self._stopped = True
        if self._process is not None:
            _end(self._process)

    def __enter__(self) -> WorkerProcess:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


class _Alarm:
    """Kills a process that takes longer than a block may; ``rung`` says whether it had to."""

    def __init__(self, process: subprocess.Popen[str], limit_s: float) -> None:
        self._process = process
        self._timer = threading.Timer(limit_s, self._ring)
        self._timer.daemon = True
        self.rung = False

    def _ring(self) -> None:
        self.rung = True
        self._process.kill()

    def __enter__(self) -> _Alarm:
        self._timer.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._timer.cancel()


def _end(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    with suppress(BrokenPipeError):
        process.stdin.close()
    try:
        process.wait(timeout=_LEAVE_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _ending(status: int) -> str:
    return f"signal {-status}" if status < 0 else f"exit status {status}"


def _death(status: int, limit_s: float | None) -> WorkerDied:
    if limit_s is not None:
        return WorkerDied(
            "LF-JOB-012",
            f"a stage took longer than {limit_s:.0f} s and was stopped",
            "raise recon.slice_limit_s or recon.stage_limit_s if this size of scan is expected",
        )
    return WorkerDied(
        "LF-JOB-011",
        f"the reconstruction process ended during a stage ({_ending(status)})",
        "signal 9 often means out of memory; see logs/worker.log in the data directory",
    )


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
