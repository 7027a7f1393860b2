"""From what came in to a job: a child process converts it, the spool keeps it, a row promises it."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import threading
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from lfmri_node.dicom_io.errors import DicomIoError, ListenerRefusal
from lfmri_node.dicom_io.raw_data.received import ReceivedMeasurement
from lfmri_node.dicom_io.receive.spool import Spool
from lfmri_node.dicom_io.status import Status
from lfmri_node.node.errors import DoorError
from lfmri_node.node.jobs.job import Job
from lfmri_node.node.worker.sandbox import Sandbox

Received = Callable[[ReceivedMeasurement], Job]
CONVERTER = (sys.executable, "-m", "lfmri_node.node.doors.convert")

_DIRECTORY = "converting"
_SHORTEST_S, _BYTES_A_SECOND = 120.0, 4 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """What became of a measurement.

    Parameters
    ----------
    job
        None where an operator accepted it as a correction before: it has its job.
    missing
        What has to be assigned before anything of it leaves.
    images
        Whether its sender asks for the images.
    """

    job: Job | None
    missing: tuple[str, ...]
    images: bool


class Intake:
    """Takes one thing after the other in; several threads may ask.

    Parameters
    ----------
    folder
        For what is converted; on the file system of ``spool``.
    received
        Makes a job of a measurement that is safe in the spool (`node.ingest`).
    cage
        Leaves a child what it is to convert, and the folder for what comes of it.
    """

    def __init__(
        self,
        *,
        spool: Spool,
        folder: Path,
        received: Received,
        cage: Sandbox,
        converter: Sequence[str] = CONVERTER,
    ) -> None:
        self._spool = spool
        self._folder = folder / _DIRECTORY
        self._received = received
        self._cage = cage
        self._converter = list(converter)
        self._alone = threading.Lock()
        self._stopped = False
        self._child: subprocess.Popen[str] | None = None

    def open(self) -> None:
        """Remove what a killed conversion left."""
        shutil.rmtree(self._folder, ignore_errors=True)
        self._folder.mkdir(mode=0o700, parents=True)

    def stop(self) -> None:
        """End the conversion under way, and begin no other: what is not taken stays where it lies."""
        self._stopped = True
        child = self._child
        if child is not None:
            child.kill()

    def take(
        self,
        kind: Literal["stream", "file"],
        source: str,
        size: int,
        ae_title: str,
        *,
        files: Sequence[int] = (),
        unchanged: Callable[[], None] = lambda: None,
    ) -> Taken:
        """Convert ``source``, keep it, and have its job recorded; the same again gives the same job.

        Parameters
        ----------
        size
            Of the source, bytes: how long it may take follows from it.
        files
            Descriptors that the child keeps open.
        unchanged
            Raises an OSError where the source is not any more what is being taken.

        Raises
        ------
        DoorError
            With the code of whatever speaks against it.
        """
        with self._alone, self._scratch() as scratch:
            answer = self._converted(kind, source, size, ae_title, scratch, files)
            try:
                unchanged()
                job = self._kept(answer["parts"], scratch)
            except DicomIoError as error:
                passing = isinstance(error, ListenerRefusal) and error.status == Status.OUT_OF_RESOURCES
                raise DoorError(error.code, error.message, error.hint, passing=passing) from error
            except OSError as error:
                raise _no_place(error) from error
        return Taken(job=job, missing=tuple(answer["missing"]), images=answer["images"])

    @contextmanager
    def _scratch(self) -> Iterator[Path]:
        scratch = self._folder / uuid.uuid4().hex
        try:
            scratch.mkdir(mode=0o700)
        except OSError as error:
            raise _no_place(error) from error
        try:
            yield scratch
        finally:
            shutil.rmtree(scratch, ignore_errors=True)

    def _converted(
        self, kind: str, source: str, size: int, ae_title: str, scratch: Path, files: Sequence[int]
    ) -> dict[str, Any]:
        """Run the child; it may take two minutes and a second for each 4 MiB."""
        launcher = self._cage.launcher(reads=[Path(source)], writes=[scratch])
        child = subprocess.Popen(
            [*launcher, *self._converter, kind, source, str(scratch), ae_title],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            encoding="utf-8",
            pass_fds=files,
            start_new_session=True,
        )
        self._child = child
        limit_s = _SHORTEST_S + size / _BYTES_A_SECOND
        alarm = threading.Timer(limit_s, child.kill)
        alarm.daemon = True
        alarm.start()
        try:
            if self._stopped:
                child.kill()
            assert child.stdout is not None
            said = child.stdout.read()
            status = child.wait()
        finally:
            alarm.cancel()
            for pipe in (child.stdin, child.stdout):
                if pipe is not None:
                    pipe.close()
            self._child = None
        if status != 0 or not said:
            raise _died(status, self._stopped)
        answer: dict[str, Any] = json.loads(said)
        if "error" in answer:
            raise DoorError(**answer["error"])
        return answer

    def _kept(self, parts: Sequence[dict[str, str]], scratch: Path) -> Job | None:
        measurement = None
        for part in parts:
            measurement = self._spool.accept(
                self._spool.adopt(scratch / part["path"]),
                sop_class_uid=part["sop_class_uid"],
                sop_instance_uid=part["sop_instance_uid"],
            )
        return None if measurement is None else self._received(measurement)


def is_death(error: DoorError) -> bool:
    """Whether the conversion ended without an answer: what came may be to blame."""
    return error.code == "LF-DOR-005"


def _no_place(error: OSError) -> DoorError:
    return DoorError(
        "LF-DOR-006",
        f"a file of the spool cannot be read or written ({error.strerror})",
        "make room on the disk of node.data_dir; the node tries again by itself",
        passing=True,
    )


def _died(status: int, stopped: bool) -> DoorError:
    if stopped:
        return DoorError("LF-DOR-008", "the service stops", "it is taken in at the next start", passing=True)
    ending = f"signal {-status}" if status < 0 else f"exit status {status}"
    return DoorError(
        "LF-DOR-005",
        f"the process that reads what came in ended without an answer ({ending})",
        "it took too long or too much memory; export the measurement again",
        passing=True,
    )
