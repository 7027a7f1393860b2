"""``lfmri-node reprocess``: archived raw data once more, with other weights or another method.

Nothing on record is touched. Weights and method are part of what names a job and its objects, so what comes
out is series of their own, which say in their names what made them. The same request twice is one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from datetime import date, datetime, time
from pathlib import Path

from lfmri_node.dicom_io.errors import DicomIoError
from lfmri_node.dicom_io.raw_data.received import ReceivedMeasurement, recall_measurement
from lfmri_node.node.config import Config
from lfmri_node.node.errors import JobError
from lfmri_node.node.files import write_text
from lfmri_node.node.jobs.engine import ask_for_retry
from lfmri_node.node.jobs.job import Identity, Job
from lfmri_node.node.jobs.recipe import Recipe, measurement_key
from lfmri_node.node.jobs.retry import is_served
from lfmri_node.node.jobs.store import Store
from lfmri_node.node.jobs.tables import databases_of, no_table
from lfmri_node.node.jobs.writer import now
from lfmri_node.node.layout import Layout
from lfmri_node.node.whose import whose_job
from lfmri_node.recon.settings import Method

_AFTER_SCANNERS = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Which measurements, and how; every criterion that is given has to hold.

    Parameters
    ----------
    study
        StudyInstanceUID.
    job
        First digits of a measurement's or scan's key.
    since
        Received on this day or later, by the clock of this machine.
    """

    study: str | None = None
    job: str | None = None
    since: date | None = None
    weights: Path | None = None
    method: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Again:
    """What becomes of one measurement.

    Parameters
    ----------
    first
        Name of the measurement on record.
    name
        Of the one that is made of it; "" where nothing is.
    why_not
        "" where it is reconstructed again.
    """

    first: str
    name: str
    why_not: str = ""

    def to_json(self) -> dict[str, str]:
        return asdict(self)


def reprocess(config: Config, wanted: Wanted, *, dry_run: bool) -> list[Again]:
    """Put measurements on record once more, with another recipe, behind everything that waits.

    Raises
    ------
    JobError
        LF-JOB-003 no job table, LF-JOB-005 no such job, LF-OPS-006 no measurement fits.
    InvalidModel
        The weights are missing, altered or without model card.
    """
    layout = Layout(root=config.node.data_dir)
    databases = databases_of(config)
    if not databases.present:
        raise no_table()
    asked = _asked(config, wanted)
    Recipe.of(asked)
    with closing(Store(databases.table)) as store:
        serving = is_served(config, store)
        chosen = list(_chosen(store, layout, wanted))
        if not chosen:
            raise JobError(
                "LF-OPS-006", "no measurement on record fits", "`lfmri-node status --last 0` lists all"
            )
        found = [_again(store, layout, asked, job, dry_run=dry_run) for job in chosen]
    if not dry_run and serving:
        for item, key in found:
            if key is not None and not item.why_not:
                ask_for_retry(databases.engine_url, key, now().isoformat())
    return [item for item, _ in found]


def _asked(config: Config, wanted: Wanted) -> Config:
    """The configuration with what is asked for, which stands over every pipeline."""
    changes: dict[str, object] = {}
    if wanted.method is not None:
        changes["method"] = Method(wanted.method)
    if wanted.weights is not None:
        changes |= {"weights": wanted.weights.absolute(), "weights_sha256": None}
    if not changes:
        return config
    return config.model_copy(update={"recon": config.recon.model_copy(update=changes), "pipelines": ()})


def _chosen(store: Store, layout: Layout, wanted: Wanted) -> Iterator[Job]:
    """Measurements that fit; of one that came of another before, the first."""
    named = None
    if wanted.job is not None:
        job = store.job(wanted.job)
        named = job.parent or job.key
    begin = datetime.combine(wanted.since, time()).astimezone() if wanted.since is not None else None
    seen: set[tuple[Path, ...]] = set()
    for job in store.measurements():
        paths = tuple(store.sources(job.key))
        if job.superseded or paths in seen or (named is not None and job.key != named):
            continue
        if begin is not None and job.received_at < begin:
            continue
        if wanted.study is not None and whose_job(store, layout, job)[1] != wanted.study:
            continue
        seen.add(paths)
        yield job


def _recalled(paths: Sequence[Path]) -> ReceivedMeasurement | None:
    """What the spool knows of a measurement; None where it is not there any more."""
    try:
        return recall_measurement(paths)
    except (OSError, DicomIoError):
        return None


def _again(
    store: Store, layout: Layout, config: Config, job: Job, *, dry_run: bool
) -> tuple[Again, str | None]:
    paths = store.sources(job.key)
    received = None if store.is_purged(job.key, "raw") else _recalled(paths)
    if received is None:
        return Again(first=job.name, name="", why_not="its raw data are not here any more"), None
    if job.identity is Identity.MISSING:
        return Again(first=job.name, name="", why_not="nobody has said whose it is"), None
    before = Recipe.from_json(job.recipe)
    recipe = replace(Recipe.of(config, job.calling_ae), correction=before.correction)
    key = measurement_key(received.context, received.sha256, recipe)
    if store.find(key) is not None:
        return Again(first=job.name, name=key[:12], why_not="on record with these weights and method"), key
    if not dry_run:
        if job.identity is Identity.ASSIGNED:
            said = layout.assigned(job.key).read_text(encoding="utf-8")
            write_text(layout.assigned(key), said)
        store.add_measurement(
            key=key,
            source_sha256=received.sha256,
            calling_ae=job.calling_ae,
            received_at=now(),
            recipe=recipe.to_json(),
            parts=paths,
            identity=job.identity,
            priority=_AFTER_SCANNERS,
        )
    return Again(first=job.name, name=key[:12]), key
