"""What is taken from processes that parse foreign bytes: the network, other files, new privileges.

The kernel does it for any user, without a program, a daemon or a namespace: `landlock` leaves them the files
that they need, `seccomp` forbids sockets. Where the kernel cannot, they run with what is left, and `doctor`
says so.
"""

from __future__ import annotations

import os
import site
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Literal

from lfmri_node.node.errors import JobError
from lfmri_node.node.worker import landlock, seccomp
from lfmri_node.node.worker.confine import Confinement

_SYSTEM = (
    *("/usr", "/lib", "/lib32", "/lib64", "/bin", "/sbin", "/proc", "/sys"),
    *("/etc/ld.so.cache", "/etc/localtime", "/etc/passwd", "/etc/group", "/etc/nsswitch.conf"),
    *("/etc/ssl/openssl.cnf", "/etc/pki/tls/openssl.cnf", "/etc/crypto-policies"),
)
"""What libraries read of the system; no folder in which a site keeps keys or passwords."""
_DEVICES = ("null", "zero", "full", "random", "urandom", "nvidia*", "nvidia-caps/*", "kfd", "dri/*")
_PATHS = ("PYTHONPATH", "LD_LIBRARY_PATH")
_ROOMS = ("lfmri_node.node", "lfmri_node.dicom_io", "lfmri_node.recon")
_TRY_S = 30.0

Mode = Literal["auto", "required", "off"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sandbox:
    """What is taken away.

    Parameters
    ----------
    privileges
        No program that is started gains any; of root's own only those over files are left.
    files
        All but the program's, the system's libraries and those that are named for a process.
    calls
        Sockets, and the ways into other processes.
    forgets
        Names of variables with secrets.
    """

    privileges: bool = False
    files: bool = False
    calls: bool = False
    forgets: frozenset[str] = frozenset()

    @property
    def whole(self) -> bool:
        """Whether everything is taken away that can be."""
        return self.privileges and self.files and self.calls

    def __str__(self) -> str:
        without = {"network": self.calls, "new privileges": self.privileges, "other files": self.files}
        return ", ".join(f"no {name}" if taken else f"{name} possible" for name, taken in without.items())

    def launcher(
        self,
        *,
        reads: Sequence[Path] = (),
        writes: Sequence[Path] = (),
        environment: Mapping[str, str] | None = None,
    ) -> list[str]:
        """Words before the command of a process that needs these files too.

        Parameters
        ----------
        environment
            Variables for it, where the sandbox takes anything away.
        """
        if not self.privileges:
            return []
        return Confinement(
            files=self.files,
            calls=self.calls,
            reads=[*_SYSTEM, *_program(), *map(str, reads)],
            writes=[str(path) for path in writes],
            uses=[str(path) for pattern in _DEVICES for path in Path("/dev").glob(pattern)],
            environment=environment or {},
            forgets=sorted(self.forgets),
        ).words()


def sandbox(mode: Mode, *, forgets: frozenset[str] = frozenset()) -> Sandbox:
    """Try what works here; ``required`` is all of it or an error.

    Raises
    ------
    JobError
        LF-JOB-060 where ``required`` is not to be had.
    """
    if mode == "off":
        return Sandbox()
    files, calls = landlock.abi() > 0, seccomp.known()
    tries = [
        Sandbox(privileges=True, files=files and with_files, calls=calls and with_calls, forgets=forgets)
        for with_files, with_calls in ((True, True), (True, False), (False, True), (False, False))
    ]
    found = next(filter(_works, tries), Sandbox())
    if mode == "required" and not found.whole:
        raise JobError(
            "LF-JOB-060",
            f"the worker cannot be confined here ({found})",
            'Linux 5.13 with Landlock and seccomp is needed; or set recon.sandbox = "auto"',
        )
    return found


def _works(tried: Sandbox) -> bool:
    command = [*tried.launcher(), sys.executable, "-c", "import numpy"]
    try:
        return subprocess.run(command, capture_output=True, timeout=_TRY_S, check=False).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


def _program() -> list[str]:
    """Where the interpreter, its libraries and our own sources lie; links are followed."""
    found = [sys.prefix, sys.base_prefix, sys.exec_prefix]
    found += [folder for name in _PATHS for folder in os.environ.get(name, "").split(":") if folder]
    if site.ENABLE_USER_SITE:
        found.append(site.getusersitepackages())
    found += [folder for room in _ROOMS for folder in import_module(room).__path__]
    return list(dict.fromkeys(found))
