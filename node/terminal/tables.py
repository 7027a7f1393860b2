"""What people see, and what programs read: tables, errors, and one JSON document on stdout.

Only what people see needs rich, which is imported when it is.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

_PLAIN_WIDTH = 80
WHOLE = frozenset({"job", "code", "scan", "measurement"})
"""Columns of names that people copy: they are never broken."""


def console(*, stderr: bool = False) -> Console:
    """A rich console; of 80 columns where the output is no terminal and COLUMNS does not say otherwise."""
    from rich.console import Console

    stream = sys.stderr if stderr else sys.stdout
    width = None if stream.isatty() or "COLUMNS" in os.environ else _PLAIN_WIDTH
    return Console(file=stream, width=width, highlight=False)


def print_json(document: object) -> None:
    """The machine-readable form of an answer, on stdout."""
    print(json.dumps(document, indent=2, sort_keys=True, default=str), flush=True)


def print_error(code: str, message: str, hint: str) -> None:
    """One line for the error and one for what to do, on stderr."""
    out = console(stderr=True)
    out.print(f"[bold red]error[/] {code}: ", end="", soft_wrap=True)
    out.print(message, markup=False, style="bold", soft_wrap=True)
    out.print(f"hint: {hint}", markup=False, soft_wrap=True)


def table(
    title: str, columns: Sequence[str], rows: Sequence[Sequence[object]], *, right: Sequence[str] = ()
) -> RenderableType:
    """A table; ``right`` names the columns of numbers. Columns without a value in any row are left out."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    texts = [["" if cell is None else str(cell) for cell in row] for row in rows]
    shown = [i for i, _ in enumerate(columns) if any(row[i] for row in texts)]
    grid = Table(
        box=SIMPLE_HEAD,
        header_style="bold",
        padding=(0, 1, 0, 0),
        show_edge=False,
        show_header=any(columns[i] for i in shown),
    )
    for i in shown:
        name = columns[i]
        grid.add_column(
            name, justify="right" if name in right else "left", overflow="fold", no_wrap=name in WHOLE
        )
    for row in texts:
        grid.add_row(*(Text(row[i]) for i in shown))
    return Group(Text(title, style="bold"), *([grid] if shown else []), Text())


def pairs(title: str, values: Mapping[str, object]) -> RenderableType:
    """Names and values, one pair a row."""
    return table(title, ("", ""), list(values.items()))


def show(*blocks: RenderableType) -> None:
    """Print tables on stdout."""
    out = console()
    for block in blocks:
        out.print(block)


def print_table(
    title: str, columns: Sequence[str], rows: Sequence[Sequence[object]], *, right: Sequence[str] = ()
) -> None:
    """Print one `table` on stdout."""
    show(table(title, columns, rows, right=right))
