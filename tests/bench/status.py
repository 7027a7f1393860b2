"""How long ``lfmri-node status`` takes with a long job table: ``python tests/bench/status.py [jobs]``."""

import resource
import sqlite3
import subprocess
import sys
import tempfile
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

from lfmri_node.node.jobs.store import Store

N_OBJECTS, N_STAGES = 10, 6
TEXT = {
    "source_sha256": "0" * 64,
    "calling_ae": "GATEWAY",
    "identity": "stated",
    "recipe": "{}",
    "summary": '{"verdict": "TRUSTED"}',
}


def insert(connection: sqlite3.Connection, table: str, rows: list[dict[str, object]]) -> None:
    """Add rows; columns that a row does not name are empty, or 0 or "" where they must not be."""
    columns = connection.execute(f"PRAGMA table_info({table})").fetchall()
    empty = {name: ("" if kind == "TEXT" else 0) if must else None for _, name, kind, must, _, _ in columns}
    marks = ", ".join("?" * len(columns))
    connection.executemany(
        f"INSERT INTO {table} VALUES ({marks})", [tuple({**empty, **row}.values()) for row in rows]
    )


def fill(table: Path, n_jobs: int) -> None:
    """So many delivered scans, each of a measurement of its own."""
    Store(table).close()
    with closing(sqlite3.connect(table)) as connection, connection:
        for n in range(n_jobs):
            at = (datetime(2026, 1, 1, tzinfo=UTC) + timedelta(minutes=n)).isoformat()
            parent, key = f"{n:08d}".ljust(64, "a"), f"{n:08d}".ljust(64, "b")
            row = {**TEXT, "received_at": at, "updated_at": at, "finished_at": at}
            insert(connection, "jobs", [{**row, "key": parent, "stage": "decoded"}])
            scan = {"key": key, "parent": parent, "contrast": 0, "repetition": 0, "stage": "sent"}
            insert(connection, "jobs", [{**row, **scan}])
            insert(connection, "sources", [{"job_key": key, "part": 1, "path": f"spool/objects/{n}.dcm"}])
            stages = [{"id": None, "job_key": key, "stage": "encoded", "begun_at": at}] * N_STAGES
            insert(connection, "timings", [{**stage, "seconds": 1.0, "outcome": "done"} for stage in stages])
            uids: list[dict[str, object]] = [
                {"job_key": key, "sop_instance_uid": f"2.25.{n}.{i}"} for i in range(N_OBJECTS)
            ]
            insert(connection, "objects", uids)
            done = {"job_key": key, "destination": "pacs", "finished_at": at}
            insert(connection, "deliveries", [done])
            answer = {"destination": "pacs", "delivered": 1, "answered_at": at}
            insert(connection, "receipts", [{**uid, **answer} for uid in uids])


def table_of(folder: Path) -> Path:
    """The job table of what `prepare` made."""
    return folder / "data" / "state" / "node.sqlite"


def prepare(folder: Path, n_jobs: int) -> None:
    """A configuration and a job table of so many delivered scans in an empty folder."""
    Path(folder, "config.toml").write_text("[node]\ndata_dir = 'data'\n", encoding="utf-8")
    fill(table_of(folder), n_jobs)


def leave_unfinished(table: Path) -> None:
    """Have every scan wait to be computed, as after a night in which the worker stood still."""
    with closing(sqlite3.connect(table)) as connection, connection:
        connection.execute("UPDATE jobs SET finished_at=NULL, stage='decoded' WHERE contrast IS NOT NULL")
        connection.execute("DELETE FROM deliveries")


def cpu_s(folder: Path, *arguments: str) -> float:
    """Least CPU time of three runs of the command in the folder."""
    command = [sys.executable, "-W", "ignore", "-m", "lfmri_node.node.cli", *arguments]
    taken = []
    for _ in range(3):
        begun = _used_s()
        subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL)
        taken.append(_used_s() - begun)
    return min(taken)


def main(n_jobs: int) -> None:
    """Print what `status`, ``status --json`` and ``status JOB`` take, beside ``--help``; then `status` again
    with nothing finished."""
    with tempfile.TemporaryDirectory() as folder:
        prepare(Path(folder), n_jobs)
        job = f"{n_jobs // 2:08d}b"
        for arguments in (["--help"], ["status"], ["status", "--json"], ["status", job]):
            used = cpu_s(Path(folder), *arguments)
            print(f"{n_jobs} jobs, {' '.join(arguments)}: {used:.2f} s of CPU")
        leave_unfinished(Path(folder, "data", "state", "node.sqlite"))
        print(f"{n_jobs} unfinished jobs, status: {cpu_s(Path(folder), 'status'):.2f} s of CPU")


def _used_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 10_000)
