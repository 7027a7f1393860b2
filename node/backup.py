"""``lfmri-node backup``: what a node needs to go on elsewhere, taken while it runs.

The copy has the shape of a data directory. It holds the job table as it was at one moment, every Raw Data
object of which not everything was delivered, the objects that wait for a destination, the audit trail,
configuration and weights. What was delivered lies in the PACS and is not in it. Nor is the engine's
database: it remembers intermediate results that are not in the copy, and from the job table a new one is made
(decision 2).
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from lfmri_node.dicom_io.files import sync_directory, sync_file
from lfmri_node.dicom_io.raw_data.received import value_path
from lfmri_node.node.config import Config
from lfmri_node.node.errors import JobError
from lfmri_node.node.files import OTHERS, write_text
from lfmri_node.node.jobs.copies import Contents, Copied, copy_database
from lfmri_node.node.jobs.recipe import software_version
from lfmri_node.node.layout import Layout

NOTE = "backup.json"
DATA = "data"
_FORMAT = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Backup:
    """What was copied.

    Parameters
    ----------
    at
        ISO 8601: what was received until then is in it.
    raw, objects
        Files.
    weights
        Files of a site's own weights.
    """

    format: int
    at: str
    version: str
    raw: int
    objects: int
    n_bytes: int
    weights: tuple[str, ...]


def back_up(config: Config, file: Path | None, folder: Path) -> Backup:
    """Copy into ``folder``, which is new or empty; its note is written last, when everything is on disk.

    Parameters
    ----------
    file
        The configuration file; None where there is none.

    Raises
    ------
    JobError
        LF-JOB-003 there is no job table, LF-JOB-074 it is in PostgreSQL, LF-OPS-005 the folder holds
        something.
    OSError, sqlite3.Error
        Something cannot be read or written.
    """
    layout, copy = Layout(root=config.node.data_dir), Layout(root=folder.absolute() / DATA)
    if config.queue.url is not None:
        raise JobError(
            "LF-JOB-074",
            "the job table is in PostgreSQL, whose own tools copy it",
            "`pg_dump` first, then copy node.data_dir (deploy/docs/several-workers.md)",
        )
    if not layout.job_table.exists():
        raise JobError("LF-JOB-003", "this node has no job table yet", "start `lfmri-node serve` once")
    os.umask(OTHERS)
    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.iterdir()):
        raise JobError(
            "LF-OPS-005", f"{folder} holds something already", "name a folder that is new or empty"
        )
    at = datetime.now(UTC)
    copy_database(layout.job_table, copy.job_table)
    with closing(Copied(copy.job_table)) as table:
        table.rewind()
    with closing(Contents(copy.job_table)) as table:
        raw = _copied(_kept_raw(layout, _moved(table.over(), copy, layout)), layout, copy)
        objects = _copied(_moved(table.undelivered(), copy, layout), layout, copy)
    if layout.audit.is_dir():
        shutil.copytree(layout.audit, copy.audit)
    weights = _weights(config, folder)
    if file is not None:
        shutil.copyfile(file, folder / "config.toml")
    _sync(folder)
    made = Backup(
        format=_FORMAT,
        at=at.isoformat(timespec="seconds"),
        version=software_version(),
        raw=len(raw),
        objects=len(objects),
        n_bytes=sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()),
        weights=weights,
    )
    write_text(folder / NOTE, json.dumps(asdict(made), indent=1) + "\n")
    return made


def _moved(paths: set[Path] | Iterator[Path], copy: Layout, layout: Layout) -> set[Path]:
    """Paths below the data directory, of those that the copied table names."""
    return {layout.root.absolute() / path.relative_to(copy.root) for path in paths}


def _kept_raw(layout: Layout, over: set[Path]) -> Iterator[Path]:
    """Every Raw Data object but those of which nothing is left to do; also what no job knows yet."""
    for folder in (layout.raw, layout.accepted):
        for path in sorted(folder.absolute().glob("*.dcm")):
            if path not in over:
                yield path
                yield value_path(path)
    yield from sorted(layout.root.absolute().glob("spool/assigned/*.json"))


def _copied(paths: set[Path] | Iterator[Path], layout: Layout, copy: Layout) -> list[Path]:
    """Copy to the same place below the copy. What vanished meanwhile was delivered, or is made again."""
    done = []
    for path in sorted(paths):
        target = copy.root / path.relative_to(layout.root.absolute())
        target.parent.mkdir(parents=True, exist_ok=True)
        with suppress(FileNotFoundError):
            shutil.copyfile(path, target)
            done.append(target)
    return done


def _weights(config: Config, folder: Path) -> tuple[str, ...]:
    """The site's own weights with their cards, each below ``weights`` under its whole path; those of the
    package come with the package."""
    named = (config.recon.weights, *(pipeline.weights for pipeline in config.pipelines))
    chosen = dict.fromkeys(path.absolute() for path in named if path is not None)
    files = [
        file
        for path in chosen
        for file in (path, path.with_suffix(".json"), path.with_suffix(".md"))
        if file.exists()
    ]
    for file in files:
        copied = folder / "weights" / file.relative_to(file.anchor)
        copied.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, copied)
    return tuple(str(file) for file in files)


def _sync(folder: Path) -> None:
    for path in folder.rglob("*"):
        if path.is_dir():
            sync_directory(path)
        else:
            sync_file(path)
    sync_directory(folder)
