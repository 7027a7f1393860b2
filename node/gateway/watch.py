"""``lfmri-node gateway watch``: files of a scanner's export folder are converted and sent, and none is lost.

A node that is away costs nothing but time: the file waits and is tried again, for ever. What a converter or
the node refuses for good is put into ``failed`` with its reason, and the next file goes on.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from lfmri_node.dicom_io.errors import DicomIoError
from lfmri_node.node import logs
from lfmri_node.node.arrivals import Arrival, Arrivals
from lfmri_node.node.backoff import Backoff
from lfmri_node.node.errors import NodeError
from lfmri_node.node.gateway.identity import read_identity
from lfmri_node.node.gateway.outbox import FAILED, SIDECAR, Note, Outbox
from lfmri_node.node.gateway.steps import PASSING, Converter, Sending, Stopped
from lfmri_node.node.terminal.tables import print_json

ISMRMRD = (".h5", ".hdf5", ".mrd", ".ismrmrd")
_MOST_CRASHES = 3
_CRASHED = "LF-GWY-005"
_LONGEST_LOOK_S = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchSettings:
    """How a folder is watched.

    Parameters
    ----------
    converter
        None: the files are ISMRMRD files already.
    given
        DICOM attributes for every file, keyword -> value; a file's own ``.identity.toml`` stands over them.
    settle_s
        See `Arrivals`.
    once
        End when every file that is there was tried, instead of watching for ever.
    """

    folder: Path
    sending: Sending
    converter: Converter | None
    given: Mapping[str, str] = field(repr=False)
    settle_s: float
    backoff: Backoff
    once: bool


@dataclass(slots=True)
class Report:
    """What became of the files, by their names; for whoever asked, never for a log."""

    sent: list[str] = field(default_factory=list)
    failed: list[dict[str, str]] = field(default_factory=list)
    waiting: list[dict[str, object]] = field(default_factory=list)

    def print(self, *, as_json: bool, once: bool) -> bool:
        """Say it; whether all is well: nothing failed, and where it was to be done once, nothing waits."""
        if as_json:
            print_json(asdict(self))
        else:
            print(f"{len(self.sent)} sent, {len(self.failed)} failed, {len(self.waiting)} waiting")
        return not self.failed and not (once and self.waiting)


class Watch:
    """Watches one folder until it is stopped."""

    def __init__(self, settings: WatchSettings) -> None:
        self._settings = settings
        self._outbox = Outbox(settings.folder)
        suffixes = () if settings.converter is not None else ISMRMRD
        self._arrivals = Arrivals(
            settings.folder, settle_s=settings.settle_s, suffixes=suffixes, ignored=(SIDECAR,)
        )
        self._due = 0.0
        self._report = Report()

    def run(self, stop: threading.Event) -> Report:
        """Do what there is to do, until ``stop``, or once.

        Raises
        ------
        NodeError
            LF-GWY-001 where another process watches this folder.
        OSError
            The folder cannot be read, or nothing can be moved in it, and that once was to do.
        """
        with self._outbox.alone():
            self._outbox.sweep(self._arrivals.present())
            logs.event("gateway.watches")
            while not stop.is_set():
                try:
                    if self._round(stop) and self._settings.once:
                        break
                except Stopped:
                    break
                except OSError as error:
                    if self._settings.once:
                        raise
                    logs.event(
                        "gateway.unavailable", level=logging.ERROR, code="LF-CFG-010", message=error.strerror
                    )
                stop.wait(min(_LONGEST_LOOK_S, self._settings.settle_s))
            self._report.waiting = [self._waiting(item) for item in self._ready()]
        return self._report

    def _round(self, stop: threading.Event) -> bool:
        """Try what is ready, once; whether there is nothing more to try now."""
        ready = self._ready()
        moved = [self._step(arrival, stop) for arrival in ready if time.monotonic() >= self._due]
        return not any(moved) and self._arrivals.n_waiting == len(ready)

    def _waiting(self, arrival: Arrival) -> dict[str, object]:
        note = self._outbox.note(arrival)
        return {"file": arrival.path.name, "tries": note.tries, "code": note.code}

    def _ready(self) -> list[Arrival]:
        """Settled files; those that were tried less often first, then the oldest."""
        return sorted(self._arrivals.settled(), key=lambda item: self._outbox.note(item).tries)

    def _step(self, arrival: Arrival, stop: threading.Event) -> bool:
        """Bring one file as far as it goes now; whether it is out of the way.

        Raises
        ------
        Stopped
            The watcher is to end.
        """
        note = self._outbox.note(arrival)
        if note.failed:
            self._outbox.move(arrival, FAILED)
            return True
        try:
            if not note.sent:
                self._send(arrival, stop)
        except (NodeError, DicomIoError) as error:
            return self._failed(arrival, note, NodeError(error.code, error.message, error.hint))
        self._outbox.finish(arrival)
        self._report.sent.append(arrival.path.name)
        logs.event("gateway.sent", job=self._outbox.name_of(arrival), bytes=arrival.size)
        return True

    def _send(self, arrival: Arrival, stop: threading.Event) -> None:
        sidecar = self._outbox.sidecar(arrival)
        own = {} if sidecar is None else read_identity(sidecar, {})
        h5 = self._ismrmrd(arrival, stop)
        with self._outbox.workspace() as scratch:
            refused = self._settings.sending.run(h5, {**self._settings.given, **own}, scratch, stop)
        if refused is not None:
            raise refused

    def _ismrmrd(self, arrival: Arrival, stop: threading.Event) -> Path:
        converter = self._settings.converter
        if converter is None:
            return arrival.path
        done = self._outbox.converted(arrival)
        if done is not None:
            return done
        scratch = self._outbox.scratch(arrival)
        converter.run(arrival.path, scratch, self._outbox.log(arrival), stop)
        return self._outbox.keep_converted(arrival, scratch)

    def _failed(self, arrival: Arrival, note: Note, error: NodeError) -> bool:
        """Wait where another try may help; else put the file aside. Whether it is out of the way."""
        crashes = note.crashes + (error.code == _CRASHED)
        passing = error.code in PASSING or (error.code == _CRASHED and crashes < _MOST_CRASHES)
        job = self._outbox.name_of(arrival)
        if passing:
            note = replace(note, tries=note.tries + 1, crashes=crashes, code=error.code)
            self._outbox.keep(arrival, note)
            wait_s = self._settings.backoff.delay_s(note.tries)
            self._due = time.monotonic() + wait_s
            logs.event(
                "gateway.waits",
                level=logging.WARNING,
                job=job,
                code=error.code,
                attempt=note.tries,
                next_try_s=wait_s,
            )
            return False
        self._outbox.fail(arrival, error)
        self._report.failed.append(
            {"file": arrival.path.name, "code": error.code, "message": error.message, "hint": error.hint}
        )
        logs.event("gateway.failed", level=logging.ERROR, job=job, code=error.code, message=error.message)
        return True
