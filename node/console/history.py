"""Throughput, latency and verdicts, day by day."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from lfmri_node.node.jobs.job import ORDER, Stage
from lfmri_node.node.jobs.overview import Outcome

KINDS = ("trusted", "fallback", "quarantined", "open")


@dataclass(frozen=True, slots=True, kw_only=True)
class Day:
    """What came in on one day (UTC), and what became of it.

    Parameters
    ----------
    counts
        How many of each of `KINDS`.
    latencies_s
        From reception to the last delivery of those that are finished, ascending.
    """

    day: date
    counts: Mapping[str, int]
    latencies_s: tuple[float, ...]

    @property
    def total(self) -> int:
        return sum(self.counts.values())

    @property
    def n_finished(self) -> int:
        return len(self.latencies_s)


def days_of(outcomes: Sequence[Outcome], last: date, n_days: int) -> list[Day]:
    """One entry a day, oldest first, days without scans included."""
    of_day: dict[date, list[Outcome]] = {last - timedelta(days=n): [] for n in reversed(range(n_days))}
    for outcome in outcomes:
        if outcome.received_at.date() in of_day:
            of_day[outcome.received_at.date()].append(outcome)
    return [
        Day(
            day=day,
            counts=Counter(_kind(outcome) for outcome in found),
            latencies_s=tuple(
                sorted(
                    (o.finished_at - o.received_at).total_seconds()
                    for o in found
                    if o.finished_at is not None
                )
            ),
        )
        for day, found in of_day.items()
    ]


def _kind(outcome: Outcome) -> str:
    if outcome.quarantined:
        return "quarantined"
    if outcome.verdict:
        return "trusted" if outcome.verdict == "TRUSTED" else "fallback"
    return "open"


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """A few numbers of a distribution; seconds."""

    n: int
    median: float
    nine_tenths: float
    longest: float


def spread(seconds: Sequence[float]) -> Spread | None:
    """None of nothing; nine tenths: the smallest value that so many do not exceed."""
    if not seconds:
        return None
    ordered = sorted(seconds)
    return Spread(
        n=len(ordered),
        median=statistics.median(ordered),
        nine_tenths=ordered[-(-9 * len(ordered) // 10) - 1],
        longest=ordered[-1],
    )


def stage_spreads(seconds: Mapping[tuple[Stage, str], Sequence[float]]) -> list[tuple[str, str, Spread]]:
    """(stage, destination, spread) in the order of a job."""
    found = [
        (stage.value, destination, made)
        for (stage, destination), values in seconds.items()
        if (made := spread(values)) is not None
    ]
    order = [stage.value for stage in ORDER]
    return sorted(found, key=lambda row: (order.index(row[0]), row[1]))


def since_of(now: datetime, n_days: int) -> datetime:
    """Midnight (UTC) at which the first of so many days begins."""
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
    return midnight - timedelta(days=n_days - 1)
