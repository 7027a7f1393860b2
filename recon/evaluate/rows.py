"""One row a method and slice, in a CSV file that survives a kill: the record that every table is made of."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, NamedTuple

from lfmri_node.recon.errors import LabError

TRUE, FALSE = "1", "0"


class RowKey(NamedTuple):
    """What makes a row: it is computed once."""

    dataset: str
    method: str
    run: str
    weights: str
    seed: int
    acceleration: float
    sample: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """What one method made of one slice. None: not measured or not applicable.

    Parameters
    ----------
    dataset
        ``held-out`` (simulated from test subjects), ``measured-like`` (the same with line errors),
        ``real-lesions``, the name of a measured set, or of a data set of the user.
    method, run, weights
        Row label of the tables; name of the training run and first 12 hex digits of the SHA-256 of its
        weights, empty for a classical method. Runs of one recipe with several seeds share a label.
    seed, sample
        Which slice: ``seed`` is that of the evaluation.
    group
        Data set, PD, PDFS, SKM-TEA or simulated anatomy.
    volume
        Slices of one volume share their data range and are averaged as fastMRI does.
    field_strength_t
        Of the scanner, tesla; None where the source does not state it.
    label, lesion_kind
        Image-level truth; ``real``, the kind inserted, or empty.
    boxes, boxes_dropped
        Boxes that were measured, and those left out as empty.
    detail_kept, detail_correlation
        See `detail.Detail`.
    lf_psnr, lf_ssim, lf_psnr_crop
        Means over the boxes.
    lesion_px, lesion_cnr
        Of a masked lesion in the truth, see `detail.LesionFacts`.
    lf_psnr_outline, contrast_kept
        Inside the outline of a masked lesion and 2 px around it; lesion against its ring, after over before.
    score, diagnosis_score
        Probability of a lesion by Net_c of the method, and by the diagnosis classifier.
    pointed, pointed_inside, iou, energy_inside, pointing_chance
        See `lesion_metrics.MapQuality`; ``iou`` holds one value a threshold.
    data_residual
        norm(A x - y) / norm(y).
    seconds
        Of the reconstruction alone.
    """

    dataset: str
    method: str
    run: str
    weights: str
    seed: int
    subject: str
    volume: str
    group: str
    field_strength_t: float | None
    acceleration: float
    sample: str
    label: bool | None
    lesion_kind: str
    psnr: float | None
    ssim: float | None
    nmse: float | None
    detail_kept: float | None
    detail_correlation: float | None
    boxes: int
    boxes_dropped: int
    lf_psnr: float | None
    lf_ssim: float | None
    lf_psnr_crop: float | None
    lesion_px: int | None
    lesion_cnr: float | None
    lf_psnr_outline: float | None
    contrast_kept: float | None
    score: float | None
    pointed: bool | None
    pointed_inside: bool | None
    iou: tuple[float, ...] | None
    energy_inside: float | None
    pointing_chance: float | None
    diagnosis_score: float | None
    data_residual: float | None
    seconds: float | None

    @property
    def key(self) -> RowKey:
        return RowKey(
            self.dataset,
            self.method,
            self.run,
            self.weights,
            self.seed,
            self.acceleration,
            self.sample,
        )


NAMES = tuple(field.name for field in fields(Row))
_KINDS: dict[str, str] = {field.name: str(field.type).partition(" ")[0] for field in fields(Row)}


def to_cell(value: object) -> str:
    """Text of one field: empty for None, floats in full, tuples joined by semicolons."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return TRUE if value else FALSE
    if isinstance(value, tuple):
        return ";".join(repr(float(v)) for v in value)
    return repr(value) if isinstance(value, float) else str(value)


def from_cell(name: str, text: str) -> Any:
    """Inverse of `to_cell`. Raises ValueError for text that does not fit the field."""
    kind = _KINDS[name]
    if kind == "str":
        return text
    if text == "":
        return None
    if kind == "bool":
        return text == TRUE
    if kind.startswith("tuple"):
        return tuple(float(v) for v in text.split(";"))
    return int(text) if kind == "int" else float(text)


class RowFile:
    """Rows of a CSV file; appended a slice at a time, in one write that is forced to disk.

    A line torn by a kill has no end: it is cut off when the file is opened, and computed again.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        if path.exists():
            _drop_torn_line(path)
        if not path.exists() or path.stat().st_size == 0:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._write(",".join(NAMES) + "\n")
        self._keys = {row.key for row in self}

    def __iter__(self) -> Iterator[Row]:
        return read_rows(self.path)

    def __contains__(self, key: RowKey) -> bool:
        return key in self._keys

    def __len__(self) -> int:
        return len(self._keys)

    def append(self, rows: Iterable[Row]) -> None:
        """Add the rows of one slice; those already there are left out."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        new = [row for row in rows if row.key not in self._keys]
        for row in new:
            writer.writerow([to_cell(getattr(row, name)) for name in NAMES])
        if new:
            self._write(text.getvalue())
            self._keys.update(row.key for row in new)

    def _write(self, text: str) -> None:
        with self.path.open("a", encoding="utf-8", newline="") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())


def _drop_torn_line(path: Path) -> None:
    with path.open("rb+") as file:
        content = file.read()
        whole = content.rfind(b"\n") + 1
        if whole != len(content):
            file.truncate(whole)


def read_rows(path: Path) -> Iterator[Row]:
    """Stream the rows of ``slices.csv``.

    Raises LabError (LF-LAB-020) where the columns or a value are not those of this version.
    """
    with path.open(encoding="utf-8", newline="") as file:
        reader = csv.reader(file)
        if tuple(next(reader, ())) != NAMES:
            raise _unreadable(path, "columns")
        for cells in reader:
            try:
                yield Row(**{name: from_cell(name, text) for name, text in zip(NAMES, cells, strict=True)})
            except ValueError as error:
                raise _unreadable(path, f"line {reader.line_num}") from error


def _unreadable(path: Path, what: str) -> LabError:
    return LabError(
        "LF-LAB-020",
        f"{path.name} was not written by this version of the evaluation ({what})",
        "choose another output folder, or remove the file to evaluate again",
    )
