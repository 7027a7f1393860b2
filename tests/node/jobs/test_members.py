"""Epochs: who is at work, who is taken for dead, and that nothing is taken from the dead."""

from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest
from postgres_cluster import PASSWORD

from lfmri_node.node.errors import Fenced
from lfmri_node.node.jobs.database import PostgresTable, Table
from lfmri_node.node.jobs.job import Stage
from lfmri_node.node.jobs.store import Store
from lfmri_node.node.jobs.workers import Workers, executor

KEY = "aa" * 32
ALIVE = 1
"""Process number that is always taken: somebody else's."""


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.integration)])
def table(request: pytest.FixtureRequest, tmp_path: Path) -> Table:
    if request.param == "sqlite":
        return tmp_path / "state" / "node.sqlite"
    cluster = request.getfixturevalue("postgres")
    cluster.database(tmp_path.name)
    return PostgresTable(url=cluster.url(tmp_path.name, password=PASSWORD), root=tmp_path)


@pytest.fixture
def workers(table: Table) -> Iterator[Workers]:
    with closing(Workers(table)) as opened:
        yield opened


def entered(workers: Workers, name: str) -> int:
    epoch = workers.enter(name, alone=False, dead_after_s=12.0)
    assert epoch is not None
    workers._connection.execute("UPDATE workers SET process=?", (ALIVE,))
    return epoch


def silence(workers: Workers, epoch: int, seconds: float) -> None:
    workers._connection.execute("UPDATE workers SET beat_s=beat_s-? WHERE epoch=?", (seconds, epoch))


def received(store: Store, tmp_path: Path) -> None:
    store.add_measurement(
        key=KEY,
        source_sha256=KEY,
        calling_ae="GATEWAY",
        received_at=datetime(2026, 1, 2, tzinfo=UTC),
        recipe={},
        parts=[],
    )


def test_who_is_silent_for_too_long(workers: Workers) -> None:
    first, second = entered(workers, "w1"), entered(workers, "w2")
    assert second > first
    silence(workers, first, 60.0)
    assert {epoch for epoch, _ in workers.silent(12.0)} == {first}
    assert workers.silent(120.0) == frozenset()
    assert workers.beat(first)
    assert workers.silent(12.0) == frozenset()


def test_nothing_is_taken_from_the_dead(workers: Workers, table: Table, tmp_path: Path) -> None:
    dead, heir = entered(workers, "w1"), entered(workers, "w2")
    with closing(Store(table, epoch=dead)) as store:
        received(store, tmp_path)
        store.begin(KEY, Stage.DECODED)
        silence(workers, dead, 60.0)
        with workers.taking_over(workers.silent(12.0), heir) as heirs:
            assert heirs.living == {executor("w2", heir)}
            assert heirs.inherited == (dead,)
        assert not workers.beat(dead)
        for write in (
            lambda: store.split(KEY, [], seconds=1.0, learned={}),
            lambda: store.begin(KEY, Stage.DECODED),
            lambda: store.set_progress(KEY, 1, 2),
        ):
            with pytest.raises(Fenced):
                write()
        job = store.job(KEY)
        assert (job.stage, job.running, job.worker) == (Stage.RECEIVED, None, None)
        assert [timing.outcome for timing in store.timings(KEY)] == ["cut off"]
    with closing(Store(table, epoch=heir)) as store:
        assert store.begin(KEY, Stage.DECODED).worker == heir


def test_who_is_heard_of_between_two_looks_lives(workers: Workers) -> None:
    suspect, other = entered(workers, "w1"), entered(workers, "w2")
    silence(workers, suspect, 60.0)
    seen = workers.silent(12.0)
    assert workers.beat(suspect)
    with workers.taking_over(seen, other) as heirs:
        assert heirs.inherited == ()
    assert workers.beat(suspect)


def test_a_name_belongs_to_one_that_lives(workers: Workers) -> None:
    first = entered(workers, "w1")
    assert workers.enter("w1", alone=False, dead_after_s=12.0) is None
    silence(workers, first, 60.0)
    second = entered(workers, "w1")
    assert (workers.beat(first), workers.beat(second)) == (False, True)
    assert workers.left_behind()


def test_what_one_that_left_waited_for_has_one_heir(workers: Workers) -> None:
    left, heir, other = entered(workers, "w1"), entered(workers, "w2"), entered(workers, "w3")
    workers.leave(left)
    for epoch, expected in ((heir, (left,)), (other, ())):
        with workers.taking_over((), epoch) as heirs:
            assert heirs.inherited == expected
    assert not workers.left_behind()
