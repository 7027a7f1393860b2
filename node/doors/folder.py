"""The door for files: ISMRMRD files that appear in a folder become jobs.

A file stays where it lies until its job is on record; then it moves to ``taken``. Killed between any two
steps, the node finds it there again, and the same bytes give the same job. What can never become one moves
to ``refused``, with the reason beside it.
"""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from lfmri_node.node import logs
from lfmri_node.node.arrivals import Arrival, Arrivals, free_name, move_aside, opened, require_unchanged
from lfmri_node.node.doors.intake import Intake, Taken, is_death
from lfmri_node.node.errors import DoorError
from lfmri_node.node.files import write_text

SUFFIXES = (".h5", ".hdf5", ".mrd", ".ismrmrd")
TAKEN, REFUSED = "taken", "refused"
_MOST_TRIES = 3
_LONGEST_LOOK_S = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class FolderSettings:
    """One watched folder.

    Parameters
    ----------
    ae_title
        Stands for whoever puts files there, in the job table and for ``[gateways]``.
    settle_s
        See `Arrivals`.
    patience_s
        A file that HDF5 cannot read may be half a copy: where that cannot be excluded, it is refused when it
        has not changed for so long.
    """

    path: Path
    ae_title: str
    settle_s: float
    patience_s: float


class FolderDoor:
    """Watches one folder, in a thread of its own.

    Parameters
    ----------
    after
        Watched the same folder, and was stopped: what it is taking in ends first.
    """

    def __init__(self, settings: FolderSettings, intake: Intake, *, after: FolderDoor | None = None) -> None:
        self._settings = settings
        self._intake = intake
        self._after = after
        self._arrivals = Arrivals(settings.path, settle_s=settings.settle_s, suffixes=SUFFIXES)
        self._waiting: dict[Arrival, tuple[int, int]] = {}
        self._stopped = threading.Event()
        self._available = True
        self._thread = threading.Thread(target=self._watch, name="folder", daemon=True)

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    def stop(self) -> None:
        """Begin nothing more."""
        self._stopped.set()

    def join(self) -> None:
        """Wait for what is being taken in."""
        self._thread.join()

    def _watch(self) -> None:
        if self._after is not None:
            self._after.join()
            self._after = None
        while not self._stopped.wait(min(self._settings.settle_s, _LONGEST_LOOK_S)):
            try:
                self.look()
            except OSError as error:
                if self._available:
                    logs.event(
                        "folder.unavailable",
                        level=logging.ERROR,
                        code="LF-DOR-020",
                        calling_ae=self._settings.ae_title,
                        message=error.strerror,
                    )
                self._available = False
            else:
                self._available = True

    def look(self) -> None:
        """Take in what has settled.

        Raises
        ------
        OSError
            The folder cannot be read, or nothing can be moved in it.
        """
        settled = self._arrivals.settled()
        self._waiting = {item: state for item, state in self._waiting.items() if item in settled}
        for arrival in settled:
            if self._stopped.is_set():
                return
            pause, tries = self._waiting.get(arrival, (0, 0))
            if pause > 0:
                self._waiting[arrival] = (pause - 1, tries)
            else:
                self._take(arrival, tries + 1)

    def _take(self, arrival: Arrival, tries: int) -> None:
        try:
            with opened(arrival) as descriptor:
                taken = self._intake.take(
                    "file",
                    f"/proc/self/fd/{descriptor}",
                    arrival.size,
                    self._settings.ae_title,
                    files=(descriptor,),
                    unchanged=partial(require_unchanged, arrival, descriptor),
                )
        except OSError:  # gone, changed, or not ours to read: the next look sees
            return
        except DoorError as error:
            self._refused(arrival, error, tries)
            return
        move_aside(arrival.path, self._settings.path / TAKEN)
        self._waiting.pop(arrival, None)
        _tell(taken)

    def _refused(self, arrival: Arrival, error: DoorError, tries: int) -> None:
        """Wait, longer each time, where another try may help; else put the file aside."""
        half = error.half and arrival.age_s < self._settings.patience_s
        if half or (error.passing and not (is_death(error) and tries >= _MOST_TRIES)):
            self._waiting[arrival] = (min(2**tries, 64), tries)
            return
        folder = self._settings.path / REFUSED
        folder.mkdir(exist_ok=True)
        final = free_name(arrival.path, folder)
        write_text(
            final.with_name(f"{final.name}.txt"),
            f"{error.code}: {error.message}\n{error.hint}\n"
            f"Moved here because no job can be made of it. Mend it and put it back where it lay.\n",
        )
        move_aside(arrival.path, folder)
        logs.event(
            "file.refused",
            level=logging.WARNING,
            calling_ae=self._settings.ae_title,
            code=error.code,
            message=error.message,
            hint=error.hint,
            bytes=arrival.size,
        )


def _tell(taken: Taken) -> None:
    name = None if taken.job is None else taken.job.name
    logs.event("file.taken", job=name)
