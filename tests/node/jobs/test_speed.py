"""What people ask often stays quick when the table is long: by index, not by reading all of it."""

import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from lfmri_node.node.jobs.job import Stage
from lfmri_node.node.jobs.ledger import Ledger
from lfmri_node.node.jobs.store import Store


@pytest.fixture
def ledger(tmp_path: Path):
    """A scan that is finished, one that waits, one in quarantine, and a measurement just received."""
    table = tmp_path / "data" / "state" / "node.sqlite"
    Store(table).close()
    with closing(sqlite3.connect(table)) as connection, connection:

        def add(**row: object) -> None:
            """What is not said has the table's default."""
            names, places = ", ".join(row), ", ".join("?" * len(row))
            connection.execute(f"INSERT INTO jobs ({names}) VALUES ({places})", list(row.values()))

        for n, stage in enumerate(("sent", "encoded", "quarantined", "received")):
            at = (datetime(2026, 1, 1, tzinfo=UTC) + timedelta(days=n)).isoformat()
            row = {"source_sha256": "", "calling_ae": "", "attempts": 0, "recipe": "{}", "summary": "{}"}
            row |= {"received_at": at, "updated_at": at}
            if stage == "received":
                add(**row, key=f"{n}" * 64, stage="received")
                continue
            add(**row, key=f"{n}" * 64, stage="decoded", finished_at=at)
            scan = {"key": f"{n}a" * 32, "parent": f"{n}" * 64, "contrast": 0, "repetition": 0}
            add(**row, **scan, stage=stage, finished_at=at if stage == "sent" else None)
    with closing(Ledger(table)) as ledger:
        yield ledger


def test_counts_and_latest_say_the_same_as_the_whole_list(ledger: Ledger) -> None:
    jobs = ledger.jobs()
    assert ledger.latest(0) == ledger.latest(100) == jobs
    assert ledger.stage_counts() == {
        stage: sum(job.stage is stage for job in jobs) for stage in Stage if stage in {j.stage for j in jobs}
    }
    assert ledger.n_unfinished() == 2
    assert ledger.latest_change() == max(job.updated_at for job in jobs)


def test_unfinished_jobs_are_shown_before_finished_ones(ledger: Ledger) -> None:
    assert [job.stage.value for job in ledger.latest(2)] == ["quarantined", "received"]
    assert [job.stage.value for job in ledger.latest(3)] == ["encoded", "quarantined", "received"]


NAMES = [
    *("job", "scans", "counts", "unfinished", "latest", "knows"),
    *("sources", "timings", "objects", "receipts", "purged", "taken", "n_objects"),
]


@pytest.mark.parametrize(
    "ask",
    [
        lambda ledger: ledger.job("1a1a"),
        lambda ledger: ledger.scans("1" * 64),
        lambda ledger: ledger.stage_counts(),
        lambda ledger: ledger.n_unfinished(),
        lambda ledger: ledger.latest(100),
        lambda ledger: ledger.knows([ledger._base / "spool" / "x.dcm"]),
        lambda ledger: ledger.sources("1" * 64),
        lambda ledger: ledger.timings("1" * 64),
        lambda ledger: ledger.objects("1" * 64),
        lambda ledger: ledger.receipts("1" * 64),
        lambda ledger: ledger.purged("1" * 64),
        lambda ledger: ledger.taken(["1a" * 32]),
        lambda ledger: ledger.n_objects(["1a" * 32, "0a" * 32]),
    ],
    ids=NAMES,
)
def test_every_frequent_question_is_answered_by_an_index(ledger: Ledger, ask, monkeypatch) -> None:
    asked: list[tuple[str, tuple[object, ...]]] = []
    rows = ledger._rows
    monkeypatch.setattr(
        ledger, "_rows", lambda query, *values: asked.append((query, values)) or rows(query, *values)
    )
    ask(ledger)
    monkeypatch.undo()
    plans = [row["detail"] for query, values in asked for row in rows(f"EXPLAIN QUERY PLAN {query}", *values)]
    assert plans
    assert [step for step in plans if "SCAN" in step and "INDEX" not in step] == []
    sorts_the_whole_table = len(asked) > 1 and any("B-TREE FOR ORDER BY" in step for step in plans)
    assert not sorts_the_whole_table
