"""Carries out what `plan` decided, and sweeps up what nobody needs any more; safe to be killed anywhere."""

from __future__ import annotations

import fcntl
import os
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path

from lfmri_node.node import logs
from lfmri_node.node.config import Config
from lfmri_node.node.errors import JobError
from lfmri_node.node.jobs.purges import Holding, Purges, State, What
from lfmri_node.node.layout import Layout
from lfmri_node.node.retention.parts import carry_out_parts, overdue_parts, overdue_streams
from lfmri_node.node.retention.plan import Footprint, Purge, plan
from lfmri_node.node.retention.trash import empty_trash, is_fresh, moved


def decide(store: Purges, config: Config, at: datetime) -> list[Purge]:
    """What has to go now."""
    layout = Layout(root=config.node.data_dir)
    holdings = store.holdings()
    footprints = {holding.key: _footprint(layout, holding) for holding in holdings}
    parts = overdue_parts(layout, config.retention.incomplete_days, at)
    streams = overdue_streams(layout, config.retention.incomplete_days, at)
    beside = _beside(layout, footprints)
    return [*plan(holdings, footprints, config.retention, at, beside), *parts, *streams]


def carry_out(store: Purges, layout: Layout, purge: Purge) -> bool:
    """Delete one thing; False where it is needed again and stays.

    The mark comes first, so that no retry counts on what goes. Files are moved into ``trash`` and
    recorded as gone in one transaction, which excludes that the same measurement is recorded anew
    meanwhile; what lies in ``trash`` is nobody's, whatever happened before.
    """
    if purge.what is What.RECORDS:
        store.forget(purge.key)
        return True
    if purge.what is What.PARTS:
        return carry_out_parts(store, layout, purge)
    store.mark(purge.key, purge.what)
    trash = layout.trash / f"{purge.key[:32]}-{purge.what}"
    with store.carrying_out(purge.key, purge.what) as wanted:
        if not wanted or not moved(purge, trash):
            return False
    empty_trash(layout)
    logs.event("retention.purged", job=purge.key[:12], what=purge.what, bytes=purge.n_bytes)
    return True


@contextmanager
def alone(layout: Layout) -> Iterator[None]:
    """Be the only one that deletes.

    Raises
    ------
    JobError
        LF-RET-002 where another process does.
    """
    descriptor = os.open(layout.state / "purge.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError:
        raise JobError("LF-RET-002", "another process is deleting already", "wait until it is done") from None
    finally:
        os.close(descriptor)


def sweep(store: Purges, layout: Layout, *, keep_reconstructions: bool) -> int:
    """Remove empty folders of intermediate results, and those of finished jobs; returns how many.

    Those that changed lately stay: a worker may just have made them.
    """
    done = {
        key[:32]
        for holding in store.holdings()
        if holding.state in (State.DELIVERED, State.KEPT)
        for key in holding.keys
    }
    n = 0
    for folder in layout.works():
        if is_fresh(folder):
            continue
        if folder.name in done and not keep_reconstructions:
            shutil.rmtree(folder, ignore_errors=True)
        with suppress(OSError):  # not empty
            folder.rmdir()
        n += not folder.exists()
    return n


def purge_refused(layout: Layout, days: float | None) -> list[Path]:
    """Raw Data objects that were refused longer ago than ``days``: their senders know that."""
    if days is None:
        return []
    limit = time.time() - days * 86_400.0
    return [path for path in layout.refused() if path.stat().st_mtime < limit]


def _footprint(layout: Layout, holding: Holding) -> Footprint:
    folders = [
        folder
        for key in holding.keys
        for folder in (layout.objects(key), layout.work(key))
        if folder.is_dir()
    ]
    names = [path for name in holding.raw for path in (name, name.with_suffix(".json"))]
    files = [path for path in (*names, layout.assigned(holding.key)) if path.exists()]
    return Footprint(
        results={folder: sum(_sizes(folder)) for folder in folders},
        raw={path: path.stat().st_size for path in files},
        fresh=any(is_fresh(path) for path in files),
    )


def _beside(layout: Layout, footprints: Mapping[str, Footprint]) -> int:
    """Bytes in the spool that no measurement holds: incomplete, refused, and corrected scans."""
    held = {path for footprint in footprints.values() for path in footprint.raw}
    return sum(
        _size_of(Path(root, name))
        for root, _, names in os.walk(layout.spool)
        for name in names
        if Path(root, name) not in held
    )


def _size_of(path: Path) -> int:
    """Bytes of a file; 0 where it is gone."""
    try:
        return path.lstat().st_size
    except FileNotFoundError:
        return 0


def _sizes(folder: Path) -> Iterator[int]:
    for root, _, names in os.walk(folder):
        for name in names:
            yield _size_of(Path(root, name))
