"""The program itself keeps other users out of its files, whatever the umask and whatever was there before."""

import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture(params=[0o000, 0o022])
def loose_umask(request: pytest.FixtureRequest) -> Iterator[int]:
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def modes(root: Path) -> dict[str, int]:
    """Path -> permissions, of everything in a data directory."""
    return {
        str(path.relative_to(root.parent)): stat.S_IMODE(path.stat().st_mode)
        for path in (root, *root.rglob("*"))
    }


def test_nothing_that_a_node_keeps_is_open_to_others(loose_umask: int, node, make_scan) -> None:
    node.start()
    node.send(make_scan())
    node.wait_finished()
    found = modes(node.layout.root)
    names = {Path(name).name for name in found}
    assert {"node.sqlite", "node.sqlite-wal", "node.sqlite-shm", "dbos.sqlite", "worker.log"} <= names
    assert {name: oct(mode) for name, mode in found.items() if mode & 0o077} == {}


def test_what_an_earlier_version_left_open_is_closed_at_the_start(node, make_scan) -> None:
    node.start()
    node.send(make_scan())
    node.wait_finished()
    node.stop()
    for path in (node.layout.root, *node.layout.root.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)
    node.start()
    assert {name: oct(mode) for name, mode in modes(node.layout.root).items() if mode & 0o077} == {}


def test_a_log_file_that_others_could_read_is_closed(tmp_path: Path, loose_umask: int) -> None:
    file = tmp_path / "logs" / "node.log"
    code = (
        "import sys, pathlib; from lfmri_node.node import logs\n"
        "logs.configure('info', pathlib.Path(sys.argv[1]))"
    )
    for _ in range(2):
        subprocess.run([sys.executable, "-c", code, str(file)], check=True)
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        file.chmod(0o644)
