"""Log lines without patient data, by construction.

Our own lines are an event name and fields from a closed list, or a text of `dicom_io`, which is
written to hold none. Lines of libraries are reduced to where they come from and what type of error
they report: their texts quote DICOM values.
"""

from __future__ import annotations

import json
import logging
import os
import re
import shutil
import sys
import threading
import time
import traceback
import warnings
from collections.abc import Mapping
from datetime import UTC, datetime
from logging.handlers import RotatingFileHandler
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import TextIO

from lfmri_node.node.files import take_from_others

FIELDS = frozenset(
    {
        "job",
        "stage",
        "code",
        "seconds",
        "attempt",
        "seen",
        "scans",
        "objects",
        "destination",
        "delivered",
        "missing",
        "next_try_s",
        "verdict",
        "calling_ae",
        "bytes",
        "what",
        "part",
        "n_parts",
        "port",
        "host",
        "executor",
        "version",
        "process",
        "signal",
        "message",
        "hint",
        "count",
    }
)

_OURS = "lfmri_node"
_QUIET_S = 60.0
_CODE = re.compile(r"LF-[A-Z]{3}-\d{3}")


def event(name: str, *, level: int = logging.INFO, **fields: object) -> None:
    """Write one line: time, level, event name, ``field=value`` pairs.

    Raises
    ------
    ValueError
        A field is not in `FIELDS`: new fields are added there, after asking whether they can ever
        hold patient data. ``message`` and ``hint`` are those of our own errors only.
    """
    strange = fields.keys() - FIELDS
    if strange:
        raise ValueError(f"log fields not in the closed list: {sorted(strange)}")
    logging.getLogger(_OURS).log(level, name, extra={"fields": fields})


def _value(value: object) -> str:
    text = f"{value:.3f}" if isinstance(value, float) else str(value)
    text = " ".join(text.split())
    return '"' + text.replace('"', "'") + '"' if " " in text or not text else text


def _place(trace: TracebackType | None, most: int = 0) -> str:
    frames = traceback.extract_tb(trace)[-most:]
    return "<".join(f"{Path(frame.filename).stem}:{frame.lineno}" for frame in reversed(frames))


def _moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")


class LineFormatter(logging.Formatter):
    """One line a record; the text of foreign records and of exceptions is left out."""

    def format(self, record: logging.LogRecord) -> str:
        event, fields = _said(record)
        return self.line(record.created, record.levelname, event, fields)

    def line(self, created: float, level: str, event: str, fields: Mapping[str, object]) -> str:
        """Time, level, event, ``field=value`` pairs."""
        pairs = (f"{key}={_value(value)}" for key, value in fields.items())
        return " ".join([_moment(created), level.lower(), event, *pairs])


class JsonFormatter(LineFormatter):
    """The same, as one JSON object a line: ``at``, ``level``, ``event``, and the fields beside them.

    ``at`` is the time in every line; where a library's line says where it comes from, that is ``place``.
    """

    def line(self, created: float, level: str, event: str, fields: Mapping[str, object]) -> str:
        head = {"at": _moment(created), "level": level.lower(), "event": event}
        code = _CODE.match(str(fields.get("message", "")))
        stated = {"code": code[0]} if code is not None else {}
        named = {"place" if key == "at" else key: _plain(value) for key, value in fields.items()}
        return json.dumps(head | stated | named)


FORMATTERS: Mapping[str, LineFormatter] = MappingProxyType({"text": LineFormatter(), "json": JsonFormatter()})
"""By the words of ``logging.format``."""


def _plain(value: object) -> object:
    """A number or truth as it is; everything else as its text."""
    return value if isinstance(value, int | float) or value is None else str(value)


def _said(record: logging.LogRecord) -> tuple[str, Mapping[str, object]]:
    """Event and fields of a record, of which nothing is foreign text."""
    fields = getattr(record, "fields", None)
    if record.name == _OURS and fields is not None:
        return str(record.msg), fields
    if record.name.startswith(f"{_OURS}."):
        return record.name.removeprefix(f"{_OURS}."), {"message": record.getMessage()}
    found: dict[str, object] = {"at": f"{record.name}:{record.module}:{record.lineno}"}
    if record.exc_info and record.exc_info[0] is not None:
        found |= {"error": record.exc_info[0].__name__, "trace": _place(record.exc_info[2], 3)}
    more = getattr(record, "more", 0)
    return "library", found | ({"more": more} if more else {})


class LibrariesOnce(logging.Filter):
    """Lets one line a minute pass for each place and error of a library; the next says how many did not.

    A peer that sends what a library calls an error, or a database that is away, could fill the log.
    """

    def __init__(self) -> None:
        super().__init__()
        self._told: dict[tuple[object, ...], tuple[float, int]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        if record.name == _OURS or record.name.startswith(f"{_OURS}."):
            return True
        kind = (record.name, record.lineno, record.exc_info[0] if record.exc_info else None)
        last, more = self._told.get(kind, (-_QUIET_S, 0))
        if time.monotonic() - last < _QUIET_S:
            self._told[kind] = (last, more + 1)
            return False
        self._told[kind] = (time.monotonic(), 0)
        record.more = more
        return True


def report_crash(
    stream: TextIO,
    kind: type[BaseException],
    trace: TracebackType | None,
    formatter: LineFormatter = FORMATTERS["text"],
) -> None:
    """One line for an exception that nobody caught: its type and place, not its text."""
    fields = {"error": kind.__name__, "trace": _place(trace)}
    stream.write(formatter.line(time.time(), "critical", "crash", fields) + "\n")
    stream.flush()


def silence_texts(stream: TextIO, formatter: LineFormatter = FORMATTERS["text"]) -> None:
    """Make this process report crashes and warnings without their texts, which may quote DICOM values."""

    def warned(
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: TextIO | None = None,
        line: str | None = None,
    ) -> None:
        fields = {"at": f"{Path(filename).stem}:{lineno}", "kind": category.__name__}
        stream.write(formatter.line(time.time(), "warning", "library", fields) + "\n")

    def thread_crashed(crash: threading.ExceptHookArgs) -> None:
        report_crash(stream, crash.exc_type, crash.exc_traceback, formatter)

    warnings.showwarning = warned
    sys.excepthook = lambda kind, _error, trace: report_crash(stream, kind, trace, formatter)
    threading.excepthook = thread_crashed


def configure(
    level: str, file: Path | None = None, *, max_mb: float = 10.0, keep: int = 5, form: str = "text"
) -> None:
    """Send our lines and the libraries' warnings to stderr, and to ``file`` where one is given.

    The file is renamed to ``<file>.1`` and begun anew before it grows beyond ``max_mb``; ``keep`` old ones
    stay. This process is its only writer. ``form``: a word of `FORMATTERS`.
    """
    formatter = FORMATTERS[form]
    handlers: list[logging.Handler] = [logging.StreamHandler(sys.stderr)]
    if file is not None:
        file.parent.mkdir(parents=True, exist_ok=True)
        handlers.append(
            RotatingFileHandler(file, maxBytes=int(max_mb * 1e6), backupCount=keep, encoding="utf-8")
        )
        take_from_others(file.parent.glob(f"{file.name}*"))
    root = logging.getLogger()
    for handler in list(root.handlers):
        root.removeHandler(handler)
    for handler in handlers:
        handler.setFormatter(formatter)
        handler.addFilter(LibrariesOnce())
        root.addHandler(handler)
    root.setLevel(logging.WARNING)
    set_level(level)
    for library in ("dbos", "pynetdicom", "pydicom", "highdicom"):
        logger = logging.getLogger(library)
        for handler in list(logger.handlers):
            logger.removeHandler(handler)
        logger.addHandler(logging.NullHandler())  # or DBOS adds one of its own, which prints texts
        logger.propagate = True
        logger.setLevel(logging.ERROR)
    silence_texts(sys.stderr, formatter)


def set_level(level: str) -> None:
    """Change how much is logged of our own lines."""
    logging.getLogger(_OURS).setLevel(level.upper())


def cut(file: Path, *, max_mb: float) -> None:
    """Copy a file that another process appends to into ``<file>.1`` and empty it, once it is too long.

    The writer keeps its open file; what it writes between copy and cut is lost.
    """
    if file.exists() and file.stat().st_size > max_mb * 1e6:
        shutil.copyfile(file, file.with_name(f"{file.name}.1"))
        os.truncate(file, 0)
