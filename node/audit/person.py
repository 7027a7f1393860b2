"""Who sits at the terminal: for deeds on the command line, of which the trail names who did them."""

from __future__ import annotations

import os
import pwd
import socket
from pathlib import Path

from lfmri_node.node.audit.messages import Participant, at_machine

_NOBODY = 0xFFFFFFFF  # audit_login_uid(3): the session began without a login


def person() -> Participant:
    """Who logged in, also where sudo made another user of them; else the user of this process."""
    user = _login_user()
    return at_machine(_name(os.getuid() if user is None else user), socket.gethostname())


def _login_user() -> int | None:
    """The login user, which the kernel keeps through every change of user; None where nobody logged in."""
    try:
        user = int(Path("/proc/self/loginuid").read_text(encoding="ascii"))
    except (OSError, ValueError):
        return None
    return None if user == _NOBODY else user


def _name(user: int) -> str:
    try:
        return pwd.getpwuid(user).pw_name
    except KeyError:
        return str(user)
