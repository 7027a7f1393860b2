"""A node in the campaign whose scans are computed by others: three workers, on PostgreSQL."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import psutil
from surroundings import HERE, READY_LIMIT_S, Node, wait_until

sys.path.insert(0, str(HERE.parent / "servers"))
from postgres_cluster import PASSWORD, Cluster

NAMES = ("w1", "w2", "w3")
_VARIABLE = "LFMRI_FAULTS_QUEUE_PASSWORD"
_DEAD_AFTER_S = 4


class Crew(Node):
    """`serve`, which only listens and delivers, and its workers; a supervisor starts again whoever ended.

    A kill or a freeze of a worker is one of the process that holds the jobs and of its child, as of a whole
    machine.
    """

    def __init__(
        self,
        folder: Path,
        destinations: Sequence[str],
        environment: Mapping[str, str],
        *,
        cluster: Cluster,
        rng: random.Random,
    ) -> None:
        self._cluster = cluster
        self._rng = rng
        self._workers: dict[str, subprocess.Popen[bytes]] = {}
        self._url = cluster.database(f"campaign-{rng.randrange(1 << 40)}")
        super().__init__(folder, "light", destinations, {**environment, _VARIABLE: PASSWORD})

    def configure(self, name: str, port: int) -> Path:
        path = super().configure(name, port)
        with path.open("a", encoding="utf-8") as file:
            file.write(
                f'\n[queue]\nurl = "{self._url}"\npassword_env = "{_VARIABLE}"\n'
                f"compute = false\ndead_after_s = {_DEAD_AFTER_S}\n"
            )
        return path

    @property
    def longest_freeze_s(self) -> float:
        """Long enough to be taken for dead."""
        return 4.0 * _DEAD_AFTER_S

    def start(self) -> bool:
        ready = super().start()
        if ready:
            self.supervise()
        return ready

    def supervise(self) -> None:
        """Start the workers that are not there, and wait for them."""
        for name in NAMES:
            process = self._workers.get(name)
            if process is None or process.poll() is not None:
                self._start_worker(name)

    def _start_worker(self, name: str) -> None:
        log = self.folder / f"{name}.log"
        while True:
            seen = log.stat().st_size if log.exists() else 0
            with log.open("ab") as file:
                process = subprocess.Popen(
                    [sys.executable, str(HERE / "light.py"), str(self.folder / "config.toml"), name],
                    stderr=file,
                    stdout=file,
                    env={**os.environ, "OMP_NUM_THREADS": "1", **self.environment},
                )
            self._workers[name] = process
            if not wait_until(
                lambda p=process, n=seen: p.poll() is not None or b" worker.ready " in log.read_bytes()[n:],
                READY_LIMIT_S,
            ):
                raise RuntimeError(f"a worker is not ready after {READY_LIMIT_S:.0f} s: see {log}")
            if process.poll() is None:
                return

    def kill_worker(self) -> bool:
        """kill -9 of a worker that is there and of its child; it is started again."""
        self.supervise()
        for process in self._family(self._rng.choice(NAMES)):
            process.kill()
        self.supervise()
        return True

    def freeze(self, what: str) -> list[psutil.Process]:
        if what == "node":
            return super().freeze(what)
        self.supervise()
        frozen = self._family(self._rng.choice(NAMES))
        for process in frozen:
            process.suspend()
        return frozen

    def thaw(self, frozen: Sequence[psutil.Process]) -> None:
        """SIGCONT; whoever was taken for dead ends by itself, and is started again."""
        super().thaw(frozen)
        self.supervise()

    def _family(self, name: str) -> list[psutil.Process]:
        worker = psutil.Process(self._workers[name].pid)
        return [worker, *worker.children()]

    def restart_database(self) -> None:
        """PostgreSQL ends, cleanly or by a crash, and is started again."""
        self._cluster.stop(self._rng.choice((signal.SIGINT, signal.SIGQUIT)))
        self._cluster.start()

    def __exit__(self, *details: object) -> None:
        super().__exit__(*details)
        for process in self._workers.values():
            process.kill()
            process.wait()
