"""A PostgreSQL cluster of the tests' own: on a free port, as a user without rights."""

from __future__ import annotations

import os
import pwd
import random
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psycopg

PASSWORD = "a secret of the tests"


@dataclass
class Cluster:
    """A server with a user ``lfmri``, who owns the databases that `database` makes."""

    folder: Path
    postgres: Path
    port: int
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it and wait until it answers."""
        settings = {
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": str(self.folder),
            "fsync": "off",  # the tests kill processes, not the machine
        }
        options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        command = [str(self.postgres), "-D", str(self.folder / "data"), "-p", str(self.port), *options]
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(as_nobody(command), stdout=log, stderr=log, cwd=self.folder)
        ready = Path(self.postgres).with_name("pg_isready")
        while subprocess.run(
            [ready, "-q", "-h", "127.0.0.1", "-p", str(self.port), "-t", "10"], check=False
        ).returncode:
            assert self.process.poll() is None, (self.folder / "log").read_text()

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """End it: SIGINT closes all connections, SIGQUIT is a crash."""
        assert self.process is not None
        self.process.send_signal(how)
        self.process.wait()

    def database(self, name: str) -> str:
        """Make a database; returns its URL, without the password."""
        with psycopg.connect(self.url("postgres", user="postgres"), autocommit=True) as connection:
            connection.execute(f'CREATE DATABASE "{name}" OWNER lfmri')
        return self.url(name)

    def url(self, database: str, *, user: str = "lfmri", password: str = "") -> str:
        secret = f":{password.replace(' ', '%20')}" if password else ""
        host = "" if user == "postgres" else f"127.0.0.1:{self.port}"
        query = f"?host={self.folder}&port={self.port}" if user == "postgres" else ""
        return f"postgresql://{user}{secret}@{host}/{database}{query}"


def as_nobody(command: Sequence[str]) -> list[str]:
    """A command as the user ``postgres`` where root runs the tests: its server refuses root."""
    if os.geteuid() != 0:
        return list(command)
    return ["setpriv", "--reuid=postgres", "--regid=postgres", "--init-groups", "--", *command]


@contextmanager
def running_cluster(program: Callable[..., Path]) -> Iterator[Cluster]:
    """A running cluster; only ``lfmri`` needs a password, and it does."""
    initdb = _installed(program)
    folder = Path(tempfile.mkdtemp(prefix="lfmri-postgres-"))
    made = Cluster(folder=folder, postgres=initdb.with_name("postgres"), port=_free_port())
    try:
        if os.geteuid() == 0:
            user = pwd.getpwnam("postgres")
            os.chown(folder, user.pw_uid, user.pw_gid)
        command = [str(initdb), "-D", str(folder / "data"), "-U", "postgres", "--no-sync", "-E", "UTF8"]
        command += ["--auth-local=trust", "--auth-host=scram-sha-256", "--locale=C.UTF-8"]
        subprocess.run(as_nobody(command), check=True, stdout=subprocess.DEVNULL, cwd=folder)
        made.start()
        with psycopg.connect(made.url("postgres", user="postgres"), autocommit=True) as connection:
            connection.execute(f"CREATE ROLE lfmri LOGIN PASSWORD '{PASSWORD}'")
        yield made
    finally:
        if made.process is not None and made.process.poll() is None:
            made.stop(signal.SIGQUIT)
        shutil.rmtree(folder)


def _installed(program: Callable[..., Path]) -> Path:
    """``initdb`` of the highest version; Debian keeps it out of the usual folders."""
    versions = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[4]))
    return versions[-1] if versions else program("initdb").resolve()


def _free_port() -> int:
    """Below the ports that the system gives to whoever asks for any: a restart finds it still free."""
    while True:
        port = random.randrange(15_000, 32_000)
        with socket.socket() as trial, suppress(OSError):
            trial.bind(("127.0.0.1", port))
            return port
