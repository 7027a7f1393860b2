"""What is on record: databases, jobs, parts of scans, and the times of them."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime

from lfmri_node.dicom_io.receive.incomplete import incomplete_scans
from lfmri_node.node.config import Config
from lfmri_node.node.doctor.findings import Finding, State, ok
from lfmri_node.node.doors.streams import kept_streams
from lfmri_node.node.jobs.job import Stage
from lfmri_node.node.jobs.ledger import Ledger
from lfmri_node.node.jobs.tables import databases_of, has_tables
from lfmri_node.node.layout import Layout
from lfmri_node.node.lock import holder


def lock(_config: Config, layout: Layout) -> Iterator[Finding]:
    serving = holder(layout.state)
    yield ok("lock", f"held by process {serving}" if serving is not None else "free: the node is not serving")


def databases(config: Config, layout: Layout) -> Iterator[Finding]:
    """Both SQLite databases, page by page, the node may be writing them meanwhile; or PostgreSQL's answer."""
    if config.queue.url is not None:
        yield from _server(config)
        return
    for path in (layout.job_table, layout.workflows):
        if not path.exists():
            continue
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=rw", uri=True)) as connection:
            connection.execute("PRAGMA query_only=ON")
            if connection.execute("PRAGMA quick_check(1)").fetchone() != ("ok",):
                raise sqlite3.DatabaseError(path.name)
        yield ok(path.name, "is intact")


def _server(config: Config) -> Iterator[Finding]:
    table = databases_of(config).table
    if not has_tables(table):
        yield ok("queue.url", "answers; no job table yet")
        return
    with closing(Ledger(table)) as ledger:
        members = ledger.members()
    yield ok("queue.url", "answers")
    dead = [item.name for item in members if item.silent_s > config.queue.dead_after_s]
    if dead:
        yield Finding(
            check="workers",
            state=State.WARNING,
            message=f"not heard of for more than {config.queue.dead_after_s:g} s: {', '.join(dead)}",
            code="LF-DOC-040",
            hint="start them again; what they had in hand is taken over by any that lives",
        )
    else:
        yield ok("workers", ", ".join(item.name for item in members) or "none is at work")


def jobs(config: Config, _layout: Layout) -> Iterator[Finding]:
    table = databases_of(config).table
    if not has_tables(table):
        yield ok("jobs", "no job table yet")
        return
    with closing(Ledger(table)) as ledger:
        counts = ledger.stage_counts()
    n_jobs, n_held = sum(counts.values()), counts.get(Stage.QUARANTINED, 0)
    if n_held:
        yield Finding(
            check="jobs",
            state=State.WARNING,
            message=f"{n_held} of {n_jobs} in quarantine",
            code="LF-DOC-010",
            hint="`lfmri-node status` names the reasons; `lfmri-node retry` puts them back to work",
        )
    else:
        yield ok("jobs", f"{n_jobs} on record, none in quarantine")


def held(config: Config, _layout: Layout) -> Iterator[Finding]:
    """Scans of which nobody has said whose they are."""
    table = databases_of(config).table
    if not has_tables(table):
        return
    with closing(Ledger(table)) as ledger:
        waiting = ledger.held()
    if waiting:
        yield Finding(
            check="held",
            state=State.WARNING,
            message=f"{len(waiting)} scan(s) held: nobody has said whose they are, {waiting[0].name} for one",
            code="LF-DOC-014",
            hint="`lfmri-node assign` lists them; `lfmri-node assign JOB --identity FILE` lets one go on",
        )
    else:
        yield ok("held", "no scan waits for somebody to say whose it is")


def streams(_config: Config, layout: Layout) -> Iterator[Finding]:
    """Streams that were cut off or refused."""
    kept = kept_streams(layout.spool)
    if kept:
        yield Finding(
            check="streams",
            state=State.WARNING,
            message=f"{len(kept)} stream(s) are no job; the last from {kept[-1].ae_title}: {kept[-1].code}",
            code="LF-DOC-015",
            hint="let the scanner send them again; `lfmri-node status` lists them, retention deletes them",
        )
    else:
        yield ok("streams", "none was cut off or refused")


def parts(config: Config, layout: Layout) -> Iterator[Finding]:
    after_s = config.listener.incomplete_after_s
    waiting = incomplete_scans(layout.spool)
    overdue = [scan for scan in waiting if scan.overdue(datetime.now(UTC), after_s)]
    if overdue:
        missing = sum(len(scan.missing) for scan in overdue)
        yield Finding(
            check="parts",
            state=State.WARNING,
            message=f"{len(overdue)} scan(s) incomplete: {missing} part(s) have not come for {after_s:g} s",
            code="LF-DOC-013",
            hint="let the gateway send the whole measurement again; `lfmri-node status` names the scans",
        )
    else:
        yield ok("parts", f"{len(waiting)} scan(s) wait for parts")
