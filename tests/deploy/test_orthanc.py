"""The Orthanc configuration of deploy/ with a real Orthanc: it answers the node and nobody else."""

import json
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from lfmri_node.dicom_io.deliver.association import DicomDestination, echo

ROOT = Path(__file__).parents[2]
START_S = 30.0


def free_port() -> int:
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def orthanc_port(program: Callable[[str], Path], tmp_path: Path) -> Iterator[int]:
    """DICOM port of an Orthanc with the shipped configuration; only places and ports are changed."""
    settings = json.loads((ROOT / "deploy" / "orthanc.json").read_text(encoding="utf-8"))
    places = {"StorageDirectory": str(tmp_path / "db"), "IndexDirectory": str(tmp_path / "db")}
    ports = {"HttpPort": free_port(), "DicomPort": free_port()}
    path = tmp_path / "orthanc.json"
    path.write_text(json.dumps(settings | places | ports))
    with (tmp_path / "log").open("wb") as log:
        server = subprocess.Popen([program("Orthanc"), path], stdout=log, stderr=log)
    try:
        deadline = time.monotonic() + START_S
        while not listens(ports["DicomPort"]):
            assert server.poll() is None, (tmp_path / "log").read_text()
            assert time.monotonic() < deadline
            time.sleep(0.05)  # another program's start can only be asked for
        yield ports["DicomPort"]
    finally:
        server.terminate()
        server.wait(timeout=30)


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def test_orthanc_answers_the_node_and_nobody_else(orthanc_port: int) -> None:
    def answered(title: str) -> bool:
        destination = DicomDestination(
            name="orthanc",
            host="127.0.0.1",
            port=orthanc_port,
            ae_title="ORTHANC",
            calling_ae_title=title,
            answer_timeout_s=10,
        )
        return echo(destination).answered

    assert answered("LFMRI")
    assert not answered("STRANGER")
