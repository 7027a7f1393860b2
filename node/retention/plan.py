"""What has to go, by the limits of the configuration: computed from values, changes nothing."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from lfmri_node.node.config import RetentionSection
from lfmri_node.node.jobs.purges import Holding, State, What, age

_GB = 2**30


@dataclass(frozen=True, slots=True, kw_only=True)
class Footprint:
    """What a measurement occupies: paths with their bytes, and whether something came in lately."""

    results: Mapping[Path, int]
    raw: Mapping[Path, int]
    fresh: bool

    def of(self, what: What) -> Mapping[Path, int]:
        """Paths and bytes of one kind; records have none."""
        return {What.RESULTS: self.results, What.RAW: self.raw}.get(what, {})


@dataclass(frozen=True, slots=True, kw_only=True)
class Purge:
    """One thing that has to go, and why."""

    key: str
    what: What
    reason: str
    paths: tuple[Path, ...]
    n_bytes: int


def plan(
    holdings: Sequence[Holding],
    footprints: Mapping[str, Footprint],
    limits: RetentionSection,
    at: datetime,
    beside: int = 0,
) -> list[Purge]:
    """Everything that has to go now, in the order in which it goes: the oldest first.

    ``beside``: bytes that lie in the spool and belong to no measurement; they count for the total size.

    Never anything of a measurement of which a scan is open or was delivered nowhere, of one that came
    in lately (its sender may still be sending), and of one in quarantine before its own limit.
    """
    users = _users_of_files(holdings)
    chosen: dict[tuple[str, What], str] = {}
    for holding in holdings:
        for what in (What.RESULTS, What.RAW):
            gone = what in holding.done and not footprints[holding.key].of(what)
            reason = "" if gone else _reason(holding, what, limits, at)
            if reason and not _is_needed(holding, what, users, footprints, limits, at):
                chosen[holding.key, what] = reason
    for key, what in _over_size(holdings, footprints, limits, users, chosen, beside):
        chosen[key, what] = f"retention.max_total_gb = {limits.max_total_gb:g}"
    purges = [_purge(key, what, reason, footprints[key]) for (key, what), reason in chosen.items()]
    return [*purges, *_records(holdings, limits, at)]


def _users_of_files(holdings: Iterable[Holding]) -> Mapping[Path, list[Holding]]:
    """File in the spool -> the measurements made from it: more than one after a change of settings."""
    users = defaultdict(list)
    for holding in holdings:
        for path in holding.raw:
            users[path].append(holding)
    return users


def _days(holding: Holding, what: What, limits: RetentionSection) -> tuple[str, float | None]:
    if holding.state is State.QUARANTINED:
        return "quarantined_days", limits.quarantined_days
    if holding.state is State.DELIVERED:
        return f"{what}_days", limits.raw_days if what is What.RAW else limits.results_days
    return "", None


def _reason(holding: Holding, what: What, limits: RetentionSection, at: datetime) -> str:
    """Why ``what`` of a measurement has to go; "" where it stays."""
    if what in holding.marked - holding.done.keys():
        return "was begun"
    name, days = _days(holding, what, limits)
    if days is None or age(holding.since, at) < timedelta(days=days):
        return ""
    return f"{holding.state} {age(holding.since, at).days} days ago, retention.{name} = {days:g}"


def _is_needed(
    holding: Holding,
    what: What,
    users: Mapping[Path, list[Holding]],
    footprints: Mapping[str, Footprint],
    limits: RetentionSection,
    at: datetime,
) -> bool:
    if what is What.RESULTS:
        return False
    others = [other for path in holding.raw for other in users[path] if other is not holding]
    return footprints[holding.key].fresh or not all(
        What.RAW in other.marked or _reason(other, what, limits, at) for other in others
    )


def _over_size(
    holdings: Sequence[Holding],
    footprints: Mapping[str, Footprint],
    limits: RetentionSection,
    users: Mapping[Path, list[Holding]],
    chosen: Mapping[tuple[str, What], str],
    beside: int,
) -> Iterator[tuple[str, What]]:
    """What of delivered measurements goes until the rest fits, whatever its age: results before raw data."""
    if limits.max_total_gb is None:
        return
    left = {
        path: size
        for key, footprint in footprints.items()
        for what in (What.RESULTS, What.RAW)
        if (key, what) not in chosen
        for path, size in footprint.of(what).items()
    }
    total = beside + sum(left.values())
    for what in (What.RESULTS, What.RAW):
        for holding in sorted(holdings, key=lambda holding: holding.since):
            if total <= limits.max_total_gb * _GB:
                return
            paths = [path for path in footprints[holding.key].of(what) if path in left]
            shared = what is What.RAW and any(len(users[path]) > 1 for path in holding.raw)
            if (
                holding.state is State.DELIVERED
                and paths
                and not footprints[holding.key].fresh
                and not shared
            ):
                total -= sum(left.pop(path) for path in paths)
                yield holding.key, what


def _purge(key: str, what: What, reason: str, footprint: Footprint) -> Purge:
    paths = footprint.of(what)
    return Purge(key=key, what=what, reason=reason, paths=tuple(paths), n_bytes=sum(paths.values()))


def _records(holdings: Iterable[Holding], limits: RetentionSection, at: datetime) -> Iterator[Purge]:
    """Rows of measurements of which nothing else is left."""
    days = limits.records_days
    for holding in holdings if days is not None else ():
        if {What.RAW, What.RESULTS} <= holding.done.keys():
            gone = max(holding.done.values())
            if age(gone, at) >= timedelta(days=days or 0):
                reason = f"gone {age(gone, at).days} days ago, retention.records_days = {days:g}"
                yield Purge(key=holding.key, what=What.RECORDS, reason=reason, paths=(), n_bytes=0)
