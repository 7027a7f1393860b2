"""Scans of which parts are missing: one small file each, which other processes can list.

``incomplete/<name>.json`` in the spool holds no patient data. It follows from the objects that are kept
and is made again from them at start.
"""

from __future__ import annotations

import json
import logging
import threading
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from lfmri_node.dicom_io.files import published_file

DIRECTORY = "incomplete"
OVERDUE = "LF-NET-022"
_LOOK_EVERY_S = 60.0
_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class IncompleteScan:
    """Parts of one ISMRMRD file that wait for the others.

    Parameters
    ----------
    name
        First digits of a hash over payload, patient and study.
    parts
        Numbers of the parts that are there, from 1.
    files
        Their names in the spool, in the same order.
    last_at
        When the last of them came; aware.
    """

    name: str
    calling_ae: str
    parts: tuple[int, ...]
    files: tuple[str, ...]
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
            document |= {"parts": tuple(document["parts"]), "files": tuple(document["files"])}
            document["last_at"] = datetime.fromisoformat(document["last_at"])
            found.append(IncompleteScan(**document))
        except (OSError, ValueError, KeyError, TypeError):
            continue
    return sorted(found, key=lambda scan: scan.last_at)


class Reminder:
    """Warns, once each, of scans whose missing parts have not come in time.

    Parameters
    ----------
    after_s
        Since the last part that came, seconds.
    """

    def __init__(self, spool: Path, after_s: float) -> None:
        self._spool = spool
        self._after_s = after_s
        self._told: set[str] = set()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="incomplete", daemon=True)

    def start(self) -> None:
        """Begin to look, in a thread of its own."""
        self._thread.start()

    def stop(self) -> None:
        """Stop looking."""
        self._stopped.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._stopped.wait(min(self._after_s, _LOOK_EVERY_S)):
            present = datetime.now(UTC)
            overdue = [s for s in incomplete_scans(self._spool) if s.overdue(present, self._after_s)]
            for scan in overdue:
                if scan.name not in self._told:
                    _LOG.warning(
                        "%s: scan %s from %a is incomplete: %d of %d parts have not come for %.0f s",
                        OVERDUE,
                        scan.name,
                        scan.calling_ae,
                        len(scan.missing),
                        scan.n_parts,
                        self._after_s,
                    )
            self._told = {scan.name for scan in overdue}
