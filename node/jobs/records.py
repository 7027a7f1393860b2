"""What the job table says beside its jobs: tries, answers, deliveries, processes."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from lfmri_node.dicom_io.types import DeliveryReceipt
from lfmri_node.node.jobs.job import Failure, Stage


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """One try of one stage; ``outcome``: "done", "drained", "cut off" where the node ended, or a code.

    ``destination`` is "" but for a delivery; ``outcome`` None while it runs.
    """

    stage: Stage
    destination: str
    attempt: int
    begun_at: datetime
    seconds: float | None
    outcome: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredReceipt:
    """The latest answer of a destination for one object, and how often it was tried."""

    receipt: DeliveryReceipt
    tries: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Shipment:
    """How far the delivery of a job to one destination is.

    Parameters
    ----------
    tries
        Tries in a row that failed for a passing reason.
    failure
        Of the last try; not transient: the destination refuses for good.
    failing_since
        When the first of those tries ended.
    note
        What is known of it beyond that the objects were taken, and why no more is.
    finished_at
        Set when every object was delivered, or refused for good.
    """

    destination: str
    tries: int
    failure: Failure | None
    next_try_at: datetime | None
    finished_at: datetime | None
    failing_since: datetime | None = None
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """A process that works on the jobs.

    Parameters
    ----------
    listens
        It takes scans in and delivers.
    silent_s
        Seconds since it was heard of, by the database's clock; of the one process that has a SQLite table to
        itself, since it began.
    job
        Key of what it computes; None where it waits.
    """

    name: str
    host: str
    process: int
    listens: bool
    begun_at: datetime
    silent_s: float
    job: str | None
