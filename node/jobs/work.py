"""What the engine has to do, named: one piece a measurement, one a scan, one a scan and destination.

The id of a piece is the id of its workflow and says what it is: ``admit:<key>``, ``compute:<key>``,
``deliver:<key>:<destination>``. It is a stored format.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    """Names of the workflows."""

    ADMIT = "admit"
    COMPUTE = "compute"
    DELIVER = "deliver"


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """One piece of work; ``destination`` is "" but for a delivery."""

    kind: Kind
    key: str
    destination: str = ""

    @property
    def id(self) -> str:
        """Workflow id."""
        return ":".join(part for part in (self.kind.value, self.key, self.destination) if part)

    @property
    def queue(self) -> str:
        """Queue of its workflow: every destination has its own; what needs the worker shares one, so that a
        measurement's header is read by whoever is free."""
        return queue_of(Kind.DELIVER, self.destination) if self.destination else queue_of(Kind.COMPUTE)

    def arguments(self) -> tuple[str, ...]:
        """Arguments of its workflow."""
        return (self.key, self.destination) if self.destination else (self.key,)


CONTROL = "admit"
"""Queue of operators' requests; up to 0.2.0 of admissions too."""


def queue_of(kind: Kind, destination: str = "") -> str:
    """Name of a queue."""
    return f"{kind.value}.{destination}" if destination else kind.value
