"""The tables of the job table, as steps from one version to the next.

How to change a table: add a step at the end of `STEPS`, a tuple of statements, and nothing else. The version
goes up by itself; a new table is made by the first version and all steps, so that a fresh one equals one
that was migrated. A step that was released is never changed. What a statement may be:

- The dialect is SQLite's, STRICT; `postgres` changes the names of types. Columns are TEXT, INTEGER or REAL;
  ``INTEGER PRIMARY KEY`` counts by itself.
- A new column: ``ALTER TABLE jobs ADD COLUMN name TEXT``; with NOT NULL only where there is a DEFAULT.
- A new table ends in ``REFERENCES jobs(key) ON DELETE CASCADE`` where it speaks of a job, so that retention
  finds it.
- What old rows are to hold: an ``UPDATE``, by standard SQL alone.
"""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

from lfmri_node.node.errors import JobError
from lfmri_node.node.jobs.database import Database, Table
from lfmri_node.node.jobs.sqlite import SqliteDatabase
from lfmri_node.node.jobs.tables import open_database

FIRST = """
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
"""Version 2: the oldest table that can be migrated."""

STEPS: tuple[tuple[str, ...], ...] = (
    (
        "ALTER TABLE jobs ADD COLUMN priority INTEGER NOT NULL DEFAULT 0",
        "ALTER TABLE jobs ADD COLUMN worker INTEGER",
        "CREATE TABLE workers (epoch INTEGER PRIMARY KEY, name TEXT NOT NULL, host TEXT NOT NULL,"
        " process INTEGER NOT NULL, listens INTEGER NOT NULL, begun_at TEXT NOT NULL, beat_s REAL NOT NULL,"
        " ended_at TEXT, heir INTEGER) STRICT",
        "CREATE INDEX workers_by_name ON workers(name)",
    ),
    ("ALTER TABLE jobs ADD COLUMN identity TEXT NOT NULL DEFAULT 'stated'",),
    (
        "ALTER TABLE deliveries ADD COLUMN failing_since TEXT",
        "ALTER TABLE deliveries ADD COLUMN note TEXT NOT NULL DEFAULT ''",
        "ALTER TABLE receipts ADD COLUMN proof TEXT NOT NULL DEFAULT ''",
        "UPDATE receipts SET proof='read back' WHERE verified IS NOT NULL",
        "CREATE TABLE transactions (uid TEXT PRIMARY KEY,"
        " job_key TEXT NOT NULL REFERENCES jobs(key) ON DELETE CASCADE, destination TEXT NOT NULL,"
        " asked_at TEXT NOT NULL, answered_at TEXT, done INTEGER NOT NULL DEFAULT 0) STRICT",
        "CREATE INDEX transactions_by_job ON transactions(job_key, destination)",
    ),
)
_OLDEST = 2
VERSION = _OLDEST + len(STEPS)


def require_present(version: int) -> None:
    """Check that a table is of this software.

    Raises
    ------
    JobError
        LF-JOB-004
    """
    if version != VERSION:
        older = _OLDEST <= version < VERSION
        raise JobError(
            "LF-JOB-004",
            f"the job table has schema version {version}, this software needs {VERSION}",
            "start `lfmri-node serve` once: it brings the table up to date"
            if older
            else "start the version that made it, or give this node a new node.data_dir",
        )


def bring_up_to(database: Database, version: int) -> None:
    """Make the tables, or bring them from ``version`` to `VERSION`, inside the caller's change."""
    if version == 0:
        for statement in FIRST.split(";"):
            database.define(statement)
    for step in STEPS[max(version - _OLDEST, 0) :]:
        for statement in step:
            database.define(statement)
    database.set_version(VERSION)


def migrate(table: Table) -> bool:
    """Bring the table of an earlier version up to date; for the holder of the data directory's lock.

    A SQLite table is left beside the new one as it was, ``node.sqlite.version-<n>``. In PostgreSQL a copy is
    the administrator's to make.

    Returns
    -------
    Whether anything had to be done.

    Raises
    ------
    JobError
        LF-JOB-004 where it is of a version that cannot be migrated.
    sqlite3.Error
        The table, or its copy, cannot be read or written; the table is as it was.
    """
    if isinstance(table, Path) and not table.exists():
        return False
    with closing(open_database(table, writes=True)) as database:
        version = database.version()
        if version in (0, VERSION):
            return False
        if not _OLDEST <= version < VERSION:
            require_present(version)
        if isinstance(database, SqliteDatabase) and isinstance(table, Path):
            database.copy_to(table.with_name(f"{table.name}.version-{version}"))
        with database.changing():
            bring_up_to(database, version)
        return True
