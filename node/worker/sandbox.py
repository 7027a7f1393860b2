"""What the system lets us take away from processes that parse foreign bytes: they need no network.

Programs of util-linux do it before the worker begins: `unshare` gives it user, network and IPC namespaces of
its own, in which there is no interface that is up; `setpriv` lets no program that it starts gain rights.
Where the system forbids namespaces to ordinary users, or the programs are missing, the worker runs without.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from lfmri_node.node.errors import JobError

_NAMESPACES = ("unshare", "--user", "--map-current-user", "--net", "--ipc")
_NO_NEW_PRIVILEGES = ("setpriv", "--no-new-privs")
_TRY_S = 30.0

Mode = Literal["auto", "required", "off"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sandbox:
    """What stands before the worker's command, and what that takes away."""

    launcher: tuple[str, ...] = ()
    no_network: bool = False
    no_new_privileges: bool = False

    def __str__(self) -> str:
        without = {"network": self.no_network, "new privileges": self.no_new_privileges}
        return ", ".join(f"no {name}" if taken else f"{name} possible" for name, taken in without.items())


def sandbox(mode: Mode) -> Sandbox:
    """Try what works here; ``required`` is all of it or an error.

    Raises
    ------
    JobError
        LF-JOB-060 where ``required`` is not to be had.
    """
    if mode == "off":
        return Sandbox()
    parts = [part for part in (_NAMESPACES, _NO_NEW_PRIVILEGES) if _works(part)]
    found = Sandbox(
        launcher=tuple(word for part in parts for word in part),
        no_network=_NAMESPACES in parts,
        no_new_privileges=_NO_NEW_PRIVILEGES in parts,
    )
    if mode == "required" and len(parts) < 2:
        raise JobError(
            "LF-JOB-060",
            f"the worker cannot be confined here ({found})",
            'install util-linux 2.38 and allow user namespaces, or set recon.sandbox = "auto"',
        )
    return found


def _works(launcher: Sequence[str]) -> bool:
    if shutil.which(launcher[0]) is None:
        return False
    try:
        done = subprocess.run(
            [*launcher, sys.executable, "-c", ""], capture_output=True, timeout=_TRY_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0
