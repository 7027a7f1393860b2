"""The way from nothing to two workers, TLS and Orthanc, as the page says it, in a folder of its own."""

import json
import re
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import numpy as np
import psycopg
import pytest
from postgres_cluster import Cluster, as_nobody, running_cluster

from lfmri_node.recon.mrd.write import ScanLayout, open_writer
from lfmri_node.recon.phantom.body import phantom_volume
from lfmri_node.recon.phantom.coils import loop_coils
from lfmri_node.recon.sense.fourier import fft_axis
from lfmri_node.recon.types import SequenceInfo

DEPLOY = Path(__file__).parents[2] / "deploy"
PAGE = DEPLOY / "docs" / "deployment.md"
INSTALLED = "/opt/lfmri-node/.venv/bin/lfmri-node"
PATIENCE_S = 120.0


def free_port() -> int:
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def blocks(kind: str) -> list[str]:
    """The blocks of the walkthrough that are fenced as ``kind``."""
    text = PAGE.read_text(encoding="utf-8").partition("## From nothing")[2].partition("\n## ")[0]
    return re.findall(rf"^```{kind}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


class Machine:
    """A folder in the place of the root of a machine, and free ports in the place of the usual ones."""

    def __init__(self, folder: Path, cluster: Cluster) -> None:
        self.etc, self.cluster = folder / "etc", cluster
        for path in (self.etc, folder / "orthanc", folder / "data"):
            path.mkdir()
        program = Path(sys.executable).with_name("lfmri-node")
        psql = shlex.join(as_nobody([str(cluster.postgres.with_name("psql")), "-h", str(cluster.folder)]))
        self.http, self.dicom, self.port, monitor = (free_port() for _ in range(4))
        self.places = {
            "sudo -u postgres psql": f"{psql} -U postgres -p {cluster.port}",
            INSTALLED: str(program),
            "/etc/lfmri-node": str(self.etc),
            "/etc/orthanc/": f"{folder / 'orthanc'}/",
            "/var/lib/lfmri-node": str(folder / "data"),
            "$checkout/deploy": str(DEPLOY),
            "localhost:5432": f"localhost:{cluster.port}",
            "11112": str(self.port),
            "127.0.0.1:8042": f"127.0.0.1:{self.http}",
            "9464": str(monitor),
        }
        self.folder = folder

    def here(self, text: str) -> str:
        for place, ours in self.places.items():
            text = text.replace(place, ours)
        return text

    def run(self, block: str) -> str:
        """A block of the page."""
        done = subprocess.run(
            ["bash", "-eu", "-o", "pipefail", "-c", self.here(block)],
            capture_output=True,
            text=True,
            timeout=120,
            cwd=self.folder,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def command(self, unit: str, instance: str = "") -> list[str]:
        """What a unit of systemd starts."""
        text = (DEPLOY / unit).read_text(encoding="utf-8")
        (line,) = re.findall(r"^ExecStart=(.*)$", text, re.MULTILINE)
        return shlex.split(self.here(line.replace("%i", instance)))

    def orthanc(self, program: Path) -> list[str]:
        """Orthanc with the configuration that the page made; places and ports are the test's."""
        path = self.folder / "orthanc" / "lfmri.json"
        settings = json.loads(path.read_text(encoding="utf-8"))
        storage = str(self.folder / "storage")
        ports = {"HttpPort": self.http, "DicomPort": self.dicom}
        path.write_text(
            json.dumps(settings | ports | {"StorageDirectory": storage, "IndexDirectory": storage})
        )
        return [str(program), str(path)]

    def status(self) -> dict:
        program = Path(sys.executable).with_name("lfmri-node")
        command = [program, "status", "--json", "--config", str(self.etc / "config.toml")]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        return json.loads(done.stdout) if done.returncode == 0 else {}


@pytest.fixture
def machine(tmp_path: Path, program: Callable[..., Path]) -> Iterator[Machine]:
    """With a PostgreSQL that knows nobody yet."""
    with running_cluster(program) as cluster:
        with psycopg.connect(cluster.url("postgres", user="postgres"), autocommit=True) as connection:
            connection.execute("DROP ROLE lfmri")
        yield Machine(tmp_path, cluster)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[[str, list[str]], None]]:
    """``start(name, command)``: a process that is ended with the test."""
    with ExitStack() as stack:

        def begin(name: str, command: list[str]) -> None:
            with (tmp_path / f"{name}.log").open("wb") as log:
                process = subprocess.Popen(command, stdout=log, stderr=log, cwd=tmp_path)
            stack.callback(process.wait, 60)
            stack.callback(process.send_signal, signal.SIGTERM)

        yield begin


def write_scan(path: Path) -> None:
    """A fully sampled slice of 48 x 48 points, two coils."""
    rng = np.random.default_rng(0)
    (image,) = phantom_volume(1, (48, 48), rng)
    kspace = fft_axis(fft_axis(loop_coils(2, (48, 48), rng) * image, -1), -2).astype(np.complex64)
    layout = ScanLayout(
        matrix=(48, 48, 1),
        field_of_view_mm=(192.0, 192.0, 5.0),
        n_coils=2,
        positions_mm=((0.0, 0.0, 0.0),),
        sequences=(SequenceInfo(protocol="trial"),),
    )
    with open_writer(path, layout) as writer:
        writer.lines(kspace.transpose(2, 0, 1), np.arange(48), slice_counter=0, contrast=0)


def wait_until(ready: Callable[[], bool], logs: Path) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not ready():
        said = "\n".join(path.read_text(errors="replace")[-2000:] for path in logs.glob("*.log"))
        assert time.monotonic() < deadline, said
        time.sleep(0.5)  # other programs; their state can only be asked for


def listens(port: int) -> bool:
    with closing(socket.socket()) as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def test_the_way_that_the_page_describes_ends_in_the_archive(
    machine: Machine, start: Callable[[str, list[str]], None], program: Callable[..., Path]
) -> None:
    secrets, certificates, database, orthanc, attempt = blocks("sh")
    (configuration,) = blocks("toml")
    for block in (secrets, certificates, database, orthanc):
        machine.run(block)
    (machine.etc / "config.toml").write_text(machine.here(configuration))
    write_scan(machine.etc / "scan.h5")
    start("orthanc", machine.orthanc(program("Orthanc")))
    start("node", machine.command("lfmri-node.service"))
    wait_until(lambda: listens(machine.port) and listens(machine.http), machine.folder)
    for name in ("w1", "w2"):
        start(name, machine.command("lfmri-node-worker@.service", name))
    machine.run(attempt)

    def verified() -> bool:
        stages = machine.status().get("stages", {})
        assert not stages.get("quarantined"), machine.status()
        return bool(stages.get("verified"))

    wait_until(verified, machine.folder)
    assert {worker["name"] for worker in machine.status()["workers"]} >= {"w1", "w2"}
