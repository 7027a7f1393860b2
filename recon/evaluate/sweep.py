"""Every method on every case, streamed, with a progress bar; a killed evaluation goes on where it stopped."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from lfmri_node.recon.errors import LabError
from lfmri_node.recon.evaluate.cases import Case
from lfmri_node.recon.evaluate.methods import (
    ClassicalMethod,
    Method,
    classical_methods,
    regularised,
    search_lambda,
    timed,
)
from lfmri_node.recon.evaluate.rows import Row, RowFile, RowKey
from lfmri_node.recon.evaluate.scoring import Diagnosis, row_of

SIGNATURE_TOLERANCE = 1e-3


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseSource:
    """Cases of one data set at one acceleration; each is made when it is asked for.

    Parameters
    ----------
    dataset, acceleration
        As in `rows.Row`.
    samples
        Names of the cases, in order.
    load
        The case of a name: always the same.
    search
        Cases on which the classical rivals' regularisation is searched.
    setting
        Name under which that search is recorded: sources of equal setting share it.
    point_mask
        The cases are sampled in two phase-encode directions, which not every method takes.
    maps_only
        Only the activation map is of interest: no classical method, which has none.
    outlined
        Lesions of the cases are outlined: the ablations that are given an outline as C are run.
    """

    dataset: str
    acceleration: float
    samples: tuple[str, ...]
    load: Callable[[str], Case] = field(repr=False)
    search: Callable[[], list[Case]] = field(repr=False)
    setting: str
    point_mask: bool = False
    maps_only: bool = False
    outlined: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """What is compared: sources of cases, the learned methods, and the diagnosis classifier."""

    sources: tuple[CaseSource, ...]
    learned: Callable[[CaseSource], Sequence[Method]] = field(repr=False)
    diagnosis: Callable[[CaseSource], Diagnosis | None] = field(repr=False)


class Regularisation:
    """The classical rivals' lambdas, searched once a setting and kept in a JSON file.

    ``found``: setting -> method -> lambda.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.found: dict[str, dict[str, float]] = json.loads(path.read_text()) if path.exists() else {}

    def methods(self, source: CaseSource) -> tuple[ClassicalMethod, ...]:
        """The classical methods of a source."""
        found = self.found.setdefault(source.setting, {})
        missing = [method for method in regularised() if method.name not in found]
        cases = source.search() if missing else []
        for method in missing:
            found[method.name] = search_lambda(method, cases)
            write_json(self.found, self._path)
        return classical_methods(self.found[source.setting])


class Slices:
    """What the slices of each source looked like when its first row was computed, in a JSON file.

    A changed simulation makes other slices of the same names; rows of both must not meet in one file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._known: dict[str, list[float]] = json.loads(path.read_text()) if path.exists() else {}

    def check(self, source: CaseSource, seed: int, rows: RowFile) -> None:
        """Raises LabError (LF-LAB-023) where ``rows`` were computed on another first slice, or on nobody
        knows which."""
        name = f"{source.dataset}, {source.acceleration:g}x, seed {seed}"
        now = source.load(source.samples[0]).signature()
        place = (source.dataset, source.acceleration, seed)
        has_rows = any(place == (row.dataset, row.acceleration, row.seed) for row in rows)
        before = self._known.get(name) if has_rows else now
        if before is None or not np.allclose(before, now, rtol=SIGNATURE_TOLERANCE):
            raise LabError(
                "LF-LAB-023",
                f"the slices of {name} are not those that the rows of this folder were computed on",
                "choose another output folder, or remove this one's slices.csv and slices.json",
            )
        self._known[name] = before
        write_json(self._known, self._path)


def write_json(value: object, path: Path) -> None:
    """The name holds the old or the new content, never a part of it."""
    partial = path.with_suffix(".part")
    partial.write_text(json.dumps(value, indent=1), encoding="utf-8")
    partial.replace(path)


def run(bench: Bench, out: Path, seed: int, *, show: bool = True) -> RowFile:
    """Fill ``out/slices.csv``: one row a method and case; rows already there are not computed again.

    The lambdas of the classical rivals go to ``out/regularisation.json``. Raises LabError (LF-LAB-020, 023)
    where the rows there are of another version or of other slices.
    """
    out.mkdir(parents=True, exist_ok=True)
    rows = RowFile(out / "slices.csv")
    slices = Slices(out / "slices.json")
    regularisation = Regularisation(out / "regularisation.json")
    with _progress(show, sum(len(source.samples) for source in bench.sources)) as advance:
        for source in bench.sources:
            slices.check(source, seed, rows)
            methods = methods_of(bench, regularisation, source)
            diagnosis = bench.diagnosis(source)
            for sample in source.samples:
                _fill(source, sample, methods, rows, seed, diagnosis)
                advance(f"{source.dataset}, {source.acceleration:g}x")
    return rows


def methods_of(bench: Bench, regularisation: Regularisation, source: CaseSource) -> list[Method]:
    """Every method of a source, the classical ones first; without those that cannot take its mask."""
    classical = () if source.maps_only else regularisation.methods(source)
    methods: list[Method] = [*classical, *bench.learned(source)]
    return [method for method in methods if method.takes_point_masks or not source.point_mask]


def _fill(
    source: CaseSource,
    sample: str,
    methods: Sequence[Method],
    rows: RowFile,
    seed: int,
    diagnosis: Diagnosis | None,
) -> None:
    pending = [method for method in methods if key_of(source, method, sample, seed) not in rows]
    if pending:
        case = source.load(sample)
        made: list[Row] = [row_of(case, method, timed(method, case), seed, diagnosis) for method in pending]
        rows.append(made)


def key_of(source: CaseSource, method: Method, sample: str, seed: int) -> RowKey:
    """Key of the row that ``method`` gives on ``sample``."""
    return RowKey(
        source.dataset,
        method.name,
        method.run,
        method.weights,
        seed,
        source.acceleration,
        sample,
    )


@contextmanager
def _progress(show: bool, total: int) -> Iterator[Callable[[str], None]]:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, disable=not show) as bar:
        task = bar.add_task("evaluation", total=total)

        def advance(what: str) -> None:
            bar.update(task, advance=1, description=what)

        yield advance
