"""This machine's clock against what is on record, and the senders' clocks against ours."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, suppress
from datetime import UTC, datetime, timedelta

from pydicom.valuerep import DA, TM

from lfmri_node.dicom_io.errors import DicomIoError
from lfmri_node.dicom_io.raw_data.received import recall_measurement
from lfmri_node.node.config import Config
from lfmri_node.node.doctor.findings import Finding, State, ok
from lfmri_node.node.jobs.ledger import Ledger
from lfmri_node.node.jobs.tables import databases_of, has_tables
from lfmri_node.node.layout import Layout

_EARLIEST = datetime(2026, 1, 1, tzinfo=UTC)
_CLOCK_SLACK = timedelta(minutes=2)
_AHEAD = timedelta(minutes=5)
_BEHIND = timedelta(hours=12)
_LATEST, _ENOUGH = 50, 3


def clock(config: Config, _layout: Layout) -> Iterator[Finding]:
    """Whether this clock is earlier than what it wrote itself."""
    present = datetime.now(UTC)
    latest = theirs = None
    table = databases_of(config).table
    if has_tables(table):
        with closing(Ledger(table)) as ledger:
            latest, theirs = ledger.latest_change(), ledger.clock()
    if present < _EARLIEST or (latest is not None and present < latest - _CLOCK_SLACK):
        yield Finding(
            check="clock",
            state=State.FAILED,
            message=f"the clock says {present:%Y-%m-%d %H:%M} UTC, earlier than what is on record",
            code="LF-DOC-005",
            hint="set the clock (NTP): dates in DICOM objects and waiting times follow it",
        )
    elif theirs is not None and abs(theirs - datetime.now(UTC)) > _CLOCK_SLACK:
        yield Finding(
            check="clock",
            state=State.WARNING,
            message=f"the clock is {_minutes(abs(theirs - present))} off that of the database's machine",
            code="LF-DOC-037",
            hint="set both by NTP: what is on record and dates in DICOM objects follow this machine's",
        )
    else:
        yield ok("clock", f"{present:%Y-%m-%d %H:%M:%S} UTC")


def sender_clocks(config: Config, _layout: Layout) -> Iterator[Finding]:
    """Whether studies begin before they arrive, and not long before, by each sender's own words."""
    table = databases_of(config).table
    if not has_tables(table):
        return
    with closing(Ledger(table)) as ledger:
        jobs = ledger.measurements()[-_LATEST:]
        sources = [(job, ledger.sources(job.key)) for job in jobs]
    lags: dict[str, list[timedelta]] = defaultdict(list)
    for job, paths in sources:
        with suppress(OSError, DicomIoError):  # retention has taken it, or it was damaged: others speak
            begun = study_time(recall_measurement(paths).context.attributes)
            if begun is not None:
                lags[job.calling_ae].append(job.received_at - begun)
    for calling_ae, found in sorted(lags.items()):
        yield lag_finding(calling_ae, found)


def study_time(attributes: Mapping[str, object]) -> datetime | None:
    """StudyDate and StudyTime, by TimezoneOffsetFromUTC or the zone of this machine (PS3.3 C.12.1.1.8); None
    where either is missing or is none."""
    try:
        day, time = DA(str(attributes["StudyDate"])), TM(str(attributes["StudyTime"]))
        if day is None or time is None:
            return None
        offset = str(attributes.get("TimezoneOffsetFromUTC") or "")
        zone = datetime.strptime(offset, "%z").tzinfo if offset else None
    except (KeyError, ValueError):
        return None
    moment = datetime.combine(day, time)
    return moment.replace(tzinfo=zone) if zone is not None else moment.astimezone()


def lag_finding(calling_ae: str, lags: Sequence[timedelta]) -> Finding:
    """What the times from the beginning of studies to their arrival say of a sender's clock.

    A study that begins after it has arrived proves a wrong clock. One that arrives late proves nothing; where
    every one of several does, the clock may be behind.
    """
    least = min(lags)
    if least < -_AHEAD:
        return Finding(
            check="sender clocks",
            state=State.WARNING,
            message=f"{calling_ae}: a study began {_minutes(-least)} after it arrived",
            code="LF-DOC-034",
            hint="set the clock or the time zone of that scanner or gateway: dates in the PACS follow it",
        )
    if len(lags) >= _ENOUGH and least > _BEHIND:
        return Finding(
            check="sender clocks",
            state=State.WARNING,
            message=f"{calling_ae}: {len(lags)} studies began {_minutes(least)} or more before they came",
            code="LF-DOC-035",
            hint="where it sends no old scans, its clock or time zone is wrong",
        )
    return ok("sender clocks", f"{calling_ae}: studies arrive after they begin")


def _minutes(duration: timedelta) -> str:
    return f"{duration.total_seconds() / 60:.0f} minutes"
