"""What a check finds, and how that is shown."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum

from lfmri_node.dicom_io.errors import DicomIoError
from lfmri_node.node.errors import NodeError, damaged_database
from lfmri_node.node.terminal.tables import print_json, print_table
from lfmri_node.recon.errors import ReconError


class State(StrEnum):
    """How a check came out."""

    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One check: what was looked at, how it is, and (unless ok) a code and what to do."""

    check: str
    state: State
    message: str
    code: str = ""
    hint: str = ""


def guarded(name: str, found: Iterator[Finding]) -> Iterator[Finding]:
    """What a check finds; one that breaks off is a finding itself, and the others go on."""
    try:
        yield from found
    except (NodeError, ReconError, DicomIoError) as error:
        yield failed(name, error)
    except sqlite3.Error as error:
        yield failed(name, damaged_database(error))
    except OSError as error:
        yield Finding(
            check=name,
            state=State.FAILED,
            message=f"{error.filename or 'it'} cannot be looked at ({error.strerror})",
            code="LF-DOC-012",
            hint="let doctor run as the user that the service runs as",
        )


def print_findings(findings: Sequence[Finding], *, as_json: bool) -> bool:
    """Print; True where nothing has failed."""
    healthy = all(finding.state is not State.FAILED for finding in findings)
    if as_json:
        print_json({"healthy": healthy, "checks": [asdict(finding) for finding in findings]})
    else:
        rows = [(f.check, f.state.value, f.code, _what(f)) for f in findings]
        print_table("doctor", ("check", "state", "code", "what"), rows)
    return healthy


def _what(finding: Finding) -> str:
    """What was found and below it what to do: a column for each leaves no room for paths."""
    return f"{finding.message}\nhint: {finding.hint}" if finding.hint else finding.message


def ok(check: str, message: str) -> Finding:
    return Finding(check=check, state=State.OK, message=message)


def failed(check: str, error: NodeError | ReconError | DicomIoError) -> Finding:
    return Finding(check=check, state=State.FAILED, message=error.message, code=error.code, hint=error.hint)
