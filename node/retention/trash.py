"""Where what goes is moved to before it is deleted; what comes in again at that moment goes back."""

from __future__ import annotations

import shutil
import time
from contextlib import suppress
from pathlib import Path

from lfmri_node.dicom_io.files import sync_directory
from lfmri_node.node.jobs.purges import What
from lfmri_node.node.layout import Layout
from lfmri_node.node.retention.plan import Purge

_SETTLED_S = 3600.0
"""A file that came in, or came in again, more lately than this is left alone: its measurement may not be
on record yet."""


def moved(purge: Purge, trash: Path) -> bool:
    """Move the files away; all are back, and False, where one has just come in again."""
    trash.mkdir(parents=True, exist_ok=True)
    places = {path: trash / _name_in_trash(purge.what, path) for path in purge.paths if path.exists()}
    for path, place in places.items():
        path.rename(place)
    if purge.what is not What.RESULTS and any(is_fresh(place) for place in places.values()):
        for path, place in places.items():
            place.rename(path)
        return False
    for folder in {path.parent for path in places}:
        sync_directory(folder)
    return True


def _name_in_trash(what: What, path: Path) -> str:
    """A raw file keeps its name, by which it finds back; folders of one job are called alike."""
    return f"{path.parent.name}-{path.name}" if what is What.RESULTS else path.name


def empty_trash(layout: Layout) -> None:
    """Delete what purges, also those that were killed, have moved away.

    A raw file that came in again at that very moment goes back: its sender was told success.
    """
    for path in layout.trash.glob("*/*"):
        if path.is_file() and is_fresh(path) and not (layout.raw / path.name).exists():
            path.rename(layout.raw / path.name)
    with suppress(FileNotFoundError):
        shutil.rmtree(layout.trash)


def is_fresh(path: Path) -> bool:
    """Whether somebody may count on a file or folder: it came or changed within the hour."""
    try:
        return time.time() - path.stat().st_mtime < _SETTLED_S
    except FileNotFoundError:
        return False
