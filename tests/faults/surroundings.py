"""A node in the campaign and what it stands on: its process, its disk, its clock.

Nothing here looks inside the node: it is started by its command line, spoken to by DIMSE, and asked by
``lfmri-node status --json``.
"""

from __future__ import annotations

import contextlib
import json
import mmap
import os
import resource
import shutil
import signal
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic

import psutil

HERE = Path(__file__).parent
READY_LIMIT_S = 600.0


def free_port() -> int:
    with socket.socket() as trial:
        trial.bind(("127.0.0.1", 0))
        return int(trial.getsockname()[1])


def installed(name: str) -> Path:
    """A program of this machine."""
    found = shutil.which(name)
    if found is None:
        raise RuntimeError(f"{name} is not installed")
    return Path(found)


def wait_until(true: Callable[[], bool], limit_s: float, *, every_s: float = 0.1) -> bool:
    """Look until ``true`` says so, or the time is up; what is looked at is another process."""
    deadline, pause = monotonic() + limit_s, threading.Event()
    while not (reached := true()) and monotonic() < deadline:
        pause.wait(every_s)
    return reached


@dataclass
class Node:
    """A node on a fixed port and, while it runs, its process.

    Parameters
    ----------
    kind
        ``light``: numerics of a few lines (`light.py`); ``real``: the service as installed.
    more
        Further tables of the configuration.
    """

    folder: Path
    kind: str
    destinations: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict)
    port: int = field(default_factory=free_port)
    housekeeping_s: int = 1
    more: str = ""
    process: subprocess.Popen[bytes] | None = None

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self.configure("config.toml", self.port)

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @property
    def log(self) -> Path:
        return self.folder / "node.log"

    def configure(self, name: str, port: int) -> Path:
        path = self.folder / name
        path.write_text(
            f"""
            [node]
            data_dir = "data"
            drain_s = 10
            housekeeping_s = {self.housekeeping_s}
            [listener]
            port = {port}
            free_space_floor_gb = 0
            allow = [
              {{ae_title = "GATEWAY", address = "127.0.0.1"}},
              {{ae_title = "OTHER", address = "127.0.0.3"}},
            ]
            [recon]
            threads = 1
            [retry]
            base_s = 0.3
            cap_s = 2
            {"".join(self.destinations)}
            {self.more}
            """,
            encoding="utf-8",
        )
        return path

    def command(self, config: Path) -> list[str]:
        if self.kind == "light":
            return [sys.executable, str(HERE / "light.py"), str(config)]
        return [sys.executable, "-m", "lfmri_node.node.cli", "serve", "--config", str(config)]

    def launch(self, config: Path | None = None) -> subprocess.Popen[bytes]:
        """Start the process; with a configuration of its own, a second one."""
        with self.log.open("ab") as log:
            process = subprocess.Popen(
                self.command(config or self.folder / "config.toml"),
                stderr=log,
                stdout=log,
                env={**os.environ, "OMP_NUM_THREADS": "1", **self.environment},
            )
        if config is None:
            self.process = process
        return process

    def start(self) -> bool:
        """Start and wait until it says that it is ready; False where it ended by itself before."""
        seen = self.log.stat().st_size if self.log.exists() else 0
        process = self.launch()

        def ready() -> bool:
            return process.poll() is not None or b" service.ready " in self.log.read_bytes()[seen:]

        if not wait_until(ready, READY_LIMIT_S):
            raise RuntimeError(f"the node is not ready after {READY_LIMIT_S:.0f} s: see {self.log}")
        return process.poll() is None

    @property
    def longest_freeze_s(self) -> float:
        """How long it may be stopped at least."""
        return 0.0

    @property
    def alive(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def kill(self) -> None:
        """kill -9, and nothing else."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def kill_worker(self) -> bool:
        """kill -9 of the reconstruction process; False where there is none at this moment."""
        assert self.process is not None
        killed = 0
        with contextlib.suppress(psutil.NoSuchProcess):
            for child in psutil.Process(self.process.pid).children():
                with contextlib.suppress(psutil.NoSuchProcess):
                    child.kill()
                    killed += 1
        return killed > 0

    def freeze(self, what: str) -> list[psutil.Process]:
        """SIGSTOP of the node or of its reconstruction process; what was stopped."""
        assert self.process is not None
        frozen = []
        with contextlib.suppress(psutil.NoSuchProcess):
            node = psutil.Process(self.process.pid)
            for process in [node] if what == "node" else node.children():
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.suspend()
                    frozen.append(process)
        return frozen

    def thaw(self, frozen: Sequence[psutil.Process]) -> None:
        """SIGCONT, in what is left of `freeze`."""
        for process in frozen:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.resume()

    def stop(self, limit_s: float = 60.0) -> int:
        """SIGTERM; returns the exit status."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(limit_s)

    def status(self) -> dict:
        """``lfmri-node status --json``."""
        command = [sys.executable, "-m", "lfmri_node.node.cli", "status", "--json", "--config"]
        answer = subprocess.run(
            [*command, str(self.folder / "config.toml")],
            capture_output=True,
            check=True,
            env={**os.environ, **self.environment},
        )
        return json.loads(answer.stdout)

    def memory_mb(self) -> float:
        """Largest resident memory that the listening process ever had."""
        assert self.process is not None
        lines = Path(f"/proc/{self.process.pid}/status").read_text(encoding="ascii").splitlines()
        (peak,) = (line.split()[1] for line in lines if line.startswith("VmHWM"))
        return int(peak) / 1024

    def __enter__(self) -> Node:
        return self

    def __exit__(self, *_: object) -> None:
        if self.alive:
            self.kill()


class Clock:
    """The wall clock of a node, to be stepped; needs a C compiler (`clock.c` is preloaded)."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        library, page = folder / "clock.so", folder / "clock"
        page.write_bytes(bytes(mmap.PAGESIZE))
        self._page = page
        self.shows_s = 0
        compiler = shutil.which("cc")
        self.works = compiler is not None
        self.environment: dict[str, str] = {}
        if compiler is not None:
            source = str(HERE / "clock.c")
            subprocess.run(
                [compiler, "-shared", "-fPIC", "-O1", "-o", str(library), source, "-ldl"], check=True
            )
            self.environment = {"LD_PRELOAD": str(library), "FAULTS_CLOCK": str(page)}

    def step_to(self, seconds: int) -> None:
        """Let the node's wall clock differ from ours by so many seconds."""
        with self._page.open("r+b") as file:
            file.write(struct.pack("<q", seconds))
        self.shows_s = seconds


class Disk:
    """The file system of the data directory: a small one of its own where mounting is allowed.

    Elsewhere "full" means that no file of the node may grow beyond 4 KiB (RLIMIT_FSIZE).
    """

    def __init__(self, folder: Path, *, size_mb: int = 96) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        mount = ["mount", "-t", "tmpfs", "-o", f"size={size_mb}m", "tmpfs", str(folder)]
        self.mounted = (
            shutil.which("mount") is not None and not subprocess.run(mount, capture_output=True).returncode
        )

    def fill(self, node: Node) -> None:
        """No room from now on."""
        if not self.mounted:
            self._limit(node, 4096)
            return
        with contextlib.suppress(OSError), (self._folder / "ballast").open("wb") as ballast:
            while True:
                ballast.write(bytes(1 << 20))
                ballast.flush()

    def empty(self, node: Node) -> None:
        """There is room again."""
        if self.mounted:
            (self._folder / "ballast").unlink(missing_ok=True)
        else:
            self._limit(node, resource.RLIM_INFINITY)

    @staticmethod
    def _limit(node: Node, size: int) -> None:
        assert node.process is not None
        with contextlib.suppress(psutil.NoSuchProcess, ProcessLookupError):
            for process in (node.process.pid, *(c.pid for c in psutil.Process(node.process.pid).children())):
                hard = resource.prlimit(process, resource.RLIMIT_FSIZE)[1]
                resource.prlimit(process, resource.RLIMIT_FSIZE, (size, hard))

    def remove(self) -> None:
        if self.mounted:
            subprocess.run(["umount", "--lazy", str(self._folder)], check=True)
