"""When to try again: exponential backoff with a cap and full patience."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """When tries that fail for a passing reason come to an end: by their number or their age; 0: never."""

    max_attempts: int = 0
    days: float = 0.0

    def is_over(self, attempts: int, since: datetime | None) -> bool:
        """Whether ``attempts`` tries in a row, of which the first failed at ``since``, are enough."""
        aged = since is not None and datetime.now(UTC) - since >= timedelta(days=self.days)
        return 0 < self.max_attempts <= attempts or (self.days > 0 and aged)
