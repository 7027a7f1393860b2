"""Reading the job table: what ``status``, ``doctor`` and the demonstration see while ``serve`` writes."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from lfmri_node.dicom_io.types import DeliveryReceipt, EncodedObject, Proof
from lfmri_node.node.errors import JobError
from lfmri_node.node.jobs import migrations, schema
from lfmri_node.node.jobs.database import Row, Table
from lfmri_node.node.jobs.job import Job, Stage
from lfmri_node.node.jobs.records import Member, Shipment, StoredReceipt, Timing
from lfmri_node.node.jobs.tables import no_table, open_database, root_of
from lfmri_node.node.jobs.work import Kind, Work


class Ledger:
    """Read-only view of the job table.

    Raises
    ------
    JobError
        LF-JOB-003 where there is no table, LF-JOB-004 where it has another schema version.
    """

    def __init__(self, table: Table) -> None:
        self._open(table, writes=False)
        version = self._connection.version()
        if version == 0:
            self._connection.close()
            raise no_table()
        migrations.require_present(version)

    def _open(self, table: Table, *, writes: bool) -> None:
        self._base = root_of(table)
        self._connection = open_database(table, writes=writes)

    def close(self) -> None:
        """Close the connection; the object is of no use afterwards."""
        self._connection.close()

    def _rows(self, query: str, *values: object) -> Sequence[Row]:
        return self._connection.execute(query, values)

    def job(self, key: str) -> Job:
        """The job of a key, or of the only key that starts with it.

        Raises
        ------
        JobError
            LF-JOB-005 where there is none, or more than one.
        """
        rows = self._rows("SELECT * FROM jobs WHERE key >= ? AND key < ? LIMIT 2", key, f"{key}g")  # hex
        if len(rows) != 1:
            found = "no job" if not rows else "more than one job"
            raise JobError("LF-JOB-005", f"{found} of this name", "take a name from `lfmri-node status`")
        return schema.as_job(rows[0])

    def jobs(self) -> list[Job]:
        """All jobs, oldest first; a measurement only while its scans are not known yet."""
        query = (
            "SELECT * FROM jobs WHERE contrast IS NOT NULL OR stage != 'decoded'"
            " ORDER BY received_at, contrast, repetition, key"
        )
        return [schema.as_job(row) for row in self._rows(query)]

    def stage_counts(self) -> dict[Stage, int]:
        """How many of `jobs` are at each stage, in the order of the stages."""
        query = (
            "SELECT stage, count(*) AS n FROM jobs WHERE contrast IS NOT NULL OR stage != 'decoded'"
            " GROUP BY stage"
        )
        counts = {Stage(row["stage"]): row["n"] for row in self._rows(query)}
        return {stage: counts[stage] for stage in Stage if stage in counts}

    def n_unfinished(self) -> int:
        """How many jobs, measurements included, are neither finished nor in quarantine."""
        query = "SELECT count(*) AS n FROM jobs WHERE finished_at IS NULL AND stage != 'quarantined'"
        return int(self._rows(query)[0]["n"])

    def latest(self, most: int) -> list[Job]:
        """The ``most`` jobs that people ask for, oldest first: unfinished ones before finished ones, of each
        the latest; 0: all."""
        if most == 0:
            return self.jobs()
        chosen: list[Job] = []
        for finished in ("finished_at IS NULL", "finished_at IS NOT NULL AND contrast IS NOT NULL"):
            query = f"SELECT * FROM jobs WHERE {finished} ORDER BY received_at DESC LIMIT ?"
            chosen += [schema.as_job(row) for row in self._rows(query, most - len(chosen))]
        return sorted(chosen, key=lambda job: job.received_at)

    def held(self) -> list[Job]:
        """Jobs that are reconstructed and wait for somebody to say whose they are, the oldest first."""
        query = (
            "SELECT * FROM jobs WHERE identity='missing' AND stage='reconstructed' ORDER BY received_at, key"
        )
        return [schema.as_job(row) for row in self._rows(query)]

    def clock(self) -> datetime:
        """What time it is where the table is, to the second or better."""
        (row,) = self._rows(f"SELECT {self._connection.clock} AS at")
        return datetime.fromtimestamp(row["at"], UTC)

    def latest_change(self) -> datetime | None:
        """When something was recorded last; None where nothing was."""
        return schema.as_moment(self._rows("SELECT max(updated_at) AS at FROM jobs")[0]["at"])

    def scans(self, parent: str) -> list[Job]:
        """The jobs that came out of a measurement."""
        query = "SELECT * FROM jobs WHERE parent=? ORDER BY contrast, repetition"
        return [schema.as_job(row) for row in self._rows(query, parent)]

    def measurements(self) -> list[Job]:
        """Every measurement on record, oldest first."""
        query = "SELECT * FROM jobs WHERE parent IS NULL AND contrast IS NULL ORDER BY received_at, key"
        return [schema.as_job(row) for row in self._rows(query)]

    def find(self, key: str) -> Job | None:
        """The job of a whole key; None where the table does not know it."""
        rows = self._rows("SELECT * FROM jobs WHERE key=?", key)
        return schema.as_job(rows[0]) if rows else None

    def works(self, key: str | None = None, *, waiting: bool = False) -> list[Work]:
        """Everything that is left to do, oldest first; of one job where its key is given.

        ``waiting``: only what waits for another try; an operator's retry makes the table say otherwise.
        """
        query = (
            "SELECT j.key, j.contrast, j.stage, d.destination FROM jobs j"
            " LEFT JOIN deliveries d ON j.stage='encoded' AND d.job_key=j.key AND d.finished_at IS NULL"
            " WHERE j.finished_at IS NULL AND j.stage!='quarantined' AND (? IS NULL OR j.key=?)"
            " AND NOT (j.identity='missing' AND j.stage='reconstructed')"
            " AND (NOT ? OR"
            " CASE j.stage WHEN 'encoded' THEN d.next_try_at ELSE j.next_try_at END IS NOT NULL)"
            " ORDER BY j.received_at, j.contrast, j.repetition, j.key"
        )
        works = []
        for row in self._rows(query, key, key, waiting):
            if row["contrast"] is None:
                works.append(Work(kind=Kind.ADMIT, key=row["key"]))
            elif row["stage"] != Stage.ENCODED:
                works.append(Work(kind=Kind.COMPUTE, key=row["key"]))
            elif row["destination"] is not None:
                works.append(Work(kind=Kind.DELIVER, key=row["key"], destination=row["destination"]))
        return works

    def members(self) -> list[Member]:
        """Who works on the jobs, the one that listens first."""
        rows = self._rows(
            f"SELECT w.*, {self._connection.clock} - w.beat_s AS silent_s, (SELECT min(j.key) FROM jobs j"
            " WHERE j.worker=w.epoch AND j.running IS NOT NULL AND j.running!='sent') AS job"
            " FROM workers w WHERE w.ended_at IS NULL ORDER BY w.listens DESC, w.name"
        )
        return [
            Member(
                name=row["name"],
                host=row["host"],
                process=row["process"],
                listens=bool(row["listens"]),
                begun_at=datetime.fromisoformat(row["begun_at"]),
                silent_s=row["silent_s"],
                job=row["job"],
            )
            for row in rows
        ]

    def shipments(self, key: str) -> list[Shipment]:
        """How far the deliveries of a job are, one a destination."""
        rows = self._rows("SELECT * FROM deliveries WHERE job_key=? ORDER BY destination", key)
        return [
            Shipment(
                destination=row["destination"],
                tries=row["tries"],
                failure=schema.as_failure(row["failure"]),
                next_try_at=schema.as_moment(row["next_try_at"]),
                finished_at=schema.as_moment(row["finished_at"]),
                failing_since=schema.as_moment(row["failing_since"]),
                note=row["note"],
            )
            for row in rows
        ]

    def sources(self, key: str) -> list[Path]:
        """Spool files of a job in the order of their parts."""
        rows = self._rows("SELECT path FROM sources WHERE job_key=? ORDER BY part", key)
        return [self._base / row["path"] for row in rows]

    def knows(self, paths: Sequence[Path]) -> bool:
        """Whether some job was made from these spool files."""
        names = [str(path.relative_to(self._base)) for path in paths]
        query = "SELECT count(*) AS n FROM sources WHERE path=?"
        return all(self._rows(query, name)[0]["n"] > 0 for name in names)

    def purged(self, key: str) -> dict[str, datetime | None]:
        """What of a measurement, or of the one that a scan came out of, retention took: ``raw``,
        ``results``, with the time; None while it is being taken."""
        query = (
            "SELECT p.what, p.done_at FROM jobs j JOIN purges p ON p.job_key=coalesce(j.parent, j.key)"
            " WHERE j.key=? ORDER BY p.what"
        )
        return {row["what"]: schema.as_moment(row["done_at"]) for row in self._rows(query, key)}

    def is_purged(self, key: str, what: str) -> bool:
        """Whether retention took ``what`` of a measurement, or is about to."""
        return what in self.purged(key)

    def timings(self, key: str) -> list[Timing]:
        """Every try of every stage of a job, in order."""
        rows = self._rows("SELECT * FROM timings WHERE job_key=? ORDER BY id", key)
        return [
            Timing(
                stage=Stage(row["stage"]),
                destination=row["destination"],
                attempt=row["attempt"],
                begun_at=datetime.fromisoformat(row["begun_at"]),
                seconds=row["seconds"],
                outcome=row["outcome"],
            )
            for row in rows
        ]

    def crashes(self, key: str, stage: Stage) -> int:
        """Tries of a stage in which the worker ended, or took too long, while the node lived."""
        query = "SELECT count(*) AS n FROM timings WHERE job_key=? AND stage=? AND outcome IN (?, ?)"
        return int(self._rows(query, key, stage.value, *schema.CRASHES)[0]["n"])

    def good_tries(self, stage: Stage, most: int) -> list[tuple[float, Mapping[str, object]]]:
        """Seconds of the latest good tries of a stage of the computation, and their jobs' summaries."""
        rows = self._rows(
            "SELECT t.seconds, j.summary FROM timings t JOIN jobs j ON j.key=t.job_key WHERE t.stage=?"
            " AND t.outcome='done' AND t.destination='' AND t.seconds IS NOT NULL ORDER BY t.id DESC LIMIT ?",
            *(stage.value, most),
        )
        return [(row["seconds"], json.loads(row["summary"])) for row in rows]

    def others_wait(self, key: str) -> bool:
        """Whether other jobs wait to be computed that have not failed.

        A measurement whose header is being read counts: its scans wait next.
        """
        query = (
            "SELECT 1 AS n FROM jobs WHERE finished_at IS NULL AND stage NOT IN ('quarantined', 'encoded')"
            " AND failure IS NULL AND (running IS NULL OR contrast IS NULL) AND key!=?"
            " AND NOT (identity='missing' AND stage='reconstructed') LIMIT 1"
        )
        return bool(self._rows(query, key))

    def objects(self, key: str) -> list[EncodedObject]:
        """The encoded objects of a job in the order in which they are sent."""
        rows = self._rows("SELECT * FROM objects WHERE job_key=? ORDER BY position", key)
        return [
            EncodedObject(
                path=self._base / row["path"],
                sha256=row["sha256"],
                role=row["role"],
                sop_class_uid=row["sop_class_uid"],
                sop_instance_uid=row["sop_instance_uid"],
                series_instance_uid=row["series_instance_uid"],
            )
            for row in rows
        ]

    def receipts(self, key: str, destination: str | None = None) -> list[StoredReceipt]:
        """What the destinations (or one) answered last, object by object."""
        rows = self._rows(
            "SELECT r.* FROM receipts r JOIN objects o USING (job_key, sop_instance_uid)"
            " WHERE r.job_key=? AND (? IS NULL OR r.destination=?) ORDER BY r.destination, o.position",
            key,
            destination,
            destination,
        )
        return [
            StoredReceipt(
                receipt=DeliveryReceipt(
                    sop_instance_uid=row["sop_instance_uid"],
                    destination=row["destination"],
                    dimse_status=row["dimse_status"],
                    delivered=bool(row["delivered"]),
                    verified=None if row["verified"] is None else bool(row["verified"]),
                    detail=row["detail"],
                    transient=bool(row["transient"]),
                    answered_at=datetime.fromisoformat(row["answered_at"]),
                    proof=Proof(row["proof"]),
                ),
                tries=row["tries"],
            )
            for row in rows
        ]

    def missing(self, key: str, destination: str) -> list[EncodedObject]:
        """Objects that the destination has not said to have, or has said not to hold."""
        held = {
            stored.receipt.sop_instance_uid
            for stored in self.receipts(key, destination)
            if stored.receipt.delivered and stored.receipt.verified is not False
        }
        return [item for item in self.objects(key) if item.sop_instance_uid not in held]

    def taken(self, keys: Sequence[str]) -> dict[str, dict[str, int]]:
        """Job -> destination -> how many objects it has taken; nothing for what has none encoded."""
        query = (
            "SELECT d.job_key, d.destination, count(r.sop_instance_uid) AS n FROM deliveries d"
            " LEFT JOIN receipts r ON r.job_key=d.job_key AND r.destination=d.destination AND r.delivered=1"
            f" WHERE d.job_key IN ({self._connection.one_of})"
            " GROUP BY d.job_key, d.destination ORDER BY d.destination"
        )
        found: dict[str, dict[str, int]] = defaultdict(dict)
        for row in self._rows(query, json.dumps(keys)):
            found[row["job_key"]][row["destination"]] = row["n"]
        return dict(found)

    def n_objects(self, keys: Sequence[str]) -> dict[str, int]:
        """Job -> how many objects are encoded; nothing for what has none."""
        query = (
            f"SELECT job_key, count(*) AS n FROM objects WHERE job_key IN ({self._connection.one_of})"
            " GROUP BY job_key"
        )
        return {row["job_key"]: row["n"] for row in self._rows(query, json.dumps(keys))}
