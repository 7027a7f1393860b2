"""What people see: progress bars and tables on a terminal, plain lines elsewhere."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

_PLAIN_WIDTH = 200


def console(*, stderr: bool = False) -> Console:
    """A rich console; wide where the output is not a terminal, so that no cell is cut."""
    stream = sys.stderr if stderr else sys.stdout
    width = None if stream.isatty() else _PLAIN_WIDTH
    return Console(file=stream, width=width, highlight=False)


def print_json(document: object) -> None:
    """The machine-readable form of an answer, on stdout."""
    print(json.dumps(document, indent=2, sort_keys=True, default=str))


def print_error(code: str, message: str, hint: str) -> None:
    """One line for the error and one for what to do, on stderr."""
    out = console(stderr=True)
    out.print(f"[bold red]error[/] {code}: ", end="")
    out.print(message, markup=False, style="bold")
    out.print(f"hint: {hint}", markup=False)


def print_table(
    title: str, columns: Sequence[str], rows: Sequence[Sequence[object]], *, right: Sequence[str] = ()
) -> None:
    """A table on stdout; ``right`` names the columns of numbers."""
    grid = Table(header_style="bold", show_header=any(columns))
    for column in columns:
        grid.add_column(column, justify="right" if column in right else "left", overflow="fold")
    for row in rows:
        grid.add_row(*(Text("" if cell is None else str(cell)) for cell in row))
    out = console()
    out.print(title, style="bold", markup=False)
    out.print(grid)


def print_pairs(title: str, pairs: Mapping[str, object]) -> None:
    """Names and values, one pair a row."""
    print_table(title, ("", ""), [(name, value) for name, value in pairs.items()])


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
