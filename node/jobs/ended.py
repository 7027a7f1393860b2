"""Retention of the workflow engine's own database, by its public interface."""

from __future__ import annotations

from collections.abc import Callable, Collection
from datetime import datetime

from dbos import DBOSClient
from dbos import error as dbos_error
from sqlalchemy.exc import SQLAlchemyError

from lfmri_node.node.errors import JobError
from lfmri_node.node.jobs.engine import APPLICATION_NAME
from lfmri_node.node.jobs.tables import Databases

_PAGE = 500
_ENDED = ["SUCCESS", "ERROR", "CANCELLED", "MAX_RECOVERY_ATTEMPTS_EXCEEDED"]


def forget_ended(databases: Databases, before: datetime, over: Callable[[Collection[str]], set[str]]) -> int:
    """Delete workflows that ended before a time, with inputs, outputs and steps; returns how many.

    Parameters
    ----------
    over
        Those of the given job keys that nobody will work on again: a workflow that ended is begun anew
        when its job is, and must not vanish in that moment.

    Raises
    ------
    JobError
        LF-RET-003 where the database cannot be read or written.
    """
    if not databases.engine_present:
        return 0
    try:
        client = DBOSClient(system_database_url=databases.engine_url, application_name=APPLICATION_NAME)
        try:
            return _forget(client, before, over)
        finally:
            client.destroy()
    except (SQLAlchemyError, dbos_error.DBOSException) as error:
        raise JobError(
            "LF-RET-003",
            f"the workflow engine's database cannot be cleaned up ({type(error).__name__})",
            "make room on its disk; `lfmri-node doctor` looks at it",
        ) from None


def _forget(client: DBOSClient, before: datetime, over: Callable[[Collection[str]], set[str]]) -> int:
    n_forgotten = n_kept = 0
    while page := client.list_workflows(
        status=_ENDED,
        completed_before=before.isoformat(),
        limit=_PAGE,
        offset=n_kept,
        load_input=False,
        load_output=False,
    ):
        keys = {status.workflow_id: status.workflow_id.split(":")[1] for status in page}
        gone = over(set(keys.values()))
        chosen = [name for name, key in keys.items() if key in gone]
        client.delete_workflows(chosen)
        n_forgotten += len(chosen)
        n_kept += len(page) - len(chosen)
    return n_forgotten
