"""``lfmri-node doctor``: is everything there that a running node needs?"""

from __future__ import annotations

import os
import shutil
import socket
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path

from lfmri_node.dicom_io.errors import DicomIoError
from lfmri_node.dicom_io.objects.validate import program
from lfmri_node.node.config import Config
from lfmri_node.node.console import print_json, print_table
from lfmri_node.node.delivery.destinations import probe
from lfmri_node.node.errors import NodeError
from lfmri_node.node.jobs.job import Stage
from lfmri_node.node.jobs.ledger import Ledger
from lfmri_node.node.layout import Layout
from lfmri_node.node.lock import holder
from lfmri_node.recon.errors import ReconError
from lfmri_node.recon.method.modelcard import weights_identity
from lfmri_node.recon.types import Method

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
    serving = holder(layout.state)
    findings = [
        _ok("configuration", f"{len(config.destinations)} destination(s), data in {config.node.data_dir}"),
        _ok("lock", f"held by process {serving}" if serving is not None else "free: the node is not serving"),
    ]
    for check in (_weights, _validator, _disk, _callers, _clock):
        findings.extend(check(config, layout))
    findings.extend(_port(config, serving))
    findings.extend(_destinations(config))
    findings.extend(_jobs(layout))
    return findings


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
    try:
        name, sha256 = weights_identity(config.recon.weights, sha256=config.recon.weights_sha256)
    except ReconError as error:
        yield _failed("weights", error)
    else:
        yield _ok("weights", f"{name}, SHA-256 {sha256[:12]}… as the model card says")


def _validator(_config: Config, _layout: Layout) -> Iterator[Finding]:
    try:
        yield _ok("dciodvfy", str(program("dciodvfy")))
    except DicomIoError as error:
        yield _failed("dciodvfy", error)


def _disk(config: Config, layout: Layout) -> Iterator[Finding]:
    folder = _existing(layout.root)
    if not os.access(folder, os.W_OK | os.X_OK):
        yield Finding(
            check="disk",
            state=State.FAILED,
            message=f"{folder} is not writable",
            code="LF-DOC-001",
            hint="give it to the user that the service runs as",
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


def _existing(path: Path) -> Path:
    return next(folder for folder in (path, *path.parents) if folder.exists())


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
    return max((job.updated_at for job in Ledger(layout.job_table).jobs()), default=None)


def _port(config: Config, serving: int | None) -> Iterator[Finding]:
    listener = config.listener
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


def _destinations(config: Config) -> Iterator[Finding]:
    if not config.destinations:
        yield Finding(
            check="destinations",
            state=State.WARNING,
            message="none: objects stay in the data directory",
            code="LF-DOC-008",
            hint="add a [[destinations]] table to config.toml",
        )
    for section in config.destinations:
        problem = probe(section, calling_ae=config.node.ae_title)
        if problem is None:
            yield _ok(f"destination {section.name}", "answers")
        else:
            yield Finding(
                check=f"destination {section.name}",
                state=State.FAILED,
                message=problem,
                code="LF-DOC-009",
                hint="check its entry, that it runs, and that it knows our AE title; jobs wait meanwhile",
            )


def _jobs(layout: Layout) -> Iterator[Finding]:
    if not layout.job_table.exists():
        yield _ok("jobs", "no job table yet")
        return
    try:
        jobs = Ledger(layout.job_table).jobs()
    except NodeError as error:
        yield _failed("jobs", error)
        return
    held = [job for job in jobs if job.stage is Stage.QUARANTINED]
    if held:
        yield Finding(
            check="jobs",
            state=State.WARNING,
            message=f"{len(held)} of {len(jobs)} in quarantine",
            code="LF-DOC-010",
            hint="`lfmri-node status` names the reasons; `lfmri-node retry` puts them back to work",
        )
    else:
        yield _ok("jobs", f"{len(jobs)} on record, none in quarantine")
