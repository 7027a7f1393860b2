"""When to try again: exponential backoff with a cap and full patience."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Backoff:
    """Waiting times ``base_s * 2**(attempt - 1)``, at most ``cap_s``.

    No random part: one node is the only sender of its jobs, and a predictable time can be shown.
    """

    base_s: float
    cap_s: float

    def delay_s(self, attempt: int) -> float:
        """Seconds to wait after failed try number ``attempt`` (counted from 1)."""
        doublings = min(max(attempt, 1) - 1, 60)
        return min(self.base_s * 2.0**doublings, self.cap_s)
