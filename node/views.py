"""What ``status`` shows: documents for ``--json`` and tables for people. Holds no patient data."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from lfmri_node.dicom_io.receive.incomplete import incomplete_scans
from lfmri_node.node.config import Config
from lfmri_node.node.doors.streams import StreamNote, kept_streams
from lfmri_node.node.job_view import job_document, job_tables, moment_text, present
from lfmri_node.node.jobs.job import Job
from lfmri_node.node.jobs.ledger import Ledger
from lfmri_node.node.jobs.records import Member
from lfmri_node.node.jobs.tables import databases_of
from lfmri_node.node.layout import Layout
from lfmri_node.node.lock import holder
from lfmri_node.node.terminal.tables import pairs, table

if TYPE_CHECKING:
    from rich.console import RenderableType


class Status:
    """What ``status`` says of a node, or of one job; looked at anew each time.

    Parameters
    ----------
    job
        First digits of a job; None for all.
    most
        How many jobs; 0: all.
    """

    def __init__(self, config: Config, *, job: str | None, most: int) -> None:
        self._layout = Layout(root=config.node.data_dir)
        self._table = databases_of(config).table
        self._port = config.listener.port
        self._job = job
        self._most = most

    def document(self) -> dict[str, object]:
        """JSON-able form.

        Raises
        ------
        JobError
            LF-JOB-003, LF-JOB-004 as `Ledger`; LF-JOB-005 where there is no such job.
        """
        with closing(Ledger(self._table)) as ledger:
            if self._job is not None:
                return job_document(ledger, ledger.job(self._job))
            process = holder(self._layout.state)
            document = status_document(ledger, process=process, port=self._port, most=self._most)
        streams = [stream_document(note) for note in kept_streams(self._layout.spool)]
        return document | {"incomplete": incomplete_document(self._layout.spool), "streams": streams}

    def tables(self, room: int = 0) -> list[RenderableType]:
        """Tables for people; ``room``: of no more jobs than this, 0: of as many as were asked for.

        Raises
        ------
        JobError
            As `document`.
        """
        process = holder(self._layout.state)
        with closing(Ledger(self._table)) as ledger:
            if self._job is not None:
                return job_tables(ledger, ledger.job(self._job), serving=process is not None)
            most = min(self._most or room, room) if room else self._most
            shown = [*status_tables(ledger, process=process, most=most), *held_tables(ledger.held())]
        return [*shown, *incomplete_tables(self._layout.spool), *stream_tables(self._layout.spool)]


def status_document(ledger: Ledger, *, process: int | None, port: int, most: int) -> dict[str, object]:
    """The node and the ``most`` latest of its jobs (0: all), JSON-able."""
    counts = ledger.stage_counts()
    jobs = ledger.latest(most)
    return {
        "serving": process is not None,
        "process": process,
        "port": port,
        "workers": [
            {
                "name": member.name,
                "host": member.host,
                "process": member.process,
                "begun_at": moment_text(member.begun_at),
                "silent_s": round(member.silent_s, 1),
                "job": member.job,
            }
            for member in ledger.members()
        ],
        "stages": {stage.value: n for stage, n in counts.items()},
        "unfinished": ledger.n_unfinished(),
        "n_jobs": sum(counts.values()),
        "jobs": [job_document(ledger, job) for job in jobs],
    }


def status_tables(ledger: Ledger, *, process: int | None, most: int) -> list[RenderableType]:
    """Tables of the jobs by stage, of the ``most`` latest jobs (0: all), and of what failed."""
    serving = f"serving, process {process}" if process is not None else "not serving"
    counts = ledger.stage_counts()
    blocks = [pairs(f"node: {serving}", {stage.value: n for stage, n in counts.items()})]
    members = ledger.members()
    if any(not member.listens for member in members):
        blocks.append(_workers(members))
    jobs, n_jobs = ledger.latest(most), sum(counts.values())
    if not jobs:
        return blocks
    keys = [job.key for job in jobs]
    taken, objects = ledger.taken(keys), ledger.n_objects(keys)
    blocks.append(
        table(
            "jobs" if len(jobs) == n_jobs else f"{len(jobs)} of {n_jobs} jobs (all of them: --last 0)",
            ("job", "stage", "now", "verdict", "delivered", "tries", "code"),
            [
                (
                    job.name,
                    job.stage.value,
                    present(job, serving=process is not None),
                    job.summary.get("verdict"),
                    ", ".join(f"{name} {n}/{objects[job.key]}" for name, n in taken.get(job.key, {}).items()),
                    job.attempts,
                    job.failure.code if job.failure else None,
                )
                for job in jobs
            ],
            right=("tries",),
        )
    )
    maps = [(job.name, found) for job in jobs if (found := job.summary.get("lesion_map")) is not None]
    if maps:
        blocks.append(table("lesion maps", ("job", "what was marked"), maps))
    failures = [(job.name, f.code, f.message, f.hint) for job in jobs if (f := job.failure) is not None]
    if failures:
        blocks.append(table("failures", ("job", "code", "what", "hint"), failures))
    return blocks


def _workers(members: Sequence[Member]) -> RenderableType:
    """Who works on the jobs, where several do."""
    rows = [
        (member.name, member.host, member.process, f"{member.silent_s:.0f} s ago", (member.job or "")[:12])
        for member in members
    ]
    return table("workers", ("name", "machine", "process", "heard of", "job"), rows)


def incomplete_document(spool: Path) -> list[dict[str, object]]:
    """Scans that wait for parts, JSON-able."""
    return [
        {
            "scan": scan.name,
            "calling_ae": scan.calling_ae,
            "parts": list(scan.parts),
            "missing": list(scan.missing),
            "last_at": moment_text(scan.last_at),
        }
        for scan in incomplete_scans(spool)
    ]


def incomplete_tables(spool: Path) -> list[RenderableType]:
    """Table of the scans that wait for parts; nothing where there are none."""
    rows = [
        (s.name, s.calling_ae, ", ".join(map(str, s.missing)), s.n_parts, moment_text(s.last_at))
        for s in incomplete_scans(spool)
    ]
    columns = ("scan", "from", "missing parts", "of", "last part came")
    return [table("incomplete scans", columns, rows)] if rows else []


def held_tables(jobs: Sequence[Job]) -> list[RenderableType]:
    """What waits for somebody to say whose it is, and the next step; nothing where nothing does."""
    rows = [(job.name, job.calling_ae, f"lfmri-node assign {job.name} --identity FILE") for job in jobs]
    title = "held: nobody has said whose these scans are"
    return [table(title, ("job", "from", "next step"), rows)] if rows else []


def stream_document(note: StreamNote) -> dict[str, object]:
    """A stream that became no job, JSON-able."""
    return {**asdict(note), "last_at": moment_text(note.last_at)}


def stream_tables(spool: Path) -> list[RenderableType]:
    """Table of the streams that became no job; nothing where there are none."""
    rows = [
        (note.name[:12], note.ae_title, note.n_acquisitions, moment_text(note.last_at), note.code, note.hint)
        for note in kept_streams(spool)
    ]
    columns = ("stream", "from", "acquisitions", "last came", "code", "hint")
    return [table("streams that are no job", columns, rows, right=("acquisitions",))] if rows else []
