"""What a bench says: figures with their rivals, what was not run, and the table at the end."""

from __future__ import annotations

import json
import os
import re
from dataclasses import asdict, dataclass, field
from pathlib import Path

from rich.console import Console
from rich.table import Table

from lfmri_node.recon.processor import PROCESSOR, bfloat16_units


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One figure and what it is compared with; ``ratio`` is value over rival_value."""

    name: str
    value: float
    unit: str
    rival: str | None = None
    rival_value: float | None = None
    ratio: float | None = None


@dataclass(slots=True)
class Report:
    """Collects figures; every section adds to it."""

    figures: list[Figure] = field(default_factory=list)
    not_run: list[str] = field(default_factory=list)

    def add(
        self, name: str, value: float, unit: str, rival: str | None = None, rival_value: float | None = None
    ) -> None:
        """Add a figure, with a rival or alone."""
        ratio = None if rival_value is None or rival_value == 0 else value / rival_value
        self.figures.append(
            Figure(
                name=name,
                value=_rounded(value),
                unit=unit,
                rival=rival,
                rival_value=None if rival_value is None else _rounded(rival_value),
                ratio=None if ratio is None else _rounded(ratio),
            )
        )

    def skip(self, section: str, reason: str) -> None:
        """Say that a section was not run, and why."""
        self.not_run.append(f"{section}: not run: {reason}")

    def write(self, path: Path) -> None:
        """Write the figures as a JSON array of objects."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps([asdict(figure) for figure in self.figures], indent=1) + "\n")

    def print(self) -> None:
        """Print the figures as a table."""
        table = Table("figure", "value", "rival", "its value", "ratio", title="bench")
        for figure in self.figures:
            rival = "" if figure.rival_value is None else f"{figure.rival_value:g} {figure.unit}"
            value = f"{figure.value:g} {figure.unit}"
            table.add_row(figure.name, value, figure.rival or "", rival, _compared(figure))
        console = Console(width=150)
        console.print(table)
        console.print(f"on {processor()}")
        for line in self.not_run:
            console.print(line, style="bold")


def processor() -> str:
    """What the kernel calls the processor, its cores for this process, and whether it knows bfloat16."""
    text = PROCESSOR.read_text(encoding="ascii", errors="replace") if PROCESSOR.exists() else ""
    name = re.search(r"^model name\s*: (.*)$", text, re.MULTILINE)
    units = ", ".join(bfloat16_units()) or "no bfloat16"
    return f"{name[1] if name else 'an unnamed processor'}, {len(os.sched_getaffinity(0))} cores, {units}"


def _compared(figure: Figure) -> str:
    """The ratio; the difference where the unit is a logarithm already."""
    if figure.ratio is None or figure.rival_value is None:
        return ""
    return f"{figure.value - figure.rival_value:+.2f} dB" if figure.unit == "dB" else f"{figure.ratio:.3f}"


def _rounded(value: float) -> float:
    return float(f"{value:.5g}")
