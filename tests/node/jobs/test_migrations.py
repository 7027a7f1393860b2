"""A job table of an earlier version becomes one of this version: same tables, all rows, and a copy."""

import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest
from postgres_cluster import PASSWORD

from lfmri_node.node.errors import JobError
from lfmri_node.node.jobs import migrations
from lfmri_node.node.jobs.database import PostgresTable
from lfmri_node.node.jobs.job import Stage
from lfmri_node.node.jobs.ledger import Ledger
from lfmri_node.node.jobs.postgres import PostgresDatabase
from lfmri_node.node.jobs.store import Store

VERSION_2 = """
CREATE TABLE jobs (
    key TEXT PRIMARY KEY,
    parent TEXT REFERENCES jobs(key) ON DELETE CASCADE,
    contrast INTEGER,
    repetition INTEGER,
    source_sha256 TEXT NOT NULL,
    calling_ae TEXT NOT NULL,
    stage TEXT NOT NULL,
    resume TEXT,
    running TEXT,
    attempts INTEGER NOT NULL,
    next_try_at TEXT,
    failure TEXT,
    progress TEXT,
    recipe TEXT NOT NULL,
    summary TEXT NOT NULL,
    received_at TEXT NOT NULL,
    updated_at TEXT NOT NULL,
    finished_at TEXT
) STRICT;
CREATE INDEX jobs_by_parent ON jobs(parent);
CREATE INDEX jobs_by_time ON jobs(received_at);
CREATE INDEX jobs_unfinished ON jobs(received_at) WHERE finished_at IS NULL;
CREATE INDEX jobs_by_stage ON jobs(stage, contrast);
CREATE TABLE sources (
    job_key TEXT NOT NULL REFERENCES jobs(key) ON DELETE CASCADE,
    part INTEGER NOT NULL,
    path TEXT NOT NULL,
    PRIMARY KEY (job_key, part)
) STRICT;
CREATE INDEX sources_by_path ON sources(path);
CREATE TABLE timings (
    id INTEGER PRIMARY KEY,
    job_key TEXT NOT NULL REFERENCES jobs(key) ON DELETE CASCADE,
    stage TEXT NOT NULL,
    destination TEXT NOT NULL,
    attempt INTEGER NOT NULL,
    begun_at TEXT NOT NULL,
    seconds REAL,
    outcome TEXT
) STRICT;
CREATE INDEX timings_by_job ON timings(job_key);
CREATE TABLE objects (
    job_key TEXT NOT NULL REFERENCES jobs(key) ON DELETE CASCADE,
    position INTEGER NOT NULL,
    path TEXT NOT NULL,
    sha256 TEXT NOT NULL,
    role TEXT NOT NULL,
    sop_class_uid TEXT NOT NULL,
    sop_instance_uid TEXT NOT NULL,
    series_instance_uid TEXT NOT NULL,
    PRIMARY KEY (job_key, sop_instance_uid)
) STRICT;
CREATE TABLE deliveries (
    job_key TEXT NOT NULL REFERENCES jobs(key) ON DELETE CASCADE,
    destination TEXT NOT NULL,
    tries INTEGER NOT NULL,
    failure TEXT,
    next_try_at TEXT,
    finished_at TEXT,
    PRIMARY KEY (job_key, destination)
) STRICT;
CREATE TABLE receipts (
    job_key TEXT NOT NULL REFERENCES jobs(key) ON DELETE CASCADE,
    destination TEXT NOT NULL,
    sop_instance_uid TEXT NOT NULL,
    dimse_status INTEGER,
    delivered INTEGER NOT NULL,
    verified INTEGER,
    detail TEXT NOT NULL,
    transient INTEGER NOT NULL,
    answered_at TEXT NOT NULL,
    tries INTEGER NOT NULL,
    PRIMARY KEY (job_key, destination, sop_instance_uid)
) STRICT;
CREATE TABLE purges (
    job_key TEXT NOT NULL REFERENCES jobs(key) ON DELETE CASCADE,
    what TEXT NOT NULL,
    marked_at TEXT NOT NULL,
    done_at TEXT,
    PRIMARY KEY (job_key, what)
) STRICT;
"""
"""As the table was made by version 0.2.0."""

AT = datetime(2026, 1, 2, 3, 4, 5, 678, tzinfo=UTC)
KEY = "aa" * 32


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """A table of 0.2.0 with a scan on its way, one row in each table."""
    table = tmp_path / "state" / "node.sqlite"
    table.parent.mkdir()
    at = AT.isoformat(timespec="microseconds")
    with closing(sqlite3.connect(table)) as connection, connection:
        connection.executescript(VERSION_2)
        connection.execute("PRAGMA user_version=2")
        for name, row in {
            "jobs": (
                *(KEY, None, 0, 0, "dd" * 32, "GATEWAY", "encoded", None, None, 1, None, None, None),
                *('{"recon": 1}', '{"n_slices": 3}', at, at, None),
            ),
            "sources": (KEY, 1, "spool/objects/one.dcm"),
            "timings": (7, KEY, "encoded", "", 1, at, 2.5, "done"),
            "objects": (KEY, 0, "objects/one.dcm", "ee" * 32, "image", "1.2", "2.25.1", "2.25.2"),
            "deliveries": (KEY, "pacs", 1, None, None, None),
            "receipts": (KEY, "pacs", "2.25.1", 0xA700, 0, None, "busy", 1, at, 1),
            "purges": (KEY, "results", at, None),
        }.items():
            connection.execute(f"INSERT INTO {name} VALUES ({', '.join('?' * len(row))})", row)
    return table


def schema_of(table: Path) -> dict[str, str]:
    with closing(sqlite3.connect(table)) as connection:
        return dict(connection.execute("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL"))


def rows_of(table: Path) -> dict[str, list[dict[str, object]]]:
    with closing(sqlite3.connect(table)) as connection:
        connection.row_factory = sqlite3.Row
        names = [row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type='table'")]
        return {name: [dict(row) for row in connection.execute(f"SELECT * FROM {name}")] for name in names}


def test_a_fresh_table_equals_a_migrated_one(tmp_path: Path, old: Path) -> None:
    fresh = tmp_path / "fresh" / "node.sqlite"
    Store(fresh).close()
    migrations.migrate(old)
    assert schema_of(old) == schema_of(fresh)


def test_every_row_is_kept_and_a_copy_of_the_table_as_it_was(old: Path) -> None:
    before = rows_of(old)
    assert migrations.migrate(old)
    assert rows_of(old.with_name("node.sqlite.version-2")) == before
    after = rows_of(old)
    for name, rows in before.items():
        assert [{column: row[column] for column in rows[0]} for row in after[name]] == rows
    with closing(Store(old)) as store:
        assert store.job(KEY).stage is Stage.ENCODED
        assert store.job(KEY).received_at == AT
        assert [shipment.tries for shipment in store.shipments(KEY)] == [1]


def test_a_table_of_this_version_and_none_at_all_are_left_alone(tmp_path: Path, old: Path) -> None:
    assert not migrations.migrate(tmp_path / "absent.sqlite")
    migrations.migrate(old)
    assert not migrations.migrate(old)


def test_a_migration_that_fails_leaves_the_table_as_it_was(
    old: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = schema_of(old), rows_of(old)
    broken = (*migrations.STEPS, ("CREATE TABLE more (name TEXT) STRICT", "no statement"))
    monkeypatch.setattr(migrations, "STEPS", broken)
    with pytest.raises(sqlite3.OperationalError):
        migrations.migrate(old)
    assert (schema_of(old), rows_of(old)) == before
    monkeypatch.undo()
    assert migrations.migrate(old)


def test_only_the_service_migrates(old: Path) -> None:
    for opened in (Ledger, Store):
        with pytest.raises(JobError) as caught:
            opened(old)
        assert caught.value.code == "LF-JOB-004"
        assert "serve" in caught.value.hint


@pytest.mark.parametrize("version", [1, 99])
def test_other_versions_are_refused(old: Path, version: int) -> None:
    with closing(sqlite3.connect(old)) as connection, connection:
        connection.execute(f"PRAGMA user_version={version}")
    with pytest.raises(JobError) as caught:
        migrations.migrate(old)
    assert caught.value.code == "LF-JOB-004"


@pytest.fixture
def old_in_postgres(postgres, tmp_path: Path) -> PostgresTable:
    """The same in PostgreSQL, where 0.2.0 had none: the first version's tables."""
    postgres.database(tmp_path.name)
    table = PostgresTable(url=postgres.url(tmp_path.name, password=PASSWORD), root=tmp_path)
    with closing(PostgresDatabase(table.url, writes=True)) as database, database.changing():
        for statement in migrations.FIRST.split(";"):
            database.define(statement)
        database.set_version(2)
        database.execute(
            "INSERT INTO jobs (key, source_sha256, calling_ae, stage, attempts, recipe, summary, received_at,"
            " updated_at) VALUES (?, '', '', 'received', 0, '{}', '{}', ?, ?)",
            (KEY, AT.isoformat(), AT.isoformat()),
        )
    return table


def columns_of(table: PostgresTable) -> list[tuple[object, ...]]:
    with closing(PostgresDatabase(table.url, writes=False)) as database:
        query = (
            "SELECT table_name, column_name, ordinal_position, column_default, is_nullable, data_type,"
            " collation_name FROM information_schema.columns WHERE table_schema='lfmri'"
            " ORDER BY table_name, ordinal_position"
        )
        indexes = "SELECT indexdef FROM pg_indexes WHERE schemaname='lfmri' ORDER BY indexdef"
        return [tuple(dict(row).values()) for text in (query, indexes) for row in database.execute(text)]


def test_in_postgresql_too(postgres, tmp_path: Path, old_in_postgres: PostgresTable) -> None:
    postgres.database(f"{tmp_path.name}-fresh")
    url = postgres.url(f"{tmp_path.name}-fresh", password=PASSWORD)
    Store(fresh := PostgresTable(url=url, root=tmp_path)).close()
    assert migrations.migrate(old_in_postgres)
    assert not migrations.migrate(old_in_postgres)
    assert columns_of(old_in_postgres) == columns_of(fresh)
    with closing(Store(old_in_postgres)) as store:
        assert store.job(KEY).priority == 0


def test_a_migration_that_fails_in_postgresql(
    old_in_postgres: PostgresTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = columns_of(old_in_postgres)
    broken = (*migrations.STEPS, ("CREATE TABLE more (name TEXT) STRICT", "no statement"))
    monkeypatch.setattr(migrations, "STEPS", broken)
    with pytest.raises(sqlite3.OperationalError):
        migrations.migrate(old_in_postgres)
    assert columns_of(old_in_postgres) == before
