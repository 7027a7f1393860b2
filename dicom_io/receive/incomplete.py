"""Scans of which parts are missing: one small file each, which other processes can list.

``incomplete/<name>.json`` in the spool holds no patient data. It follows from the objects that are kept
and is made again from them at start.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from pathlib import Path

from lfmri_node.dicom_io.files import published_file

DIRECTORY = "incomplete"


@dataclass(frozen=True, slots=True, kw_only=True)
class IncompleteScan:
    """Parts of one ISMRMRD file that wait for the others.

    Parameters
    ----------
    name
        First digits of a hash over payload, patient and study.
    parts
        Numbers of the parts that are there, from 1.
    last_at
        When the last of them came; aware.
    """

    name: str
    calling_ae: str
    parts: tuple[int, ...]
    n_parts: int
    last_at: datetime

    @property
    def missing(self) -> tuple[int, ...]:
        """Numbers of the parts that have not come."""
        return tuple(number for number in range(1, self.n_parts + 1) if number not in self.parts)

    def overdue(self, at: datetime, after_s: float) -> bool:
        """Whether nothing has come for ``after_s`` seconds."""
        return at - self.last_at > timedelta(seconds=after_s)

    def write(self, spool: Path) -> None:
        """Note it in the spool."""
        document = {**asdict(self), "last_at": self.last_at.isoformat()}
        with published_file(spool / DIRECTORY / f"{self.name}.json") as file:
            file.write(json.dumps(document).encode("ascii"))

    def remove(self, spool: Path) -> None:
        """Take the note away: the scan is complete."""
        (spool / DIRECTORY / f"{self.name}.json").unlink(missing_ok=True)


def incomplete_scans(spool: Path) -> list[IncompleteScan]:
    """What is noted, the longest waiting first; a note that cannot be read comes again at the next start."""
    found = []
    for path in (spool / DIRECTORY).glob("*.json"):
        try:
            document = json.loads(path.read_bytes())
            document["parts"] = tuple(document["parts"])
            document["last_at"] = datetime.fromisoformat(document["last_at"])
            found.append(IncompleteScan(**document))
        except (OSError, ValueError, KeyError, TypeError):
            continue
    return sorted(found, key=lambda scan: scan.last_at)
