"""Shared by the service's tests: small measurements, a node in its own process, a PACS in ours."""

from __future__ import annotations

import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import IO
from urllib.parse import quote

import numpy as np
import psutil
import pytest
from postgres_cluster import PASSWORD, Cluster

from lfmri_node.dicom_io.deliver.association import DicomDestination
from lfmri_node.dicom_io.deliver.cstore import send_objects
from lfmri_node.dicom_io.raw_data.wrap import wrap
from lfmri_node.node.demo.pacs import Pacs
from lfmri_node.node.gateway.send import Address, send_file
from lfmri_node.node.jobs.database import PostgresTable, Table
from lfmri_node.node.jobs.job import Job, Stage
from lfmri_node.node.jobs.ledger import Ledger
from lfmri_node.node.jobs.store import Store
from lfmri_node.node.jobs.tables import has_tables
from lfmri_node.node.layout import Layout
from lfmri_node.recon.mrd.write import ScanLayout, open_writer
from lfmri_node.recon.phantom.body import phantom_volume
from lfmri_node.recon.phantom.coils import loop_coils
from lfmri_node.recon.sense.fourier import fft_axis
from lfmri_node.recon.sense.sampling import random_lines
from lfmri_node.recon.types import (
    Geometry,
    LesionMap,
    Method,
    Provenance,
    Quality,
    Reason,
    Reconstruction,
    ScanIdentity,
    SequenceInfo,
    Verdict,
)

HERE = Path(__file__).parent
PATIENT = {"PatientID": "SENTINEL-4711", "PatientName": "Zzyzx^Sentinella"}
VARIABLE = "LFMRI_TEST_QUEUE_PASSWORD"
POLL_S = 0.02
"""Between two looks at the job table of another process, which can only be asked, not awaited."""

ScanFactory = Callable[..., Path]


@pytest.fixture
def make_scan(tmp_path: Path) -> ScanFactory:
    """Writes a Cartesian phantom scan: 3 slices of 64 x 64, 4 coils, twofold random lines."""

    def make(
        name: str = "scan.h5",
        *,
        seed: int = 0,
        n_slices: int = 3,
        size: int = 64,
        contrasts: int = 1,
        identity: ScanIdentity | None = None,
        read_dir: tuple[float, float, float] = (1.0, 0.0, 0.0),
    ) -> Path:
        rng = np.random.default_rng(seed)
        maps = loop_coils(4, (size, size), rng)
        lines = np.flatnonzero(random_lines(size, 2.0, 0.3, rng))
        layout = ScanLayout(
            matrix=(size, size, 1),
            field_of_view_mm=(192.0, 192.0, 5.0),
            n_coils=4,
            positions_mm=tuple((0.0, 0.0, 6.0 * s) for s in range(n_slices)),
            read_dir=read_dir,
            sequences=tuple(
                SequenceInfo(protocol="test", repetition_time_ms=500.0, echo_time_ms=10.0 * (c + 1))
                for c in range(contrasts)
            ),
            identity=identity or ScanIdentity(),
        )
        path = tmp_path / name
        with open_writer(path, layout) as writer:
            for contrast in range(contrasts):
                for s, plane in enumerate(phantom_volume(n_slices, (size, size), rng)):
                    kspace = fft_axis(fft_axis(maps * plane[None], -1), -2).astype(np.complex64)
                    noise = rng.standard_normal((*kspace.shape, 2)) @ np.array([1.0, 1.0j])
                    kspace += (0.01 * noise).astype(np.complex64)
                    writer.lines(
                        kspace[:, :, lines].transpose(2, 0, 1), lines, slice_counter=s, contrast=contrast
                    )
        return path

    return make


@dataclass
class Hold:
    """A place in another process where it waits until it is let go on (two FIFOs)."""

    reached: Path
    go_on: Path

    @classmethod
    def make(cls, folder: Path, name: str) -> Hold:
        hold = cls(folder / f"{name}.reached", folder / f"{name}.go-on")
        for path in (hold.reached, hold.go_on):
            os.mkfifo(path)
        return hold

    def wait(self) -> None:
        """Return when the process has come to this place; it stays there."""
        self.reached.read_bytes()

    def remove(self) -> None:
        """Processes that start from now on do not stop here."""
        self.reached.unlink()
        self.go_on.unlink()

    def remove_and_release(self) -> None:
        """Let the waiting process go on; later ones do not stop here."""
        with self.go_on.open("wb") as go_on:
            self.remove()
            go_on.write(b"go")


@dataclass
class Node:
    """A node in its own folder and, while it runs, its own process."""

    folder: Path
    pacs: Pacs
    extra: str = ""
    postgres: PostgresTable | None = None
    process: subprocess.Popen[str] | None = None
    port: int = 0
    lines: list[str] = field(default_factory=list)
    _said: queue.SimpleQueue[str | None] = field(default_factory=queue.SimpleQueue)

    @property
    def layout(self) -> Layout:
        return Layout(root=self.folder / "data")

    @property
    def table(self) -> Table:
        return self.postgres or self.layout.job_table

    @property
    def config(self) -> Path:
        return self.folder / "config.toml"

    @property
    def queue(self) -> str:
        """The table ``[queue]``, of a node on PostgreSQL that was not configured by hand."""
        if self.postgres is None:
            return ""
        url = self.postgres.url.replace(f":{quote(PASSWORD)}@", "@")
        return f'[queue]\nurl = "{url}"\npassword_env = "{VARIABLE}"\ndead_after_s = 3\n'

    @property
    def holds(self) -> Path:
        return self.folder / "holds"

    def hold(self, name: str) -> Hold:
        """Make the node wait at a place; see gated.py for the names."""
        self.holds.mkdir(exist_ok=True)
        return Hold.make(self.holds, name)

    def wait_for_locks(self, seconds: float) -> None:
        """From its next start on, this node gives a locked job table up after so long."""
        self.holds.mkdir(exist_ok=True)
        (self.holds / "patience").write_text(str(seconds))

    def configure(self, extra: str = "") -> None:
        self.folder.mkdir(exist_ok=True)
        self.config.write_text(
            f"""
            [node]
            data_dir = "data"
            drain_s = 20
            housekeeping_s = 0.5
            [listener]
            port = 0
            free_space_floor_gb = 0
            allow = [{{ae_title = "GATEWAY", address = "127.0.0.1"}}]
            [recon]
            method = "zero-filled"
            threads = 1
            [[destinations]]
            kind = "dicom"
            name = "pacs"
            host = "127.0.0.1"
            port = {self.pacs.port}
            ae_title = "PACS"
            [retry]
            base_s = 0.3
            cap_s = 0.5
            {extra or self.extra}
            {self.queue}
            """,
            encoding="utf-8",
        )

    def start(self, *, light: bool = True) -> Node:
        """Start the process and wait until it says that it is ready."""
        self.launch(light=light)
        self.wait_line(" service.ready ")
        self.port = int(self.lines[-1].split("port=")[1].split()[0])
        return self

    def launch(self, *, light: bool = True) -> None:
        command = [sys.executable, str(HERE / "gated.py"), str(self.config), str(self.holds)]
        self._begin([*command, "light" if light else "real"], OMP_NUM_THREADS="1")

    def launch_command(self) -> None:
        """Start the node as a user does, with the command line's words for errors."""
        self._begin([sys.executable, "-m", "lfmri_node.node.cli", "serve", "--config", str(self.config)])

    def _begin(self, command: list[str], **environment: str) -> None:
        """Start a process; what it logs is read at once, for a full pipe would stop it."""
        self.process = subprocess.Popen(
            command, stderr=subprocess.PIPE, text=True, env={**os.environ, **environment}
        )
        self._said = queue.SimpleQueue()

        def read(stream: IO[str], said: queue.SimpleQueue[str | None]) -> None:
            with stream:
                for line in stream:
                    said.put(line)
            said.put(None)

        threading.Thread(target=read, args=(self.process.stderr, self._said), daemon=True).start()

    def kill(self) -> None:
        """kill -9, and nothing else: the worker has to notice by itself."""
        assert self.process is not None
        self.process.kill()
        self._collect()

    def stop(self) -> int:
        """SIGTERM; returns the exit status."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        self._collect()
        return self.process.returncode

    def wait_line(self, text: str) -> None:
        """Wait until the node logs a line with ``text``."""
        for line in self._told():
            if text in line:
                return
        raise AssertionError(f"the node ended without saying {text!r}:\n" + "".join(self.lines))

    def stop_waiting(self) -> int:
        """Wait for the end of a process that was told to stop; returns the exit status."""
        self._collect()
        assert self.process is not None
        return self.process.returncode

    def _collect(self) -> None:
        assert self.process is not None
        for _ in self._told():
            pass
        self.process.wait()

    def _told(self) -> Iterator[str]:
        """Lines that the process logs from now on, until it has ended."""
        while (line := self._said.get()) is not None:
            self.lines.append(line)
            yield line
        self._said.put(None)  # for whoever asks again

    @property
    def address(self) -> Address:
        return Address(ae_title="LFMRI", host="127.0.0.1", port=self.port)

    def send(self, scan: Path, **given: str) -> None:
        send_file(scan, self.address, calling_ae="GATEWAY", given={**PATIENT, **given}, show=lambda *_: None)

    def send_as_another_gateway(self, scan: Path, **attributes: str) -> None:
        """Raw Data of a gateway that does not say which attributes it gave on purpose."""
        peer = DicomDestination(
            name="node", host="127.0.0.1", port=self.port, ae_title="LFMRI", calling_ae_title="GATEWAY"
        )
        (receipt,) = send_objects(peer, wrap(scan, self.folder, {**PATIENT, **attributes}))
        assert receipt.delivered

    def jobs(self) -> list[Job]:
        with closing(Ledger(self.table)) as ledger:
            return ledger.jobs()

    def wait_for(self, wanted: Callable[[list[Job]], bool]) -> list[Job]:
        """Look at the job table until it is as wanted (pytest's timeout ends a vain wait)."""
        pause = threading.Event()
        while not (has_tables(self.table) and wanted(jobs := self.jobs())):
            assert self.process is None or self.process.poll() is None, "".join(self.lines)
            pause.wait(POLL_S)
        return jobs

    def wait_finished(self, n_jobs: int = 1) -> list[Job]:
        """Wait until so many jobs have nothing left to do."""
        return self.wait_for(
            lambda jobs: (
                len(jobs) == n_jobs and all(job.finished_at and not job.is_measurement for job in jobs)
            )
        )

    def done_stages(self, job: Job) -> list[Stage]:
        """Stages that were brought to their end, in order; a repeated one occurs twice."""
        keys = [job.parent, job.key] if job.parent else [job.key]
        with closing(Ledger(self.table)) as ledger:
            return [t.stage for key in keys for t in ledger.timings(key) if t.outcome == "done"]

    def workers(self) -> list[int]:
        """Process ids of the node's children."""
        assert self.process is not None
        return [child.pid for child in psutil.Process(self.process.pid).children()]


@pytest.fixture
def pacs(tmp_path: Path) -> Iterator[Pacs]:
    with Pacs(tmp_path / "pacs") as running:
        yield running


@pytest.fixture
def node(tmp_path: Path, pacs: Pacs) -> Iterator[Node]:
    """A configured node that is not started yet; killed at the end."""
    made = Node(folder=tmp_path / "node", pacs=pacs)
    made.configure()
    yield made
    if made.process is not None and made.process.poll() is None:
        made.process.kill()
        made.process.wait()


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.integration)])
def any_node(
    node: Node, request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Node:
    """A node on either database."""
    if request.param == "postgresql":
        cluster: Cluster = request.getfixturevalue("postgres")
        monkeypatch.setenv(VARIABLE, PASSWORD)
        cluster.database(tmp_path.name)
        url = cluster.url(tmp_path.name, password=PASSWORD)
        node.postgres = PostgresTable(url=url, root=node.layout.root)
        node.configure()
    return node


@pytest.fixture
def reconstruction() -> Callable[..., Reconstruction]:
    """Makes a volume of 6 slices, 20 x 24, with an activation in slice 4 where it is trusted."""

    def make(*, trusted: bool = True, marked: bool = True, validated: bool = False) -> Reconstruction:
        shape = (6, 20, 24)
        rng = np.random.default_rng(0)
        image = (rng.uniform(0.2, 1.0, shape) * np.exp(1j)).astype(np.complex64)
        activation = np.zeros(shape, dtype=np.float32)
        activation[4, 5:9, 6:12] = 0.9 if marked else 0.3
        scores = np.zeros((6, 1), dtype=np.float32)
        scores[4] = 0.95
        lesion = LesionMap(
            activation=activation,
            scores=scores,
            labels=("lesion",),
            operating_score=0.4,
            threshold=0.5,
            validated=validated,
        )
        return Reconstruction(
            image=image,
            reference=image * np.float32(0.9) if trusted else None,
            fallback=image * np.float32(0.8),
            zero_filled=image * np.float32(0.5),
            geometry=Geometry(
                matrix=shape,
                spacing_mm=(5.0, 1.0, 1.0),
                thickness_mm=5.0,
                origin_mm=(0.0, 0.0, 0.0),
                axis_s=(0.0, 0.0, 1.0),
                axis_y=(0.0, 1.0, 0.0),
                axis_x=(1.0, 0.0, 0.0),
            ),
            sequence=SequenceInfo(),
            lesion=lesion if trusted else None,
            quality=Quality(
                verdict=Verdict.TRUSTED if trusted else Verdict.FALLBACK,
                acceleration=4.0,
                data_residual=0.01,
                reasons=() if trusted else (Reason(code="LF-QUA-001", message="m"),),
            ),
            provenance=Provenance(
                method=Method.LF_MRI if trusted else Method.WAVELET,
                fallback=Method.WAVELET,
                software_version="0",
                source_sha256="0" * 64,
                settings="method=lf-mri;lesion=focused;fallback=wavelet;coils=all",
            ),
        )

    return make


@pytest.fixture
def add_measurement():
    """Puts a measurement, just received, on record in a folder's ``data``, without a node."""

    def add(folder: Path, key: str) -> None:
        part = folder / "data" / "spool" / f"{key[:12]}.dcm"
        part.parent.mkdir(parents=True, exist_ok=True)
        part.touch()
        with closing(Store(folder / "data" / "state" / "node.sqlite")) as store:
            store.add_measurement(
                key=key,
                source_sha256=key,
                calling_ae="GATEWAY",
                received_at=datetime(2026, 1, 2, tzinfo=UTC),
                recipe={},
                parts=[part],
            )

    return add
