"""Parts of scans that never became complete: they go by an age of their own, and never from under a job."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

from lfmri_node.dicom_io.receive.incomplete import IncompleteScan, incomplete_scans
from lfmri_node.node import logs
from lfmri_node.node.doors.streams import files_of, kept_streams
from lfmri_node.node.jobs.purges import Purges, What, age
from lfmri_node.node.layout import Layout
from lfmri_node.node.retention.plan import Purge
from lfmri_node.node.retention.trash import empty_trash, is_fresh, moved


def overdue_parts(layout: Layout, days: float | None, at: datetime) -> Iterator[Purge]:
    """What is kept of scans of which no part came for so many days; never what came within the hour."""
    for scan in incomplete_scans(layout.spool) if days is not None else ():
        files = _files(layout, scan)
        waits = age(scan.last_at, at)
        if waits >= timedelta(days=days or 0) and not any(is_fresh(path) for path in files):
            yield Purge(
                key=scan.name,
                what=What.PARTS,
                reason=f"{len(scan.missing)} of {scan.n_parts} parts have not come for {waits.days} days,"
                f" retention.incomplete_days = {days:g}",
                paths=tuple(files),
                n_bytes=sum(path.stat().st_size for path in files),
            )


def overdue_streams(layout: Layout, days: float | None, at: datetime) -> Iterator[Purge]:
    """Streams that became no job so many days ago."""
    for note in kept_streams(layout.spool) if days is not None else ():
        waits = age(note.last_at, at)
        if waits >= timedelta(days=days or 0):
            files = files_of(layout.spool, note)
            yield Purge(
                key=note.name,
                what=What.PARTS,
                reason=f"{note.code} {waits.days} days ago, retention.incomplete_days = {days:g}",
                paths=tuple(files),
                n_bytes=sum(path.stat().st_size for path in files),
            )


def carry_out_parts(store: Purges, layout: Layout, purge: Purge) -> bool:
    """Delete the parts of a scan, which their sender was told were received; False where they stay.

    The last part may come at this moment: its job is recorded before the files are moved, and they stay,
    or after it, and then the sender is not told success, because they are gone.
    """
    with store.without_job(purge.paths) as unknown:
        if not unknown or not moved(purge, layout.trash / f"{purge.key}-{purge.what}"):
            return False
    for scan in incomplete_scans(layout.spool):
        if scan.name == purge.key and not _files(layout, scan):
            scan.remove(layout.spool)
    empty_trash(layout)
    logs.event(
        "retention.purged",
        level=logging.WARNING,
        job=purge.key,
        code="LF-RET-004",
        what=purge.what,
        bytes=purge.n_bytes,
        message=purge.reason,
    )
    return True


def _files(layout: Layout, scan: IncompleteScan) -> list[Path]:
    objects = [layout.raw / name for name in scan.files]
    return [path for item in objects for path in (item, item.with_suffix(".json")) if path.exists()]
