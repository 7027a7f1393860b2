"""A copy by PostgreSQL's own tools, as deploy/docs/several-workers.md says: the database, then the folder."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from postgres_cluster import PASSWORD, Cluster

from lfmri_node.node.jobs.database import PostgresTable
from lfmri_node.node.jobs.job import Stage


@pytest.mark.parametrize("any_node", ["postgresql"], indirect=True)
def test_a_copy_of_a_running_node_loses_and_doubles_nothing(
    any_node, postgres: Cluster, pacs, make_scan, tmp_path: Path
) -> None:
    """One scan is worked on when the database is copied, another comes before the folder is."""
    node = any_node
    hold = node.hold("reconstruct.before")
    node.start()
    node.send(make_scan("one.h5"))
    hold.wait()
    dump = tmp_path / "dump.sql"
    tool(postgres, "pg_dump", "--no-owner", f"--file={dump}", node.postgres.url)
    node.send(make_scan("two.h5", seed=1))
    copy = tmp_path / "copy"
    shutil.copytree(node.layout.root, copy)
    hold.remove_and_release()
    before = {job.key for job in node.wait_finished(2)}
    assert node.stop() == 0
    restored = f"{tmp_path.name}_restored"
    postgres.database(restored)
    url = postgres.url(restored, password=PASSWORD)
    tool(postgres, "psql", "--quiet", "--set=ON_ERROR_STOP=1", f"--file={dump}", url)
    shutil.rmtree(node.layout.root)
    copy.rename(node.layout.root)
    node.postgres = PostgresTable(url=url, root=node.layout.root)
    node.configure()
    node.start()
    jobs = node.wait_finished(2)
    assert {job.key for job in jobs} == before
    assert {job.stage for job in jobs} == {Stage.SENT}
    assert [item.conflicts for item in pacs.instances()] == [0] * 6


def tool(postgres: Cluster, name: str, *words: str) -> None:
    """Run one of the server's own programs."""
    subprocess.run([postgres.postgres.with_name(name), *words], check=True, stdout=subprocess.DEVNULL)
