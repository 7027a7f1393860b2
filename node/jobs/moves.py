"""What follows a try of a piece of work, and how long the next one waits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """What follows a try.

    Parameters
    ----------
    then
        ``go``: this is durable, go on with what comes after it. ``wait``: try again in ``wait_s``.
        ``remake``: likewise, while the scan is computed again. ``stop``: nothing is left to do here.
    told
        The table says that the work waits.
    behind
        It ended or held up the worker: the others go first.
    """

    then: Literal["go", "wait", "remake", "stop"]
    wait_s: float = 0.0
    told: bool = False
    behind: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Pause:
    """A wait for another try.

    Parameters
    ----------
    due
        Its end, by the monotonic clock.
    told
        See `Move`.
    silent
        The destination did not answer when the wait began.
    behind_until
        Before this it is not over while others wait that have not failed.
    """

    due: float
    told: bool
    silent: bool
    behind_until: float


GO, STOP = Move(then="go"), Move(then="stop")
