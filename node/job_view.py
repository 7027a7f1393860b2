"""What ``status JOB`` shows of one job, and what programs get of each. Holds no patient data."""

from __future__ import annotations

from collections import Counter
from datetime import datetime
from typing import TYPE_CHECKING

from lfmri_node.dicom_io.types import DeliveryReceipt
from lfmri_node.node.jobs.job import Job
from lfmri_node.node.jobs.ledger import Ledger
from lfmri_node.node.jobs.records import Shipment
from lfmri_node.node.terminal.tables import pairs, table

if TYPE_CHECKING:
    from rich.console import RenderableType


def job_document(ledger: Ledger, job: Job) -> dict[str, object]:
    """One job with its stages and receipts, JSON-able."""
    failure = job.failure
    receipts = ledger.receipts(job.key)
    return {
        "job": job.key,
        "measurement": job.parent,
        "scans": [scan.key for scan in _scans(ledger, job)],
        "contrast": job.contrast,
        "repetition": job.repetition,
        "source_sha256": job.source_sha256,
        "calling_ae": job.calling_ae,
        "pipeline": job.recipe.get("rule", ""),
        "stage": job.stage.value,
        "resume": job.resume.value if job.resume else None,
        "running": job.running.value if job.running else None,
        "progress": list(job.progress) if job.progress else None,
        "attempts": job.attempts,
        "next_try_at": moment_text(job.next_try_at),
        "finished": job.finished_at is not None,
        "identity": job.identity.value,
        "held": job.is_held,
        "received_at": moment_text(job.received_at),
        "updated_at": moment_text(job.updated_at),
        "finished_at": moment_text(job.finished_at),
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
                "begun_at": moment_text(timing.begun_at),
                "seconds": timing.seconds,
                "outcome": timing.outcome,
            }
            for timing in ledger.timings(job.key)
        ],
        "objects": len(ledger.objects(job.key)),
        "deliveries": [_delivery_document(ledger, job, shipment) for shipment in ledger.shipments(job.key)],
        "purged": {what: moment_text(at) for what, at in ledger.purged(job.key).items()},
        "receipts": [
            {
                "destination": stored.receipt.destination,
                "sop_instance_uid": stored.receipt.sop_instance_uid,
                "dimse_status": stored.receipt.dimse_status,
                "delivered": stored.receipt.delivered,
                "verified": stored.receipt.verified,
                "proof": stored.receipt.proof.value,
                "detail": stored.receipt.detail,
                "answered_at": moment_text(stored.receipt.answered_at),
                "tries": stored.tries,
            }
            for stored in receipts
        ],
    }


def _delivery_document(ledger: Ledger, job: Job, shipment: Shipment) -> dict[str, object]:
    """How far one delivery is, and which objects it misses, JSON-able."""
    failure = shipment.failure
    return {
        "destination": shipment.destination,
        "finished_at": moment_text(shipment.finished_at),
        "note": shipment.note,
        "missing": [item.sop_instance_uid for item in ledger.missing(job.key, shipment.destination)],
        "tries": shipment.tries,
        "failing_since": moment_text(shipment.failing_since),
        "next_try_at": moment_text(shipment.next_try_at),
        "failure": None if failure is None else {"code": failure.code, "message": failure.message},
    }


def job_tables(ledger: Ledger, job: Job, *, serving: bool) -> list[RenderableType]:
    """Tables of one job: figures, the scans of a measurement, stages, receipts."""
    running = "running" if serving else "cut off"
    timings = [
        (t.stage.value, t.attempt, f"{t.seconds:.2f}" if t.seconds else None, t.outcome or running)
        for t in ledger.timings(job.key)
    ]
    receipts = [
        (
            stored.receipt.destination,
            stored.receipt.sop_instance_uid,
            None if stored.receipt.dimse_status is None else f"0x{stored.receipt.dimse_status:04X}",
            _yes_no(stored.receipt.delivered),
            _known(stored.receipt),
            stored.tries,
            stored.receipt.detail,
        )
        for stored in ledger.receipts(job.key)
    ]
    scans = [
        (scan.name, scan.stage.value, present(scan, serving=serving), str(scan.summary.get("verdict", "")))
        for scan in _scans(ledger, job)
    ]
    blocks = [
        pairs(f"job {job.name}", _figures(ledger, job)),
        *([table("scans of this measurement", ("job", "stage", "now", "verdict"), scans)] if scans else []),
        table("stages", ("stage", "try", "seconds", "outcome"), timings, right=("try", "seconds")),
    ]
    if receipts:
        rows = [_delivery_row(ledger, job, shipment) for shipment in ledger.shipments(job.key)]
        blocks.append(table("deliveries", ("destination", "missing", "known of it"), rows))
        columns = ("destination", "object", "status", "delivered", "verified", "tries", "detail")
        blocks.append(table("receipts", columns, receipts, right=("tries",)))
    return blocks


def _scans(ledger: Ledger, job: Job) -> list[Job]:
    """What a measurement has become: jobs of their own."""
    return ledger.scans(job.key) if job.is_measurement else []


def present(job: Job, *, serving: bool) -> str:
    """What is being done with a job, or when it is tried again."""
    if job.finished_at:
        return "done"
    if job.is_held:
        return "held: assign"
    if job.running and serving:
        return job.running.value + (f" {job.progress[0]}/{job.progress[1]}" if job.progress else "")
    return f"waits until {job.next_try_at.astimezone():%H:%M:%S}" if job.next_try_at else ""


def _delivery_row(ledger: Ledger, job: Job, shipment: Shipment) -> tuple[str, str, str]:
    """Destination, how many of which kinds it misses, what else is known."""
    missing = Counter(item.role for item in ledger.missing(job.key, shipment.destination))
    kinds = ", ".join(f"{n} {role}" for role, n in sorted(missing.items()))
    return shipment.destination, kinds or "nothing", shipment.note


def _known(receipt: DeliveryReceipt) -> str:
    return receipt.proof.value if receipt.verified and receipt.proof else _yes_no(receipt.verified)


def _figures(ledger: Ledger, job: Job) -> dict[str, object]:
    objects, failure = ledger.objects(job.key), job.failure
    figures: dict[str, object] = {
        "stage": job.stage.value,
        **({"pipeline": job.recipe["rule"]} if job.recipe.get("rule") else {}),
        "attempts": job.attempts,
        "received": moment_text(job.received_at),
        "finished": moment_text(job.finished_at),
        **{name: _short(value) for name, value in job.summary.items() if not isinstance(value, list)},
        **{f"reason {reason['code']}": reason["message"] for reason in _reasons(job)},
    }
    if purged := ledger.purged(job.key):
        figures["deleted by [retention]"] = ", ".join(purged)
    if objects and "results" not in purged:
        figures["objects in"] = objects[0].path.parent
    if failure is not None:
        figures |= {"code": failure.code, "what": failure.message, "hint": failure.hint}
    return figures


def _reasons(job: Job) -> list[dict[str, str]]:
    reasons = job.summary.get("reasons", [])
    assert isinstance(reasons, list)
    return reasons


def _short(value: object) -> object:
    return f"{value:.4g}" if isinstance(value, float) else value


def moment_text(moment: datetime | None) -> str | None:
    """ISO 8601, to the millisecond."""
    return None if moment is None else moment.isoformat(timespec="milliseconds")


def _yes_no(value: bool | None) -> str:
    return "not asked" if value is None else "yes" if value else "no"
