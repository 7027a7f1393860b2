"""What ``status`` shows: documents for ``--json`` and tables for people. Holds no patient data."""

from __future__ import annotations

from collections import Counter
from datetime import datetime
from pathlib import Path

from lfmri_node.dicom_io.receive.incomplete import incomplete_scans
from lfmri_node.node.console import print_pairs, print_table
from lfmri_node.node.jobs.job import Job, Stage
from lfmri_node.node.jobs.ledger import Ledger


def job_document(ledger: Ledger, job: Job) -> dict[str, object]:
    """One job with its stages and receipts, JSON-able."""
    failure = job.failure
    receipts = ledger.receipts(job.key)
    return {
        "job": job.key,
        "measurement": job.parent,
        "contrast": job.contrast,
        "repetition": job.repetition,
        "source_sha256": job.source_sha256,
        "calling_ae": job.calling_ae,
        "stage": job.stage.value,
        "resume": job.resume.value if job.resume else None,
        "running": job.running.value if job.running else None,
        "progress": list(job.progress) if job.progress else None,
        "attempts": job.attempts,
        "next_try_at": _text(job.next_try_at),
        "finished": job.finished_at is not None,
        "received_at": _text(job.received_at),
        "updated_at": _text(job.updated_at),
        "finished_at": _text(job.finished_at),
        "failure": None
        if failure is None
        else {
            "code": failure.code,
            "message": failure.message,
            "hint": failure.hint,
            "transient": failure.transient,
        },
        "summary": dict(job.summary),
        "timings": [
            {
                "stage": timing.stage.value,
                "destination": timing.destination or None,
                "attempt": timing.attempt,
                "begun_at": _text(timing.begun_at),
                "seconds": timing.seconds,
                "outcome": timing.outcome,
            }
            for timing in ledger.timings(job.key)
        ],
        "objects": len(ledger.objects(job.key)),
        "receipts": [
            {
                "destination": stored.receipt.destination,
                "sop_instance_uid": stored.receipt.sop_instance_uid,
                "dimse_status": stored.receipt.dimse_status,
                "delivered": stored.receipt.delivered,
                "verified": stored.receipt.verified,
                "detail": stored.receipt.detail,
                "answered_at": _text(stored.receipt.answered_at),
                "tries": stored.tries,
            }
            for stored in receipts
        ],
    }


def status_document(ledger: Ledger, *, process: int | None, port: int) -> dict[str, object]:
    """The node and all its jobs, JSON-able."""
    jobs = ledger.jobs()
    return {
        "serving": process is not None,
        "process": process,
        "port": port,
        "stages": dict(Counter(job.stage.value for job in jobs)),
        "unfinished": sum(job.finished_at is None and job.stage is not Stage.QUARANTINED for job in jobs),
        "jobs": [job_document(ledger, job) for job in jobs],
    }


def print_status(ledger: Ledger, *, process: int | None) -> None:
    """Tables of the jobs by stage, of each job, and of what failed."""
    jobs = ledger.jobs()
    serving = f"serving, process {process}" if process is not None else "not serving"
    counts = Counter(job.stage for job in jobs)
    print_pairs(f"node: {serving}", {stage.value: counts[stage] for stage in Stage if counts[stage]})
    if not jobs:
        return
    print_table(
        "jobs",
        ("job", "stage", "now", "verdict", "delivered", "tries", "next try", "code"),
        [_row(ledger, job, serving=process is not None) for job in jobs],
        right=("tries",),
    )
    maps = [(job.name, found) for job in jobs if (found := job.summary.get("lesion_map")) is not None]
    if maps:
        print_table("lesion maps", ("job", "what was marked"), maps)
    if any(job.failure for job in jobs):
        print_table(
            "failures",
            ("job", "code", "what", "hint"),
            [(job.name, f.code, f.message, f.hint) for job in jobs if (f := job.failure) is not None],
        )


def incomplete_document(spool: Path) -> list[dict[str, object]]:
    """Scans that wait for parts, JSON-able."""
    return [
        {
            "scan": scan.name,
            "calling_ae": scan.calling_ae,
            "parts": list(scan.parts),
            "missing": list(scan.missing),
            "last_at": _text(scan.last_at),
        }
        for scan in incomplete_scans(spool)
    ]


def print_incomplete(spool: Path) -> None:
    """Table of the scans that wait for parts; nothing where there are none."""
    scans = incomplete_scans(spool)
    if scans:
        print_table(
            "incomplete scans",
            ("scan", "from", "missing parts", "of", "last part came"),
            [
                (s.name, s.calling_ae, ", ".join(map(str, s.missing)), s.n_parts, _text(s.last_at))
                for s in scans
            ],
        )


def print_job(ledger: Ledger, job: Job, *, serving: bool) -> None:
    """Tables of one job: figures, stages, receipts."""
    objects = ledger.objects(job.key)
    failure = job.failure
    pairs: dict[str, object] = {
        "stage": job.stage.value,
        "attempts": job.attempts,
        "received": _text(job.received_at),
        "finished": _text(job.finished_at),
        **{name: value for name, value in job.summary.items() if not isinstance(value, list)},
        **{f"reason {reason['code']}": reason["message"] for reason in _reasons(job)},
    }
    if objects:
        pairs["objects in"] = objects[0].path.parent
    if failure is not None:
        pairs |= {"code": failure.code, "what": failure.message, "hint": failure.hint}
    print_pairs(f"job {job.name}", pairs)
    running = "running" if serving else "cut off"
    print_table(
        "stages",
        ("stage", "try", "seconds", "outcome"),
        [
            (t.stage.value, t.attempt, f"{t.seconds:.2f}" if t.seconds else None, t.outcome or running)
            for t in ledger.timings(job.key)
        ],
        right=("try", "seconds"),
    )
    _print_receipts(ledger, job)


def _reasons(job: Job) -> list[dict[str, str]]:
    reasons = job.summary.get("reasons", [])
    assert isinstance(reasons, list)
    return reasons


def _print_receipts(ledger: Ledger, job: Job) -> None:
    rows = [
        (
            stored.receipt.destination,
            stored.receipt.sop_instance_uid,
            None if stored.receipt.dimse_status is None else f"0x{stored.receipt.dimse_status:04X}",
            _yes_no(stored.receipt.delivered),
            _yes_no(stored.receipt.verified),
            stored.tries,
            stored.receipt.detail,
        )
        for stored in ledger.receipts(job.key)
    ]
    columns = ("destination", "object", "status", "delivered", "verified", "tries", "detail")
    if rows:
        print_table("receipts", columns, rows, right=("tries",))


def _row(ledger: Ledger, job: Job, *, serving: bool) -> tuple[object, ...]:
    held = Counter(
        stored.receipt.destination for stored in ledger.receipts(job.key) if stored.receipt.delivered
    )
    n_objects = len(ledger.objects(job.key))
    delivered = ", ".join(f"{name} {count}/{n_objects}" for name, count in sorted(held.items()))
    present = "done" if job.finished_at else ""
    if job.running and serving:
        present = job.running.value + (f" {job.progress[0]}/{job.progress[1]}" if job.progress else "")
    return (
        job.name,
        job.stage.value,
        present,
        job.summary.get("verdict"),
        delivered,
        job.attempts,
        job.next_try_at.strftime("%H:%M:%S") if job.next_try_at else None,
        job.failure.code if job.failure else None,
    )


def _text(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat(timespec="milliseconds")


def _yes_no(value: bool | None) -> str:
    return "not asked" if value is None else "yes" if value else "no"
