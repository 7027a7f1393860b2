"""Who is logged in, and how often somebody has tried in vain."""

from __future__ import annotations

import secrets
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass, field

_LASTS_S = 12 * 3600.0
_IDLE_S = 3600.0
_MOST_SESSIONS = 1000
_FREE_TRIES = 5
_FIRST_WAIT_S, _LONGEST_WAIT_S = 2.0, 600.0
_REMEMBERED_S = 3600.0
_MOST_KEYS = 4096


@dataclass(slots=True, kw_only=True, eq=False)
class Session:
    """Somebody's visit; ``form_token`` stands in every form of it."""

    name: str
    since: float
    seen: float
    form_token: str = field(default_factory=lambda: secrets.token_urlsafe(32), repr=False)


class Sessions:
    """Sessions by the value of their cookie, in memory: they end with the process.

    Parameters
    ----------
    clock
        Seconds that only grow.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._sessions: OrderedDict[str, Session] = OrderedDict()

    def open(self, name: str) -> str:
        """Begin a session; returns what the cookie holds. The oldest goes where there are too many."""
        now, key = self._clock(), secrets.token_urlsafe(32)
        with self._lock:
            while len(self._sessions) >= _MOST_SESSIONS:
                self._sessions.popitem(last=False)
            self._sessions[key] = Session(name=name, since=now, seen=now)
        return key

    def find(self, key: str, *, acts: bool) -> Session | None:
        """The session of a cookie; None where there is none, or its time is over.

        Parameters
        ----------
        acts
            Somebody does something; what a page asks by itself keeps no session alive.
        """
        now = self._clock()
        with self._lock:
            session = self._sessions.get(key)
            if session is None or now - session.since > _LASTS_S or now - session.seen > _IDLE_S:
                self._sessions.pop(key, None)
                return None
            if acts:
                session.seen = now
            return session

    def close(self, key: str) -> None:
        """End a session."""
        with self._lock:
            self._sessions.pop(key, None)


class Attempts:
    """Failed logins by name and by address; after some, each makes the next one wait for longer."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._failed: OrderedDict[str, deque[float]] = OrderedDict()

    def wait_s(self, *keys: str) -> float:
        """Seconds until the next try of any of these counts; 0 for now."""
        with self._lock:
            return max(self._wait_s(key) for key in keys)

    def note(self, *keys: str) -> None:
        """A try has failed."""
        with self._lock:
            for key in keys:
                times = self._failed.setdefault(key, deque(maxlen=_FREE_TRIES + 32))
                times.append(self._clock())
                self._failed.move_to_end(key)
            while len(self._failed) > _MOST_KEYS:
                self._failed.popitem(last=False)

    def forget(self, *keys: str) -> None:
        """A try has succeeded."""
        with self._lock:
            for key in keys:
                self._failed.pop(key, None)

    def _wait_s(self, key: str) -> float:
        now = self._clock()
        times = [at for at in self._failed.get(key, ()) if now - at < _REMEMBERED_S]
        if len(times) < _FREE_TRIES:
            return 0.0
        wait = min(_FIRST_WAIT_S * 2.0 ** (len(times) - _FREE_TRIES), _LONGEST_WAIT_S)
        return max(0.0, times[-1] + wait - now)
