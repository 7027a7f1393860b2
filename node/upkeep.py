"""What ``accept``, ``assign`` and ``purge`` answer: documents for ``--json`` and tables for people."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from lfmri_node.node.assignments import Assigned
from lfmri_node.node.corrections import Accepted, Correction
from lfmri_node.node.jobs.job import Job
from lfmri_node.node.reprocess import Again
from lfmri_node.node.retention.plan import Purge
from lfmri_node.node.terminal.tables import pairs, print_json, print_table, show

HELD_COLUMNS = ("job", "from", "received", "verdict")


def print_corrections(found: Sequence[Correction], *, as_json: bool) -> None:
    """Refused scans that can be accepted."""
    rows = [
        {
            "scan": item.name,
            "code": item.code,
            "calling_ae": item.parts[-1].calling_ae,
            "came_at": item.parts[-1].received_at.isoformat(timespec="milliseconds"),
            "parts": f"{len(item.parts)}/{item.n_parts}",
            "on_record": ", ".join(job.name for job in item.firsts),
        }
        for item in found
    ]
    if as_json:
        print_json({"corrections": rows})
    elif not rows:
        show(pairs("no refused scan is on record with other attributes", {}))
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


def print_held(jobs: Sequence[Job], *, as_json: bool) -> None:
    """Jobs that wait for an assignment."""
    rows = [
        {
            "job": job.name,
            "calling_ae": job.calling_ae,
            "received_at": job.received_at.isoformat(timespec="milliseconds"),
            "verdict": job.summary.get("verdict"),
        }
        for job in jobs
    ]
    if as_json:
        print_json({"held": rows})
    elif not rows:
        show(pairs("no scan is held", {}))
    else:
        print_table("held: nobody has said whose they are", HELD_COLUMNS, [[*row.values()] for row in rows])


def print_assigned(assigned: Assigned, *, as_json: bool) -> None:
    """What goes on now."""
    if as_json:
        print_json(asdict(assigned))
    else:
        print(f"{assigned.name}: assigned; {len(assigned.scans)} scan(s) go on: {', '.join(assigned.scans)}")


def print_again(found: Sequence[Again], *, dry_run: bool, as_json: bool) -> None:
    """What is reconstructed once more, and what is not and why."""
    if as_json:
        print_json({"dry_run": dry_run, "measurements": [item.to_json() for item in found]})
        return
    rows = [
        (item.first, item.name, item.why_not or ("would be" if dry_run else "is") + " made") for item in found
    ]
    print_table("once more", ("measurement", "new job", ""), rows)


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
    rows += [
        (path.name[:23], "refused", _size(path.stat().st_size) if dry_run else "", "refused long ago")
        for path in refused
    ]
    total = _size(sum(purge.n_bytes for purge in purges))
    title = f"{'would delete' if dry_run else 'deleting'} {len(rows)} thing(s), {total}"
    if not rows:
        show(pairs("nothing to delete: no limit of [retention] is reached", {}))
    else:
        print_table(title, ("measurement", "what", "size", "why"), rows, right=("size",))


def _size(n_bytes: float) -> str:
    return f"{n_bytes / 1e9:.2f} GB" if n_bytes >= 1e9 else f"{n_bytes / 1e6:.1f} MB"
