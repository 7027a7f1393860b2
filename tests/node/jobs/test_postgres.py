"""The job table in PostgreSQL: a server that restarts, a writer that freezes, a password that nobody sees."""

import os
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from postgres_cluster import PASSWORD, Cluster

from lfmri_node.node.errors import PostgresError, damaged_database
from lfmri_node.node.jobs.database import PostgresTable
from lfmri_node.node.jobs.ledger import Ledger
from lfmri_node.node.jobs.postgres import PostgresDatabase

FROZEN = """
import sys
from lfmri_node.node.jobs.postgres import PostgresDatabase
with PostgresDatabase(sys.argv[1], writes=True).changing():
    print("changing", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def url(postgres: Cluster, tmp_path: Path) -> str:
    postgres.database(tmp_path.name)
    return postgres.url(tmp_path.name, password=PASSWORD)


@pytest.fixture
def database(url: str) -> Iterator[PostgresDatabase]:
    with closing(PostgresDatabase(url, writes=True)) as opened:
        with opened.changing():
            opened.define("CREATE TABLE numbers (number INTEGER NOT NULL) STRICT")
        yield opened


def numbers(database: PostgresDatabase) -> list[int]:
    return [row["number"] for row in database.execute("SELECT number FROM numbers ORDER BY number")]


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGQUIT])
def test_a_server_that_restarts_costs_the_change_under_way_and_nothing_else(
    postgres: Cluster, database: PostgresDatabase, how: signal.Signals
) -> None:
    database.execute("INSERT INTO numbers VALUES (1)")

    def cut_off() -> None:
        with database.changing():
            database.execute("INSERT INTO numbers VALUES (2)")
            postgres.stop(how)
            postgres.start()

    with pytest.raises(PostgresError):
        cut_off()
    assert numbers(database) == [1]
    postgres.stop(how)
    postgres.start()
    with database.changing():
        database.execute("INSERT INTO numbers VALUES (3)")
    assert numbers(database) == [1, 3]


def test_a_server_that_is_away_is_named(postgres: Cluster, url: str, database: PostgresDatabase) -> None:
    postgres.stop()
    try:
        for use in (lambda: PostgresDatabase(url, writes=False), lambda: numbers(database)):
            with pytest.raises(sqlite3.Error) as caught:
                use()
            assert damaged_database(caught.value).code == "LF-JOB-070"
            assert PASSWORD not in str(caught.value)
    finally:
        postgres.start()
    assert numbers(database) == []


def test_changes_of_two_processes_come_one_after_the_other(url: str, database: PostgresDatabase) -> None:
    """Each looks for the highest number and writes the next: no look is out of date when it writes."""

    def count(other: PostgresDatabase) -> None:
        for _ in range(20):
            with other.changing():
                (row,) = other.execute("SELECT coalesce(max(number), 0) AS last FROM numbers")
                other.execute("INSERT INTO numbers VALUES (?)", (row["last"] + 1,))

    with closing(PostgresDatabase(url, writes=True)) as second:
        threads = [threading.Thread(target=count, args=(each,)) for each in (database, second)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert numbers(database) == list(range(1, 41))


def test_a_process_that_freezes_within_a_change_does_not_stop_the_others(
    url: str, database: PostgresDatabase
) -> None:
    frozen = subprocess.Popen(
        [sys.executable, "-c", FROZEN, url], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert frozen.stdout is not None
    assert frozen.stdout.readline() == "changing\n"
    os.kill(frozen.pid, signal.SIGSTOP)
    try:
        with database.changing():  # once the server has ended the other's session
            database.execute("INSERT INTO numbers VALUES (1)")
        assert numbers(database) == [1]
    finally:
        os.kill(frozen.pid, signal.SIGCONT)
        frozen.communicate()
    assert frozen.returncode != 0  # what it had in hand is refused


def test_nobody_sees_the_password(tmp_path: Path) -> None:
    table = PostgresTable(url=f"postgresql://lfmri:{PASSWORD}@127.0.0.1:1/none", root=tmp_path)
    assert PASSWORD not in repr(table)
    with pytest.raises(sqlite3.Error) as caught:
        Ledger(table)
    assert PASSWORD not in repr(caught.value)
    assert caught.value.__cause__ is None
