"""What the pages show, from data directory and job table; no more of patients than `status`."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from lfmri_node.dicom_io.receive.incomplete import incomplete_scans
from lfmri_node.node.config import Config
from lfmri_node.node.console.artefacts import KINDS, Images, NoPicture
from lfmri_node.node.console.calibration import CALIBRATION_KINDS, calibration_plane, n_calibrated
from lfmri_node.node.console.history import KINDS as HISTORY_KINDS
from lfmri_node.node.console.history import days_of, since_of, spread, stage_spreads
from lfmri_node.node.console.lines import lines_of
from lfmri_node.node.console.pictures import Shelf, picture, png
from lfmri_node.node.console.quality import figures_of
from lfmri_node.node.corrections import corrections
from lfmri_node.node.doors.streams import kept_streams
from lfmri_node.node.job_view import job_document
from lfmri_node.node.jobs.job import ORDER, Job, Stage
from lfmri_node.node.jobs.overview import Backlog, Overview
from lfmri_node.node.jobs.tables import databases_of, has_tables
from lfmri_node.node.layout import Layout
from lfmri_node.node.lock import holder
from lfmri_node.node.retention.command import purge_now
from lfmri_node.node.worker.task import CALIBRATION, RECONSTRUCTION

_N_DAYS = 14
_MOST_TRIES = 30
"""Of a job, on its page: a destination that is away for a week is tried hundreds of times."""
_FOLDERS = ("spool", "work", "objects", "state", "logs", "audit", "trash")


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A destination of the configuration, as text; None for ``backlog`` before the node has a job table."""

    name: str
    kind: str
    address: str
    backlog: Backlog | None


class Facts:
    """Everything below the data directory of one configuration; keeps only the images looked at last."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.layout = Layout(root=config.node.data_dir)
        self._databases = databases_of(config)
        self._shelf = Shelf()

    @contextmanager
    def table(self) -> Iterator[Overview]:
        """The job table, for one request.

        Raises
        ------
        JobError
            LF-JOB-003 where the node has none yet.
        """
        with closing(Overview(self._databases.table)) as overview:
            yield overview

    def _has_table(self) -> bool:
        """Whether the node has begun; a server is asked, and says by its error what is wrong."""
        return self._databases.present and has_tables(self._databases.table)

    @property
    def serving(self) -> bool:
        return holder(self.layout.state) is not None

    def frame(self) -> dict[str, Any]:
        """What every page shows: whether the node serves, and how many jobs wait for a person."""
        n_quarantined = 0
        if self._has_table():
            with self.table() as table:
                n_quarantined = table.stage_counts().get(Stage.QUARANTINED, 0)
        return {"serving": self.serving, "n_quarantined": n_quarantined, "now": datetime.now(UTC)}

    def queue(self, most: int) -> dict[str, Any]:
        """The latest jobs, those that wait for a person first, then what is under way, then what is done."""
        with self.table() as table:
            jobs = table.latest(most)
            counts = table.stage_counts()
            taken = table.taken([job.key for job in jobs])
            sizes = {job.key: int(str(job.summary.get("n_objects", 0))) for job in jobs}
            n_unfinished = table.n_unfinished()
            n_held = len(table.held())
            members = table.members()
        ordered = sorted(jobs, key=lambda job: job.received_at, reverse=True)
        return {
            "jobs": sorted(ordered, key=_urgency),
            "counts": counts,
            "n_jobs": sum(counts.values()),
            "n_unfinished": n_unfinished,
            "n_held": n_held,
            "workers": members if any(not member.listens for member in members) else [],
            "n_waiting": sum(job.is_open and job.failure is not None for job in jobs),
            "taken": taken,
            "n_objects": sizes,
            "incomplete": incomplete_scans(self.layout.spool),
            "streams": kept_streams(self.layout.spool),
            "overdue_after_s": self.config.listener.incomplete_after_s,
            "stages": ORDER[:6],
        }

    def quarantine(self) -> dict[str, Any]:
        """Jobs that wait for a person, the latest first, and scans that `lfmri-node accept` would take."""
        with self.table() as table:
            jobs = table.quarantined()
        return {"jobs": jobs, "corrections": corrections(self.config)}

    def job(self, name: str) -> dict[str, Any]:
        """One job as `status` shows it, with its shipments, figures and lines."""
        with self.table() as table:
            job = table.job(name)
            document = job_document(table, job)
            scans = table.scans(job.key) if job.is_measurement else []
            shipments = table.shipments(job.key)
            parent = table.find(job.parent) if job.parent else None
            timings = table.timings(job.key)
            if parent is not None:
                timings = [*table.timings(parent.key), *timings]
            taken = table.taken([job.key]).get(job.key, {})
        names = [job.name] if parent is None else [parent.name, job.name]
        file = self.config.logging.file
        return {
            "job": job,
            "document": document,
            "scans": scans,
            "shipments": shipments,
            "taken": taken,
            "timings": timings[-_MOST_TRIES:],
            "n_tries": len(timings),
            "figures": figures_of(job),
            "reasons": job.summary.get("reasons", []),
            "stages": ORDER[:6],
            "lines": None if file is None else lines_of(names, file),
        }

    def images(self, name: str) -> tuple[Job, Images]:
        """The images of a job.

        Raises
        ------
        NoPicture
            LF-CON-004, LF-CON-005.
        """
        with self.table() as table:
            job = table.job(name)
            objects = table.objects(job.key)
        return job, self._shelf.images(job.key, self.layout.work(job.key) / RECONSTRUCTION, objects)

    def picture(self, name: str, kind: str, number: int) -> bytes:
        """PNG of one slice, counted from 1; see `images` for what is raised."""
        if kind in CALIBRATION_KINDS:
            with self.table() as table:
                job = table.job(name)
            plane = calibration_plane(self.layout.work(job.key) / CALIBRATION, kind, number - 1)
            if plane is None:
                raise NoPicture("LF-CON-004", "no such picture of this job", "the page of the job says why")
            return png(plane)
        job, images = self.images(name)
        threshold = float(str(job.summary.get("lesion_threshold") or 1.0))
        return picture(images, kind, number - 1, threshold=threshold)

    def pictures(self, name: str) -> dict[str, Any]:
        """Which pictures of a job can be shown, and why the others cannot."""
        with self.table() as table:
            purged = table.purged(table.job(name).key)
        try:
            job, images = self.images(name)
        except NoPicture as missing:
            with self.table() as table:
                job = table.job(name)
            return {"images": None, "why_none": _why_none(job, purged, missing)}
        return {
            "images": images,
            "n_calibrated": n_calibrated(self.layout.work(job.key) / CALIBRATION),
            "absent": {kind: _why_absent(job, kind) for kind in KINDS if kind not in images.kinds},
        }

    def destinations(self) -> list[Place]:
        """Every destination of the configuration and what it still has to take."""
        found = []
        for section in self.config.destinations:
            backlog = None
            if self._has_table():
                with self.table() as table:
                    backlog = table.backlog(section.name)
            found.append(Place(name=section.name, kind=section.way, address=section.address, backlog=backlog))
        return found

    def history(self) -> dict[str, Any]:
        """Throughput, latency and verdicts of the last days."""
        now = datetime.now(UTC)
        since = since_of(now, _N_DAYS)
        with self.table() as table:
            outcomes = table.outcomes(since)
            seconds = table.stage_seconds(since)
        days = days_of(outcomes, now.date(), _N_DAYS)
        return {
            "days": days,
            "most": max((day.total for day in days), default=0),
            "totals": {kind: sum(day.counts.get(kind, 0) for day in days) for kind in HISTORY_KINDS},
            "latency": spread([s for day in days for s in day.latencies_s]),
            "spreads": {day.day: spread(day.latencies_s) for day in days},
            "stages": stage_spreads(seconds),
        }

    def storage(self) -> dict[str, Any]:
        """Sizes of what is kept, the disk, the limits, and what goes at the next purge."""
        root = self.layout.root
        disk = shutil.disk_usage(root) if root.exists() else None
        purges, refused = purge_now(self.config, dry_run=True)
        return {
            "sizes": {name: _size_of(root / name) for name in _FOLDERS},
            "disk": disk,
            "floor_gb": self.config.listener.free_space_floor_gb,
            "limits": self.config.retention.model_dump(),
            "purges": purges,
            "refused": refused,
        }


def _urgency(job: Job) -> int:
    if job.stage is Stage.QUARANTINED:
        return 0
    if not job.is_open:
        return 3
    return 1 if job.failure is not None or job.is_held else 2


def _why_none(job: Job, purged: Mapping[str, datetime | None], missing: NoPicture) -> str:
    if missing.code == "LF-CON-005":
        return f"{missing.message}: {missing.hint}."
    if "results" in purged:
        return "The results of this job were deleted by [retention]; the PACS holds what was delivered."
    if not job.reached(Stage.RECONSTRUCTED):
        return "Nothing is reconstructed yet."
    return "Neither reconstruction nor objects of this job are on disk any more."


def _why_absent(job: Job, kind: str) -> str:
    trusted = job.summary.get("verdict") == "TRUSTED"
    if kind == "fallback":
        return (
            "Not kept: where the network is trusted, a fallback is computed only with recon.always_fallback,"
            " and kept only with node.keep_reconstructions."
        )
    if not trusted:
        return "There is none: the network was not used for this scan."
    if kind in ("reference", "difference"):
        return "There is none: the lesion term changed nothing, so the reference is the LF-MRI image."
    return "Not kept."


def _size_of(folder: Path) -> int:
    total = 0
    for root, _, names in os.walk(folder):
        for name in names:
            with suppress(FileNotFoundError):
                total += Path(root, name).lstat().st_size
    return total
