"""Errors of the service: each carries a stable code, what was wrong, and what to do about it."""

from __future__ import annotations

import sqlite3


class NodeError(Exception):
    """Base of every error that `node` raises on purpose.

    Parameters
    ----------
    code
        Stable identifier ``LF-<STAGE>-<NNN>``.
    message
        What was wrong. Never holds patient data.
    hint
        What the reader can do about it.
    """

    def __init__(self, code: str, message: str, hint: str) -> None:
        super().__init__(f"{code}: {message} ({hint})")
        self.code = code
        self.message = message
        self.hint = hint


class ConfigError(NodeError):
    """``config.toml`` cannot be read, or a setting in it is unknown or wrong."""


class DoorError(NodeError):
    """What comes in by a door is cut off, or is not taken.

    Parameters
    ----------
    passing
        The same may be taken at another time.
    half
        The ISMRMRD file cannot be read as one, and may be half a copy.
    """

    def __init__(
        self, code: str, message: str, hint: str, *, passing: bool = False, half: bool = False
    ) -> None:
        super().__init__(code, message, hint)
        self.passing = passing
        self.half = half


class JobError(NodeError):
    """A job, the job database or the executor's lock is not in the state that was asked for."""


class PostgresError(sqlite3.OperationalError):
    """PostgreSQL is away, or says no; of SQLite's kind, so that whoever handles errors of the job table
    handles those of both databases.

    Attributes
    ----------
    sqlite_errorname
        SQLSTATE, or where the server was not reached the kind of error.
    """

    def __init__(self, name: str) -> None:
        super().__init__(f"PostgreSQL: {name}")
        self.sqlite_errorname = name


def damaged_database(error: sqlite3.Error) -> JobError:
    """LF-JOB-041: what SQLite says of a database below ``node.data_dir``, by the name of its result code;
    LF-JOB-070: what PostgreSQL says."""
    name = getattr(error, "sqlite_errorname", None) or type(error).__name__
    if isinstance(error, PostgresError):
        return JobError(
            "LF-JOB-070",
            f"the PostgreSQL of queue.url cannot be used ({name})",
            "see that it runs and lets this user in; `lfmri-node doctor` asks it",
        )
    return JobError(
        "LF-JOB-041",
        f"a database in the state folder of node.data_dir cannot be used ({name})",
        "`lfmri-node doctor` says which; make room, end what holds it, or see errors.md",
    )


class StageFailed(NodeError):
    """The worker answered that a stage cannot be done.

    Parameters
    ----------
    transient
        True where the same request can succeed later without anyone changing the job.
    refused
        True where the measurement is of a kind that the node refuses (verdict REFUSED).
    """

    def __init__(
        self, code: str, message: str, hint: str, *, transient: bool = False, refused: bool = False
    ) -> None:
        super().__init__(code, message, hint)
        self.transient = transient
        self.refused = refused


class WorkerDied(NodeError):
    """The worker process ended, was killed, or was stopped for taking too long, before it answered."""


class Drained(BaseException):
    """Raised inside a workflow while the service drains.

    Not an ``Exception`` on purpose: the workflow engine records exceptions as the workflow's outcome;
    this one leaves the workflow pending, so the next start takes it up at its last stage.
    """


class Fenced(Drained):
    """Raised by every change of a process that was taken for dead: somebody else does its work now."""


class Undecided(NodeError):
    """The command refuses to answer, because what it was given does not decide the question.

    Parameters
    ----------
    found
        What was found all the same, JSON-able.
    """

    def __init__(self, code: str, message: str, hint: str, *, found: dict[str, object] | None = None) -> None:
        super().__init__(code, message, hint)
        self.found = found
