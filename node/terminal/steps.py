"""Progress of long work, on stderr: bars on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
from types import TracebackType

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from lfmri_node.node.terminal.tables import console


class Steps:
    """Progress through named steps, each of ``total`` parts, on stderr.

    On a terminal one bar a step; elsewhere one line when a step begins and one when it ends.
    """

    def __init__(self) -> None:
        self._terminal = sys.stderr.isatty()
        self._bars = Progress(
            TextColumn("{task.description:<34}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=console(stderr=True),
            disable=not self._terminal,
        )
        self._tasks: dict[str, TaskID] = {}
        self._shown: dict[str, tuple[int, int]] = {}

    def __enter__(self) -> Steps:
        self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bars.stop()

    def show(self, step: str, done: int, total: int) -> None:
        """Bring a step to ``done`` of ``total``."""
        if self._terminal:
            if step not in self._tasks:
                self._tasks[step] = self._bars.add_task(step, total=total)
            self._bars.update(self._tasks[step], completed=done, total=total)
            return
        before = self._shown.get(step)
        self._shown[step] = (done, total)
        if before is None or (done == total and before != (done, total)):
            print(f"{step}: {done}/{total}", file=sys.stderr, flush=True)
