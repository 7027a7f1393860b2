"""What ``status`` shows: documents for ``--json`` and tables for people. Holds no patient data."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from lfmri_node.dicom_io.receive.incomplete import incomplete_scans
from lfmri_node.node.jobs.job import Job
from lfmri_node.node.jobs.ledger import Ledger
from lfmri_node.node.retention.plan import Purge
from lfmri_node.node.terminal import print_json, print_pairs, print_table

if TYPE_CHECKING:
    from lfmri_node.node.corrections import Accepted, Correction  # DBOS comes with it


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
        "purged": {what: _text(at) for what, at in ledger.purged(job.key).items()},
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


def status_document(ledger: Ledger, *, process: int | None, port: int, most: int) -> dict[str, object]:
    """The node and the ``most`` latest of its jobs (0: all), JSON-able."""
    counts = ledger.stage_counts()
    jobs = ledger.latest(most)
    return {
        "serving": process is not None,
        "process": process,
        "port": port,
        "stages": {stage.value: n for stage, n in counts.items()},
        "unfinished": ledger.n_unfinished(),
        "n_jobs": sum(counts.values()),
        "jobs": [job_document(ledger, job) for job in jobs],
    }


def print_status(ledger: Ledger, *, process: int | None, most: int) -> None:
    """Tables of the jobs by stage, of the ``most`` latest jobs (0: all), and of what failed."""
    serving = f"serving, process {process}" if process is not None else "not serving"
    counts = ledger.stage_counts()
    print_pairs(f"node: {serving}", {stage.value: n for stage, n in counts.items()})
    jobs, n_jobs = ledger.latest(most), sum(counts.values())
    if not jobs:
        return
    print_table(
        "jobs" if len(jobs) == n_jobs else f"{len(jobs)} of {n_jobs} jobs (all of them: --last 0)",
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
    if purged := ledger.purged(job.key):
        pairs["deleted by [retention]"] = ", ".join(purged)
    if objects and "results" not in purged:
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


def print_corrections(found: Sequence[Correction], *, as_json: bool) -> None:
    """Refused scans that can be accepted."""
    rows = [
        {
            "scan": item.name,
            "code": item.code,
            "calling_ae": item.parts[-1].calling_ae,
            "came_at": _text(item.parts[-1].received_at),
            "parts": f"{len(item.parts)}/{item.n_parts}",
            "on_record": ", ".join(job.name for job in item.firsts),
        }
        for item in found
    ]
    if as_json:
        print_json({"corrections": rows})
    elif not rows:
        print_pairs("no refused scan is on record with other attributes", {})
    else:
        columns = ("scan", "code", "from", "came", "parts", "on record as")
        print_table("refused, on record with other attributes", columns, [[*row.values()] for row in rows])


def print_accepted(accepted: Accepted, *, as_json: bool) -> None:
    """What a correction became, and what of the first is to be removed where it was delivered."""
    if as_json:
        print_json(asdict(accepted))
        return
    print(f"{accepted.name}: accepted; it follows {', '.join(accepted.firsts)}")
    if accepted.objects:
        print_table(
            "delivered of the first, to be removed there",
            ("destination", "series", "object"),
            [
                (item.destination, item.series_instance_uid, item.sop_instance_uid)
                for item in accepted.objects
            ],
        )


def purge_document(purges: Sequence[Purge], refused: Sequence[Path], *, dry_run: bool) -> dict[str, object]:
    """What retention deletes and why, JSON-able; ``refused`` are files of the spool's quarantine."""
    return {
        "dry_run": dry_run,
        "bytes": sum(purge.n_bytes for purge in purges),
        "purges": [
            {
                "measurement": purge.key,
                "what": purge.what.value,
                "reason": purge.reason,
                "bytes": purge.n_bytes,
                "paths": [str(path) for path in purge.paths],
            }
            for purge in purges
        ],
        "refused": [str(path) for path in refused],
    }


def print_purges(purges: Sequence[Purge], refused: Sequence[Path], *, dry_run: bool) -> None:
    """Table of what retention deletes and why, and the sum."""
    rows = [(purge.key[:12], purge.what.value, _size(purge.n_bytes), purge.reason) for purge in purges]
    rows += [(path.name, "refused", _size(path.stat().st_size), "refused long ago") for path in refused]
    total = _size(sum(purge.n_bytes for purge in purges))
    title = f"{'would delete' if dry_run else 'deleting'} {len(rows)} thing(s), {total}"
    if not rows:
        print_pairs("nothing to delete: no limit of [retention] is reached", {})
    else:
        print_table(title, ("measurement", "what", "size", "why"), rows, right=("size",))


def _size(n_bytes: float) -> str:
    return f"{n_bytes / 1e9:.2f} GB" if n_bytes >= 1e9 else f"{n_bytes / 1e6:.1f} MB"


def _text(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat(timespec="milliseconds")


def _yes_no(value: bool | None) -> str:
    return "not asked" if value is None else "yes" if value else "no"
