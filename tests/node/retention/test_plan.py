"""What has to go, decided from values: by age, by size, and what never goes."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from lfmri_node.node.config import RetentionSection
from lfmri_node.node.jobs.purges import Holding, State, What
from lfmri_node.node.retention.plan import Footprint, plan

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
GB = 2**30


def holding(key: str, state: State = State.DELIVERED, *, days: float = 100, raw: str = "", **more) -> Holding:
    then = NOW - timedelta(days=days)
    return Holding(
        key=key,
        received_at=then,
        since=then,
        state=state,
        keys=[key],
        raw=[Path(raw or f"raw-{key}")],
        **more,
    )


def footprint(one: Holding, *, fresh: bool = False, results: int = GB, raw: int = GB) -> Footprint:
    return Footprint(results={Path(f"out-{one.key}"): results}, raw=dict.fromkeys(one.raw, raw), fresh=fresh)


def planned(*holdings: Holding, fresh: bool = False, **limits: float) -> set[tuple[str, str]]:
    footprints = {one.key: footprint(one, fresh=fresh) for one in holdings}
    return {
        (purge.key, purge.what.value) for purge in plan(holdings, footprints, RetentionSection(**limits), NOW)
    }


def test_without_limits_nothing_goes() -> None:
    assert planned(*(holding(state.value, state, days=9999) for state in State)) == set()


@pytest.mark.parametrize("days", [0.0, 30.0])
def test_what_is_open_or_was_delivered_nowhere_never_goes(days: float) -> None:
    limits = {"raw_days": days, "results_days": days, "quarantined_days": days, "max_total_gb": 1e-6}
    assert planned(holding("a", State.OPEN), holding("b", State.KEPT), **limits) == set()


def test_delivered_goes_by_its_own_limits() -> None:
    old, young = holding("a", days=31), holding("b", days=29)
    assert planned(old, young, raw_days=30) == {("a", "raw")}
    assert planned(old, young, results_days=30) == {("a", "results")}
    assert planned(old, young, quarantined_days=1) == set()


def test_quarantined_goes_by_its_own_limit_only() -> None:
    old = holding("a", State.QUARANTINED, days=31)
    assert planned(old, raw_days=1, results_days=1, max_total_gb=0.001) == set()
    assert planned(old, quarantined_days=32) == set()
    assert planned(old, quarantined_days=30) == {("a", "raw"), ("a", "results")}


def test_what_came_in_lately_keeps_its_raw_data() -> None:
    assert planned(holding("a"), fresh=True, raw_days=0, results_days=0) == {("a", "results")}
    assert planned(holding("a"), fresh=True, max_total_gb=0.001) == set()


def test_a_clock_set_back_makes_nothing_old() -> None:
    assert planned(holding("a", days=-400), raw_days=1, results_days=1) == set()


def test_a_file_stays_while_another_measurement_needs_it() -> None:
    done = holding("a", raw="file")
    assert planned(done, holding("b", State.OPEN, raw="file"), raw_days=1) == set()
    assert planned(done, holding("b", raw="file", days=0.5), raw_days=1) == set()
    assert planned(done, holding("b", raw="file"), raw_days=1) == {("a", "raw"), ("b", "raw")}
    assert planned(done, holding("b", State.OPEN, raw="file"), max_total_gb=1.5) == {("a", "results")}


def test_beyond_the_size_the_oldest_results_go_first_then_raw_data() -> None:
    three = [holding("a", days=3), holding("b", days=2), holding("c", days=1)]
    assert planned(*three, max_total_gb=6) == set()
    assert planned(*three, max_total_gb=5) == {("a", "results")}
    assert planned(*three, max_total_gb=3) == {("a", "results"), ("b", "results"), ("c", "results")}
    assert planned(*three, max_total_gb=1.5) == {
        *((key, "results") for key in "abc"),
        ("a", "raw"),
        ("b", "raw"),
    }
    assert planned(*three, max_total_gb=4, results_days=3) == {("a", "results"), ("b", "results")}


def test_what_belongs_to_no_measurement_counts_for_the_size() -> None:
    one = holding("a")
    footprints = {"a": Footprint(results={Path("r"): GB}, raw={Path("f"): GB}, fresh=False)}
    for beside, expected in ((0, []), (GB, [What.RESULTS]), (2 * GB, [What.RESULTS, What.RAW])):
        purges = plan([one], footprints, RetentionSection(max_total_gb=2), NOW, beside)
        assert [purge.what for purge in purges] == expected


def test_what_was_begun_is_ended_whatever_the_limits_say_now() -> None:
    assert planned(holding("a", marked={What.RAW})) == {("a", "raw")}


def test_records_go_when_nothing_else_is_left() -> None:
    gone = {What.RAW: NOW - timedelta(days=10), What.RESULTS: NOW - timedelta(days=5)}
    one = holding("a", marked=set(gone), done=gone)
    nothing = {"a": Footprint(results={}, raw={}, fresh=False)}
    for days, expected in ((6, []), (5, [What.RECORDS])):
        purges = plan([one], nothing, RetentionSection(records_days=days, raw_days=1, results_days=1), NOW)
        assert [purge.what for purge in purges] == expected
    half = holding("a", marked={What.RAW}, done={What.RAW: NOW - timedelta(days=10)})
    assert planned(half, records_days=1) == set()
