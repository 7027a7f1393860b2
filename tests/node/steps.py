"""kill -9 before each step of something that works on files, one after the other, until none is left.

A step is what another process would see of it: a file that is opened to be written, renamed, linked, removed,
a folder that is made, a program that is started. Python tells of each before it does it (PEP 578).
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator

_STEPS = frozenset(
    {
        "os.rename",
        "os.remove",
        "os.link",
        "os.mkdir",
        "os.rmdir",
        "os.truncate",
        "shutil.rmtree",
        "subprocess.Popen",
    }
)
_WRITING = os.O_WRONLY | os.O_RDWR


def killed_before_each_step(work: Callable[[int], None]) -> Iterator[tuple[int, str]]:
    """Run ``work(n)`` in a fork that is killed before its n-th step, for n = 1, 2, ... until it ends well.

    Yields
    ------
    n, and the step before which it was killed; "" where it ended. The caller looks at what was left.
    """
    number, step = 0, " "
    while step:
        number += 1
        step = _killed(work, number)
        yield number, step


def _killed(work: Callable[[int], None], number: int) -> str:
    told, tells = os.pipe()
    process = os.fork()
    if process == 0:
        os.close(told)
        kill_before(number, tells)
        work(number)
        os._exit(0)
    os.close(tells)
    with os.fdopen(told, "rb") as said:
        step = said.read().decode()
    _, status = os.waitpid(process, 0)
    if os.WIFSIGNALED(status):
        assert os.WTERMSIG(status) == signal.SIGKILL, step
        return step
    assert os.waitstatus_to_exitcode(status) == 0, f"step {number}: the work itself failed"
    return ""


def kill_before(number: int, tells: int) -> None:
    left = number

    def hook(event: str, arguments: tuple[object, ...]) -> None:
        nonlocal left
        if event == "open":
            flags = arguments[2]
            if not isinstance(flags, int) or not flags & _WRITING or str(arguments[0]).startswith("/dev/"):
                return
        elif event not in _STEPS:
            return
        left -= 1
        if left == 0:
            os.write(tells, f"{event} {str(arguments[0])[-60:]}".encode())
            os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)
