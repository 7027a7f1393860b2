"""A corrected scan that was refused follows the first, when an operator says so.

The listener puts aside what comes again with other words for patient, study or series (LF-NET-016, -017,
-019): which of the two is right only people know. Accepted, the corrected one becomes a job of its own,
whose objects have UIDs of their own. The first is reconstructed and delivered no more. What of it lies at
the destinations is named, for their administrators to remove: the node deletes nothing there.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from pathlib import Path

from lfmri_node.dicom_io.errors import PayloadError
from lfmri_node.dicom_io.files import sync_directory
from lfmri_node.dicom_io.raw_data.payload import PayloadHeader, read_payload, verify
from lfmri_node.dicom_io.raw_data.received import ReceivedMeasurement
from lfmri_node.node.config import Config
from lfmri_node.node.errors import JobError
from lfmri_node.node.jobs.corrections import Corrections
from lfmri_node.node.jobs.engine import ask_for_retry
from lfmri_node.node.jobs.job import Job
from lfmri_node.node.jobs.recipe import Recipe, measurement_key
from lfmri_node.node.jobs.retry import is_served
from lfmri_node.node.jobs.tables import databases_of, no_table
from lfmri_node.node.jobs.writer import now
from lfmri_node.node.layout import Layout

_REFUSED = re.compile(r"(LF-NET-01[679])-([0-9a-f]{64}\.dcm)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Correction:
    """A refused scan whose samples are on record with other words.

    Parameters
    ----------
    parts
        Those that were refused, in order, from the quarantine.
    firsts
        The measurements on record.
    """

    code: str
    parts: tuple[PayloadHeader, ...]
    firsts: tuple[Job, ...]

    @property
    def name(self) -> str:
        """First digits of the name of its first part."""
        return _accepted_name(self.parts[0].path)[:12]

    @property
    def n_parts(self) -> int:
        """Parts of the whole scan."""
        return self.parts[0].fields.n_parts


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivered:
    """An object of the first that a destination said to hold."""

    destination: str
    series_instance_uid: str
    sop_instance_uid: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted:
    """What became of a correction.

    Parameters
    ----------
    firsts
        Names of the scans, or measurements without scans, that it follows.
    objects
        What of them lies at the destinations.
    """

    name: str
    firsts: tuple[str, ...]
    objects: tuple[Delivered, ...]


def corrections(config: Config) -> list[Correction]:
    """All scans that can be accepted, the longest waiting first.

    Raises
    ------
    JobError
        LF-JOB-003 no job table.
    """
    layout = Layout(root=config.node.data_dir)
    with closing(_table(config)) as table:
        return _corrections(layout, table)


def _table(config: Config) -> Corrections:
    databases = databases_of(config)
    if not databases.present:
        raise no_table()
    return Corrections(databases.table)


def _corrections(layout: Layout, table: Corrections) -> list[Correction]:
    scans: dict[str, dict[int, tuple[str, PayloadHeader]]] = {}
    for path in sorted(layout.refused(), key=lambda path: path.stat().st_mtime):
        if (match := _REFUSED.fullmatch(path.name)) is None:
            continue
        with suppress(PayloadError):
            part = read_payload(path)
            said = json.dumps([part.fields.sha256, part.patient, part.attributes], sort_keys=True)
            scans.setdefault(said, {})[part.fields.part] = (match[1], part)
    found = []
    for parts in scans.values():
        ordered = [parts[number] for number in sorted(parts)]
        firsts = table.measurements_of(ordered[0][1].fields.sha256)
        if firsts:
            headers = tuple(header for _, header in ordered)
            found.append(Correction(code=ordered[0][0], parts=headers, firsts=tuple(firsts)))
    return found


def accept(config: Config, name: str) -> Accepted:
    """Let a refused scan follow the first; again after it was cut off anywhere, it ends what it began.

    A running service takes it up within seconds, a stopped one at its next start.

    Raises
    ------
    JobError
        LF-JOB-003 no job table, LF-JOB-007 the first is being worked on, LF-JOB-043 no such scan, or
        more than one, LF-JOB-045 parts of it are missing.
    PayloadError
        LF-PAY-010 it was damaged in the quarantine.
    """
    layout = Layout(root=config.node.data_dir)
    with closing(_table(config)) as table:
        serving = is_served(config, table)
        if not serving:
            table.forget_running()
        correction = _chosen(_corrections(layout, table), name)
        verify(correction.parts)
        measurement = ReceivedMeasurement(parts=tuple(_linked(layout, part) for part in correction.parts))
        recipe = replace(Recipe.of(config, measurement.calling_ae), correction=measurement.paths[0].stem)
        key = measurement_key(measurement.context, measurement.sha256, recipe)
        firsts = [job for job in correction.firsts if job.key != key]
        scans = [scan for first in firsts for scan in (table.supersede(first, key) or [first])]
        table.add_measurement(
            key=key,
            source_sha256=measurement.sha256,
            calling_ae=measurement.calling_ae,
            received_at=measurement.received_at,
            recipe=recipe.to_json(),
            parts=measurement.paths,
        )
        objects = tuple(item for scan in scans for item in _delivered(table, scan))
    for part in correction.parts:
        part.path.unlink()
    if serving:
        ask_for_retry(databases_of(config).engine_url, key, now().isoformat())
    return Accepted(name=key[:12], firsts=tuple(scan.name for scan in scans), objects=objects)


def _chosen(found: list[Correction], name: str) -> Correction:
    fitting = [item for item in found if item.name.startswith(name)]
    if len(fitting) != 1:
        number = "no refused scan" if not fitting else "more than one refused scan"
        raise JobError("LF-JOB-043", f"{number} of this name", "`lfmri-node accept` lists them")
    (correction,) = fitting
    if len(correction.parts) != correction.n_parts:
        raise JobError(
            "LF-JOB-045",
            f"{len(correction.parts)} of {correction.n_parts} parts of this scan are in the quarantine",
            "let the gateway send all of it again",
        )
    return correction


def _linked(layout: Layout, part: PayloadHeader) -> PayloadHeader:
    """The part under its name among the accepted; the quarantine has it until the job is on record."""
    layout.accepted.mkdir(mode=0o700, exist_ok=True)
    path = layout.accepted / _accepted_name(part.path)
    with suppress(FileExistsError):
        os.link(part.path, path)
    sync_directory(layout.accepted)
    return replace(part, path=path)


def _accepted_name(refused: Path) -> str:
    match = _REFUSED.fullmatch(refused.name)
    assert match is not None
    return match[2]


def _delivered(table: Corrections, job: Job) -> Iterator[Delivered]:
    series = {item.sop_instance_uid: item.series_instance_uid for item in table.objects(job.key)}
    for stored in table.receipts(job.key):
        uid = stored.receipt.sop_instance_uid
        if stored.receipt.delivered:
            yield Delivered(
                destination=stored.receipt.destination,
                series_instance_uid=series[uid],
                sop_instance_uid=uid,
            )
