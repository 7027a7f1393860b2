"""The child process that parses what came in: a stream or an ISMRMRD file becomes Raw Data objects.

``python -m lfmri_node.node.doors.convert (stream|file) SOURCE OUT AE_TITLE`` writes into the folder OUT and
prints one JSON object. It ends with its parent, which waits on the other side of stdin, and has limits of
its own: memory, the size of what it writes, no core file. Whatever the foreign bytes make of it, the
service and the other scans go on.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import threading
from pathlib import Path
from typing import Any

from lfmri_node.dicom_io.errors import DicomIoError
from lfmri_node.dicom_io.raw_data.head import read_head, text_of
from lfmri_node.dicom_io.raw_data.unassigned import from_header
from lfmri_node.dicom_io.raw_data.wrap import wrap
from lfmri_node.node import logs
from lfmri_node.node.doors.frames import Course, Frame, Kind, exactly, frames
from lfmri_node.node.doors.half import may_be_half
from lfmri_node.node.errors import DoorError, NodeError
from lfmri_node.node.worker.main import own_stdout
from lfmri_node.node.worker.memory import is_out_of_memory, limit_memory
from lfmri_node.recon.errors import InvalidRawData, ReconError
from lfmri_node.recon.mrd.file import open_mrd, sha256_of
from lfmri_node.recon.mrd.header import parse_header
from lfmri_node.recon.mrd.rows import open_rows

_MEMORY_GB = 4.0
_ROOM_BYTES = 64 << 20
_IMAGES_FILE = "lfmri-images"
_IMAGES_KEY = "returnimages"


def main(arguments: list[str] | None = None) -> None:
    """Convert one file and print what came of it."""
    kind, source, out, ae_title = arguments or sys.argv[1:]
    answers = own_stdout()
    threading.Thread(target=_end_with_parent, daemon=True).start()
    logs.silence_texts(sys.stderr)
    size = os.stat(source).st_size  # noqa: PTH116 - also of /proc/self/fd/N
    limit_memory(_MEMORY_GB)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    limit = 2 * size + _ROOM_BYTES
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    answers.write(json.dumps(answer(kind, Path(source), Path(out), ae_title)) + "\n")
    answers.flush()
    os._exit(0)  # the thread that reads stdin would keep the interpreter


def _end_with_parent() -> None:
    sys.stdin.buffer.read()
    os._exit(1)


def answer(kind: str, source: Path, out: Path, ae_title: str) -> dict[str, object]:
    """What came of a conversion, JSON-able: ``parts``, ``missing``, ``images``; or ``error``."""
    try:
        images = False
        if kind == "stream":
            images = write_file(source, out / "scan.h5")
            at = source.stat().st_mtime
            source = out / "scan.h5"
            os.utime(source, (at, at))
        return {**wrapped(source, out, ae_title), "images": images}
    except (NodeError, ReconError, DicomIoError) as error:
        half = kind == "file" and isinstance(error, InvalidRawData) and may_be_half(source)
        return _error(error.code, error.message, error.hint, half=half)
    except (MemoryError, RuntimeError, OSError) as error:
        if is_out_of_memory(error):
            return _error(
                "LF-JOB-024",
                "what came needs more memory to be read than its size explains",
                "it is damaged or made to do harm; export the measurement again, and find out who sent it",
            )
        if not isinstance(error, OSError):
            raise
        words = os.strerror(error.errno or 0)
        return _error(
            "LF-DOR-006",
            f"a file of the spool cannot be read or written ({words})",
            "make room on the disk of node.data_dir; the node tries again by itself",
            passing=True,
        )


def _error(
    code: str, message: str, hint: str, *, passing: bool = False, half: bool = False
) -> dict[str, object]:
    said = {"code": code, "message": message, "hint": hint, "passing": passing, "half": half}
    return {"error": said}


def write_file(stream: Path, h5: Path) -> bool:
    """Write a stream as an ISMRMRD file; whether its configuration asks for the images.

    Raises
    ------
    DoorError
        As `frames`; LF-DOR-007 a header that is no text.
    """
    images = False
    with stream.open("rb") as file:
        course = frames(file.read, Course())
        for frame in course:
            body = exactly(file.read, frame.body_bytes)
            if frame.kind is Kind.HEADER:
                break
            images = images or asks_for_images(frame, body)
        with open_rows(h5, _xml(body)) as writer:
            for frame in course:
                body = exactly(file.read, frame.body_bytes)
                if frame.kind is Kind.ACQUISITION:
                    writer.acquisition(frame.fixed, body)
                elif frame.kind is Kind.WAVEFORM:
                    writer.waveform(frame.fixed, body)
                else:
                    images = images or asks_for_images(frame, body)
    return images


def _xml(body: bytes) -> bytes:
    text = body.rstrip(b"\0")
    if not text or b"\0" in text:
        raise DoorError(
            "LF-DOR-007", "the ISMRMRD header of the stream is no text", "correct the sending program"
        )
    return text


def asks_for_images(frame: Frame, body: bytes) -> bool:
    """Whether a configuration asks for the images: by a file of this name, or a true parameter.

    The name is ``lfmri-images``, with ``.xml`` or without. A text is JSON whose object ``parameters``, or
    which itself, has ``returnimages``: true, "true", "1".
    """
    if frame.kind is Kind.CONFIG_FILE:
        return frame.fixed.split(b"\0")[0].decode("utf-8", "replace").removesuffix(".xml") == _IMAGES_FILE
    if frame.kind not in (Kind.CONFIG_TEXT, Kind.TEXT):
        return False
    try:
        document: Any = json.loads(body.rstrip(b"\0"))
    except (ValueError, RecursionError):
        return False
    found = document.get("parameters", document) if isinstance(document, dict) else {}
    said = found.get(_IMAGES_KEY) if isinstance(found, dict) else None
    return said is True or (isinstance(said, str) and said.lower() in ("true", "1"))


def wrapped(h5: Path, out: Path, ae_title: str) -> dict[str, object]:
    """Wrap an ISMRMRD file; what is there of its identity, its header says.

    Raises
    ------
    ReconError
        The file is no ISMRMRD file, or its header is damaged.
    """
    with open_mrd(h5, None) as measurement:
        header, group = parse_header(measurement.xml), measurement.group
    said = from_header(header.stated, sha256_of(h5))
    paths = wrap(h5, out, said.attributes, group=group, given=said.missing, calling_ae=ae_title)
    return {"parts": [_described(path) for path in paths], "missing": list(said.missing)}


def _described(path: Path) -> dict[str, str]:
    head, _ = read_head(path)
    return {
        "path": path.name,
        "sop_class_uid": text_of(head, "SOPClassUID"),
        "sop_instance_uid": text_of(head, "SOPInstanceUID"),
    }


if __name__ == "__main__":
    main()
