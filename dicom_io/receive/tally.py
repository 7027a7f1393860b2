"""What callers cause is logged once a minute for each cause and address, however often they cause it."""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping

_LOG = logging.getLogger(__name__)
_MAX_KINDS = 256
_OTHERS = "further addresses"


class Tally:
    """One line for the first of a kind, and after a minute one with the number of those that followed.

    A kind is a code, its message and an address. Beyond `_MAX_KINDS` of them in a minute all addresses are
    one. Several threads may note.

    Parameters
    ----------
    quiet_s
        The minute.
    on_first
        Told code, message and address of what is logged as the first of its kind.
    """

    def __init__(
        self, quiet_s: float = 60.0, on_first: Callable[[str, str, str], None] | None = None
    ) -> None:
        self._quiet_s = quiet_s
        self._on_first = on_first
        self._lock = threading.Lock()
        self._since = time.monotonic()
        self._more: dict[tuple[str, str, str], int] = {}
        self._counts: Counter[str] = Counter()

    def count(self, what: str) -> None:
        """Count something that nobody has to be told of."""
        with self._lock:
            self._counts[what] += 1

    def counts(self) -> Mapping[str, int]:
        """How often what was counted, and each code noted, since the start."""
        with self._lock:
            return dict(self._counts)

    def note(self, code: str, message: str, address: str, caller: str = "") -> None:
        """Count; log where it is the first of its kind.

        Parameters
        ----------
        caller
            Says more of the first than its address does.
        """
        self.tell()
        with self._lock:
            self._counts[code] += 1
            kind = (code, message, address)
            if kind not in self._more and len(self._more) >= _MAX_KINDS:
                kind = (code, message, _OTHERS)
            first = kind not in self._more
            self._more[kind] = 0 if first else self._more[kind] + 1
        if first:
            _LOG.warning("%s: %s: %s", code, message, caller or address)
            if self._on_first is not None:
                self._on_first(code, message, address)

    def tell(self, *, now: bool = False) -> None:
        """Log what was only counted, once the minute is over; ``now``: before it is."""
        with self._lock:
            if not now and time.monotonic() - self._since < self._quiet_s:
                return
            told, self._more, self._since = self._more, {}, time.monotonic()
        for (code, message, address), count in told.items():
            if count:
                _LOG.warning("%s: %s: %s, %d more since", code, message, address, count)
