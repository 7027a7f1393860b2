"""``lfmri-node doctor``: is everything there that a running node needs?"""

from __future__ import annotations

import shutil
import socket
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum

from lfmri_node.dicom_io.errors import DicomIoError
from lfmri_node.dicom_io.objects.validate import program
from lfmri_node.dicom_io.receive.incomplete import incomplete_scans
from lfmri_node.node.config import Config, DestinationSection
from lfmri_node.node.delivery.destinations import probe
from lfmri_node.node.errors import NodeError, damaged_database
from lfmri_node.node.files import open_to_others, try_to_write
from lfmri_node.node.jobs.job import Stage
from lfmri_node.node.jobs.ledger import Ledger
from lfmri_node.node.layout import Layout
from lfmri_node.node.lock import holder
from lfmri_node.node.terminal.tables import print_json, print_table
from lfmri_node.recon.errors import ReconError
from lfmri_node.recon.method.modelcard import weights_identity
from lfmri_node.recon.settings import Method

_EARLIEST = datetime(2026, 1, 1, tzinfo=UTC)
_CLOCK_SLACK = timedelta(minutes=2)
_COMFORT_GB = 10.0


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


def examine(read_config: Callable[[], Config]) -> list[Finding]:
    """Run every check. A configuration that cannot be read is the only finding then."""
    try:
        config = read_config()
    except NodeError as error:
        return [_failed("configuration", error)]
    layout = Layout(root=config.node.data_dir)
    findings = [
        _ok("configuration", f"{len(config.destinations)} destination(s), data in {config.node.data_dir}")
    ]
    for name, check in _CHECKS.items():
        findings.extend(_guarded(name, check(config, layout)))
    if all(finding.code != "LF-DOC-001" for finding in findings):
        for name, check in _CHECKS_INSIDE.items():
            findings.extend(_guarded(name, check(config, layout)))
    return findings


def _guarded(name: str, found: Iterator[Finding]) -> Iterator[Finding]:
    """What a check finds; one that breaks off is a finding itself, and the others go on."""
    try:
        yield from found
    except (NodeError, ReconError, DicomIoError) as error:
        yield _failed(name, error)
    except sqlite3.Error as error:
        yield _failed(name, damaged_database(error))
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
        rows = [(f.check, f.state.value, f.message, f.code, f.hint) for f in findings]
        print_table("doctor", ("check", "state", "what", "code", "hint"), rows)
    return healthy


def _ok(check: str, message: str) -> Finding:
    return Finding(check=check, state=State.OK, message=message)


def _failed(check: str, error: NodeError | ReconError | DicomIoError) -> Finding:
    return Finding(check=check, state=State.FAILED, message=error.message, code=error.code, hint=error.hint)


def _weights(config: Config, _layout: Layout) -> Iterator[Finding]:
    if config.recon.method is not Method.LF_MRI:
        yield _ok("weights", f"not used by method {config.recon.method}")
        return
    name, sha256 = weights_identity(config.recon.weights, sha256=config.recon.weights_sha256)
    yield _ok("weights", f"{name}, SHA-256 {sha256[:12]}… as the model card says")


def _validator(_config: Config, _layout: Layout) -> Iterator[Finding]:
    yield _ok("dciodvfy", str(program("dciodvfy")))


def _lock(_config: Config, layout: Layout) -> Iterator[Finding]:
    serving = holder(layout.state)
    yield _ok(
        "lock", f"held by process {serving}" if serving is not None else "free: the node is not serving"
    )


def _disk(config: Config, layout: Layout) -> Iterator[Finding]:
    try:
        folder = try_to_write(layout.root)
    except OSError as error:
        yield Finding(
            check="disk",
            state=State.FAILED,
            message=f"nothing can be written to {layout.root} ({error.strerror})",
            code="LF-DOC-001",
            hint="give it to the user that the service runs as, or change node.data_dir",
        )
        return
    free_gb = shutil.disk_usage(folder).free / 2**30
    floor_gb = config.listener.free_space_floor_gb
    if free_gb < floor_gb:
        yield Finding(
            check="disk",
            state=State.FAILED,
            message=f"{free_gb:.1f} GB free, below listener.free_space_floor_gb = {floor_gb:g}",
            code="LF-DOC-002",
            hint="make room: until then every C-STORE is answered 0xA700",
        )
    elif free_gb < floor_gb + _COMFORT_GB:
        yield Finding(
            check="disk",
            state=State.WARNING,
            message=f"{free_gb:.1f} GB free",
            code="LF-DOC-003",
            hint="a 1 GB scan needs about 4 GB while it is worked on",
        )
    else:
        yield _ok("disk", f"{free_gb:.1f} GB free")


def _privacy(config: Config, layout: Layout) -> Iterator[Finding]:
    secrets = [getattr(section, "password_file", None) for section in config.destinations]
    named = [path for path in (config.logging.file, *secrets) if path is not None]
    found = open_to_others([*layout.guarded(), *named])
    if found:
        yield Finding(
            check="privacy",
            state=State.WARNING,
            message=f"{len(found)} file(s) and folder(s) are open to other users, {found[-1]} for one",
            code="LF-DOC-011",
            hint="`chmod go= FILE`; `serve` does it for those below node.data_dir when it starts",
        )
    else:
        yield _ok("privacy", "data directory, databases, logs and passwords are the user's alone")


def _databases(_config: Config, layout: Layout) -> Iterator[Finding]:
    """Both databases, page by page; the node may be writing them meanwhile."""
    for path in (layout.job_table, layout.workflows):
        if not path.exists():
            continue
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=rw", uri=True)) as connection:
            connection.execute("PRAGMA query_only=ON")
            if connection.execute("PRAGMA quick_check(1)").fetchone() != ("ok",):
                raise sqlite3.DatabaseError(path.name)
        yield _ok(path.name, "is intact")


def _callers(config: Config, _layout: Layout) -> Iterator[Finding]:
    if not config.listener.allow:
        yield Finding(
            check="callers",
            state=State.WARNING,
            message="listener.allow is empty: everybody is rejected",
            code="LF-DOC-004",
            hint="add the AE title and address of the gateway",
        )
    else:
        yield _ok("callers", ", ".join(f"{c.ae_title} from {c.address}" for c in config.listener.allow))


def _orientation(config: Config, _layout: Layout) -> Iterator[Finding]:
    """Whether the sign and flips of each gateway were compared with its scanner's own images."""
    titles = {caller.ae_title for caller in config.listener.allow}
    unverified = sorted(title for title in titles if config.gateway(title).orientation_verified is None)
    if unverified:
        yield Finding(
            check="orientation",
            state=State.WARNING,
            message=f"not verified for {', '.join(unverified)}: images may be mirrored",
            code="LF-DOC-020",
            hint="`lfmri-node orient` compares once with the scanner's own images",
        )
    elif titles:
        yield _ok("orientation", f"verified for {', '.join(sorted(titles))}")


def _clock(_config: Config, layout: Layout) -> Iterator[Finding]:
    present = datetime.now(UTC)
    latest = _latest_change(layout)
    if present < _EARLIEST or (latest is not None and present < latest - _CLOCK_SLACK):
        yield Finding(
            check="clock",
            state=State.FAILED,
            message=f"the clock says {present:%Y-%m-%d %H:%M} UTC, earlier than what is on record",
            code="LF-DOC-005",
            hint="set the clock (NTP): dates in DICOM objects and waiting times follow it",
        )
    else:
        yield _ok("clock", f"{present:%Y-%m-%d %H:%M:%S} UTC")


def _latest_change(layout: Layout) -> datetime | None:
    if not layout.job_table.exists():
        return None
    with closing(Ledger(layout.job_table)) as ledger:
        return ledger.latest_change()


def _port(config: Config, layout: Layout) -> Iterator[Finding]:
    listener = config.listener
    serving = holder(layout.state)
    where = f"{listener.host}:{listener.port}"
    if serving is not None:
        host = "127.0.0.1" if listener.host in ("0.0.0.0", "::") else listener.host
        try:
            socket.create_connection((host, listener.port), timeout=5.0).close()
        except OSError as error:
            yield Finding(
                check="port",
                state=State.FAILED,
                message=f"the node serves, but {where} does not answer ({error.strerror or 'timed out'})",
                code="LF-DOC-006",
                hint="it may still be starting; look at its log",
            )
        else:
            yield _ok("port", f"{where} answers")
        return
    try:
        with socket.socket() as trial:
            trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            trial.bind((listener.host, listener.port))
    except OSError as error:
        yield Finding(
            check="port",
            state=State.FAILED,
            message=f"{where} cannot be used ({error.strerror})",
            code="LF-DOC-007",
            hint="stop what uses it, or change listener.port",
        )
    else:
        yield _ok("port", f"{where} is free")


def _destinations(config: Config, _layout: Layout) -> Iterator[Finding]:
    if not config.destinations:
        yield Finding(
            check="destinations",
            state=State.WARNING,
            message="none: objects stay in the data directory",
            code="LF-DOC-008",
            hint="add a [[destinations]] table to config.toml",
        )
    for section in config.destinations:
        name = f"destination {section.name}"
        yield from _guarded(name, _destination(name, section, config.node.ae_title))


def _destination(name: str, section: DestinationSection, calling_ae: str) -> Iterator[Finding]:
    problem = probe(section, calling_ae=calling_ae)
    if problem is None:
        yield _ok(name, "answers")
    else:
        yield Finding(
            check=name,
            state=State.FAILED,
            message=problem,
            code="LF-DOC-009",
            hint="check its entry, that it runs, and that it knows our AE title; jobs wait meanwhile",
        )


def _jobs(_config: Config, layout: Layout) -> Iterator[Finding]:
    if not layout.job_table.exists():
        yield _ok("jobs", "no job table yet")
        return
    with closing(Ledger(layout.job_table)) as ledger:
        counts = ledger.stage_counts()
    n_jobs, n_held = sum(counts.values()), counts.get(Stage.QUARANTINED, 0)
    if n_held:
        yield Finding(
            check="jobs",
            state=State.WARNING,
            message=f"{n_held} of {n_jobs} in quarantine",
            code="LF-DOC-010",
            hint="`lfmri-node status` names the reasons; `lfmri-node retry` puts them back to work",
        )
    else:
        yield _ok("jobs", f"{n_jobs} on record, none in quarantine")


def _parts(config: Config, layout: Layout) -> Iterator[Finding]:
    after_s = config.listener.incomplete_after_s
    waiting = incomplete_scans(layout.spool)
    overdue = [scan for scan in waiting if scan.overdue(datetime.now(UTC), after_s)]
    if overdue:
        missing = sum(len(scan.missing) for scan in overdue)
        yield Finding(
            check="parts",
            state=State.WARNING,
            message=f"{len(overdue)} scan(s) incomplete: {missing} part(s) have not come for {after_s:g} s",
            code="LF-DOC-013",
            hint="let the gateway send the whole measurement again; `lfmri-node status` names the scans",
        )
    else:
        yield _ok("parts", f"{len(waiting)} scan(s) wait for parts")


_CHECKS = {
    "weights": _weights,
    "dciodvfy": _validator,
    "disk": _disk,
    "callers": _callers,
    "orientation": _orientation,
    "destinations": _destinations,
}
_CHECKS_INSIDE = {
    "lock": _lock,
    "privacy": _privacy,
    "databases": _databases,
    "clock": _clock,
    "port": _port,
    "jobs": _jobs,
    "parts": _parts,
}
"""Those that look into the data directory."""
