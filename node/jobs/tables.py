"""Where the job table and the engine's database are, and how the table is opened."""

from __future__ import annotations

from contextlib import AbstractContextManager, closing, nullcontext
from dataclasses import dataclass, field
from pathlib import Path

from lfmri_node.node.config import Config
from lfmri_node.node.errors import JobError
from lfmri_node.node.jobs.database import Database, PostgresTable, Table
from lfmri_node.node.jobs.sqlite import SqliteDatabase
from lfmri_node.node.layout import Layout


@dataclass(frozen=True, slots=True, kw_only=True)
class Databases:
    """Both databases of a node.

    Parameters
    ----------
    engine_url
        SQLAlchemy's URL of the engine's, with its password.
    files
        Job table and engine's where it is SQLite; none where processes on several machines share PostgreSQL.
    """

    table: Table
    engine_url: str = field(repr=False)
    files: tuple[Path, ...] = ()

    @property
    def shared(self) -> bool:
        """Whether other processes may work on the same jobs."""
        return not self.files

    @property
    def present(self) -> bool:
        """Whether there can be jobs: a server is asked by who needs it."""
        return self.shared or self.files[0].exists()

    def alone(self) -> AbstractContextManager[None]:
        """Begin one after the other: DBOS makes its tables without looking whether another does so now.

        Raises
        ------
        sqlite3.Error
            The server cannot be asked.
        """
        if not isinstance(self.table, PostgresTable):
            return nullcontext()
        from lfmri_node.node.jobs.postgres import alone  # a third of a second

        return alone(self.table.url)

    @property
    def engine_present(self) -> bool:
        """Whether there can be workflows."""
        return self.shared or self.files[1].exists()


def sqlite_databases(layout: Layout) -> Databases:
    """The two files of a node that is alone."""
    return Databases(
        table=layout.job_table,
        engine_url=f"sqlite:///{layout.workflows.absolute()}",
        files=(layout.job_table, layout.workflows),
    )


def databases_of(config: Config) -> Databases:
    """The databases that the configuration names.

    Raises
    ------
    ConfigError
        LF-CFG-005 where the password cannot be had.
    """
    url = config.queue.full_url()
    if url is None:
        return sqlite_databases(Layout(root=config.node.data_dir))
    return Databases(table=PostgresTable(url=url, root=config.node.data_dir.absolute()), engine_url=url)


def open_database(table: Table, *, writes: bool) -> Database:
    """Connect to a job table's database.

    Raises
    ------
    JobError
        LF-JOB-003 where there is none and it is only to be read.
    sqlite3.Error
        It cannot be used.
    """
    if isinstance(table, PostgresTable):
        from lfmri_node.node.jobs.postgres import PostgresDatabase  # a third of a second

        return PostgresDatabase(table.url, writes=writes)
    if not writes and not table.exists():
        raise no_table()
    return SqliteDatabase(table, writes=writes)


def has_tables(table: Table) -> bool:
    """Whether the job table was made already.

    Raises
    ------
    sqlite3.Error
        Its database cannot be asked.
    """
    if isinstance(table, Path) and not table.exists():
        return False
    with closing(open_database(table, writes=False)) as database:
        return database.version() > 0


def no_table() -> JobError:
    """LF-JOB-003."""
    return JobError("LF-JOB-003", "this node has no job table yet", "start `lfmri-node serve` once")


def root_of(table: Table) -> Path:
    """``node.data_dir`` of a job table."""
    return table.root if isinstance(table, PostgresTable) else table.absolute().parent.parent
