"""How a command ends: its exit status, and what is said where it failed.

With ``--json`` stdout holds one JSON document whatever happens: the answer, or where there is none
``{"error": {"code", "message", "hint"}}``. The two lines for people go to stderr either way.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import typer

from lfmri_node.dicom_io.errors import DicomIoError
from lfmri_node.node.errors import NodeError, StageFailed, Undecided, damaged_database
from lfmri_node.recon.errors import ReconError, UnsupportedAcquisition

EXIT_ERROR = 1
EXIT_USAGE = 2
EXIT_REFUSED = 3

# typer keeps the base of its errors of usage to itself; in its older versions it is click's.
UsageError: Any = typer.BadParameter.__base__


@dataclass(frozen=True, slots=True, kw_only=True)
class _Ending:
    code: str
    message: str
    hint: str
    status: int = EXIT_ERROR
    found: dict[str, object] | None = None


def reported(run: Callable[[], object], *, as_json: bool = False) -> int:
    """Run; turn our errors into one line with code and hint, and an exit status."""
    try:
        status = run()
    except UsageError as error:
        ending = _usage(error)
    except (NodeError, ReconError, DicomIoError) as error:
        ending = _named(error)
    except sqlite3.Error as error:
        ending = _named(damaged_database(error))
    except OSError as error:
        ending = _system(error)
    else:
        return status if isinstance(status, int) else 0
    from lfmri_node.node.terminal.tables import print_error, print_json

    print_error(ending.code, ending.message, ending.hint)
    if as_json:
        error_document = {"code": ending.code, "message": ending.message, "hint": ending.hint}
        with suppress(OSError):  # stdout may be what failed
            print_json((ending.found or {}) | {"error": error_document})
    return ending.status


def _usage(error: Any) -> _Ending:
    command = error.ctx.command_path if error.ctx else "lfmri-node"
    return _Ending(
        code="LF-CFG-011",
        message=error.format_message().rstrip("."),
        hint=f"`{command} --help` lists what the command takes",
        status=EXIT_USAGE,
    )


def _named(error: NodeError | ReconError | DicomIoError) -> _Ending:
    refused = isinstance(error, UnsupportedAcquisition | Undecided) or (
        isinstance(error, StageFailed) and error.refused
    )
    return _Ending(
        code=error.code,
        message=error.message,
        hint=error.hint,
        status=EXIT_REFUSED if refused else EXIT_ERROR,
        found=error.found if isinstance(error, Undecided) else None,
    )


def _system(error: OSError) -> _Ending:
    named = f" ({error.filename})" if error.filename else ""
    text = os.strerror(error.errno) if error.errno else "input or output failed"
    return _Ending(
        code="LF-CFG-010",
        message=f"{text}{named}",
        hint="check the path, its permissions and the free space",
    )
