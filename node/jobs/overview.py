"""The job table, seen as a whole: how fast, how well, and what each destination still has to take."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from datetime import datetime

from lfmri_node.node.jobs import schema
from lfmri_node.node.jobs.job import Failure, Job, Stage
from lfmri_node.node.jobs.ledger import Ledger


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of one scan; ``verdict`` "" where it was not reconstructed."""

    received_at: datetime
    finished_at: datetime | None
    quarantined: bool
    verdict: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Backlog:
    """What a destination still has to take.

    Parameters
    ----------
    n_open
        Jobs that are not delivered there, and are tried.
    n_given_up
        Jobs of which it refused something for good.
    next_try_at
        The earliest; None where it is their turn, or nothing is open.
    failure
        Of the latest try that failed and was not made good; of an open job before one given up.
    held_since
        When the first try began of those that failed since the last one that did not; None where the last
        try was good, or there was none.
    delivered_at
        When it last took an object.
    """

    n_open: int
    n_given_up: int
    next_try_at: datetime | None
    failure: Failure | None
    held_since: datetime | None
    delivered_at: datetime | None


class Overview(Ledger):
    """Read-only, as `Ledger`."""

    def quarantined(self) -> list[Job]:
        """Jobs that wait for a person, the latest first."""
        query = "SELECT * FROM jobs WHERE stage='quarantined' ORDER BY updated_at DESC"
        return [schema.as_job(row) for row in self._rows(query)]

    def outcomes(self, since: datetime) -> list[Outcome]:
        """Every scan, and every measurement that never came apart into scans, received since then."""
        verdict = self._connection.text_of.format("summary", "verdict")
        query = (
            f"SELECT received_at, finished_at, stage, {verdict} AS verdict FROM jobs"
            " WHERE received_at>=? AND (contrast IS NOT NULL OR stage!='decoded') ORDER BY received_at"
        )
        return [
            Outcome(
                received_at=datetime.fromisoformat(row["received_at"]),
                finished_at=schema.as_moment(row["finished_at"]),
                quarantined=row["stage"] == Stage.QUARANTINED,
                verdict=row["verdict"] or "",
            )
            for row in self._rows(query, schema.moment(since))
        ]

    def stage_seconds(self, since: datetime) -> dict[tuple[Stage, str], list[float]]:
        """Seconds of every try that came to a good end since then, by stage and destination."""
        query = (
            "SELECT stage, destination, seconds FROM timings"
            " WHERE outcome='done' AND seconds IS NOT NULL AND begun_at>=?"
        )
        found: dict[tuple[Stage, str], list[float]] = defaultdict(list)
        for row in self._rows(query, schema.moment(since)):
            found[Stage(row["stage"]), row["destination"]].append(row["seconds"])
        return dict(found)

    def backlog(self, destination: str) -> Backlog:
        """What one destination still has to take, and since when it does not."""
        rows = self._rows(
            "SELECT d.* FROM deliveries d JOIN jobs j ON j.key=d.job_key"
            " WHERE d.destination=? AND j.finished_at IS NULL"
            " AND (d.finished_at IS NULL OR d.failure IS NOT NULL)"
            " ORDER BY d.finished_at IS NOT NULL, j.updated_at DESC",
            destination,
        )
        waiting = [row for row in rows if row["finished_at"] is None]
        (held,) = self._rows(
            "SELECT min(begun_at) AS since FROM timings WHERE destination=? AND outcome LIKE 'LF-%'"
            " AND id > (SELECT coalesce(max(id), 0) FROM timings WHERE destination=? AND outcome='done')",
            destination,
            destination,
        )
        (taken,) = self._rows(
            "SELECT max(answered_at) AS last FROM receipts WHERE destination=? AND delivered=1", destination
        )
        failures = [row["failure"] for row in rows if row["failure"] is not None]
        due = [row["next_try_at"] for row in waiting if row["next_try_at"] is not None]
        return Backlog(
            n_open=len(waiting),
            n_given_up=len(rows) - len(waiting),
            next_try_at=schema.as_moment(min(due, default=None)),
            failure=schema.as_failure(failures[0]) if failures else None,
            held_since=schema.as_moment(held["since"]),
            delivered_at=schema.as_moment(taken["last"]),
        )
