"""Reading the configuration again while the node runs: what takes effect, what waits for a restart.

A file that is wrong changes nothing. The answer to the last request lies in the state folder, for
``lfmri-node reload`` to read; it names keys, never their values.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from lfmri_node.dicom_io.errors import DicomIoError
from lfmri_node.dicom_io.receive.listener import Listener
from lfmri_node.node import logs
from lfmri_node.node.audit.auditor import Auditor
from lfmri_node.node.config import Config
from lfmri_node.node.delivery.deliver import Delivery, Destination
from lfmri_node.node.delivery.destinations import destinations_of
from lfmri_node.node.doors.doors import Doors
from lfmri_node.node.errors import ConfigError, JobError, NodeError
from lfmri_node.node.files import write_text
from lfmri_node.node.ingest import Ingest, access_policy
from lfmri_node.node.jobs.engine import Engine
from lfmri_node.node.jobs.recipe import Recipe
from lfmri_node.node.layout import Layout
from lfmri_node.node.lock import holder
from lfmri_node.node.notify.watch import Watcher
from lfmri_node.node.notify.ways import require_secrets
from lfmri_node.node.retention.command import Housekeeper
from lfmri_node.recon.errors import ReconError

LIVE = frozenset(
    {
        "destinations",
        "folders",
        "gateways",
        "listener.allow",
        "logging.level",
        "mrd",
        "node.housekeeping_s",
        "notify",
        "objects",
        "pipelines",
        "recon.always_fallback",
        "recon.fallback",
        "recon.lesion",
        "recon.method",
        "recon.n_virtual_coils",
        "recon.weights",
        "recon.weights_sha256",
        "retention",
    }
)
"""Tables and keys that take effect without a restart: for scans that are received from then on, and for
what is still to be delivered."""

_ANSWER_S = 60.0
_LOOK_S = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Reloaded:
    """What came of a request.

    Parameters
    ----------
    applied, needs_restart
        Keys whose values differ from those in effect.
    error
        ``code``, ``message`` and ``hint`` where the file was refused; then nothing changed.
    """

    applied: tuple[str, ...] = ()
    needs_restart: tuple[str, ...] = ()
    error: Mapping[str, str] | None = None

    @classmethod
    def refused(cls, error: NodeError | ReconError | DicomIoError) -> Reloaded:
        return cls(error={"code": error.code, "message": error.message, "hint": error.hint})

    def document(self) -> dict[str, Any]:
        """JSON-able."""
        return {**asdict(self), "applied": list(self.applied), "needs_restart": list(self.needs_restart)}


def merged(present: Config, wanted: Config) -> tuple[Config, Reloaded]:
    """The configuration that can be in effect without a restart, and what that leaves out."""
    differing = list(_differing(present, wanted))
    applied = tuple(key for key in differing if _is_live(key))
    left = tuple(key for key in differing if not _is_live(key))
    update = {name: _live_part(name, getattr(present, name), getattr(wanted, name)) for name in _fields()}
    return present.model_copy(update=update), Reloaded(applied=applied, needs_restart=left)


def _fields() -> list[str]:
    return list(Config.model_fields)


def _live_part(name: str, present: Any, wanted: Any) -> Any:
    if name in LIVE:
        return wanted
    if not isinstance(present, BaseModel):
        return present
    keys = [key for key in type(present).model_fields if f"{name}.{key}" in LIVE]
    return present.model_copy(update={key: getattr(wanted, key) for key in keys})


def _is_live(key: str) -> bool:
    return key in LIVE or key.partition(".")[0] in LIVE


def _differing(present: Config, wanted: Config) -> list[str]:
    """Keys whose values differ; a list of tables, and a table of tables, is one."""
    found = []
    for name in _fields():
        old, new = getattr(present, name), getattr(wanted, name)
        if isinstance(old, BaseModel):
            keys = type(old).model_fields
            found += [f"{name}.{key}" for key in keys if getattr(old, key) != getattr(new, key)]
        elif old != new:
            found.append(name)
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Live:
    """The parts of a running service that take another configuration."""

    auditor: Auditor
    listener: Listener
    doors: Doors
    ingest: Ingest
    delivery: Delivery
    engine: Engine
    housekeeper: Housekeeper
    watcher: Watcher

    def take(self, present: Config, wanted: Config) -> tuple[Config, Reloaded]:
        """Have what can change changed; nothing of it where something is wrong.

        Raises
        ------
        ConfigError
            LF-CFG-005 where a password of a destination cannot be had.
        TlsError
            LF-NET-043 where a certificate of a destination or of ``[mrd.tls]`` cannot be used.
        InvalidModel
            The weights are missing or altered.
        JobError
            LF-OPS-007 where the databases cannot be written now, LF-JOB-008 where the port of ``[mrd]``
            cannot be used.
        """
        config, reloaded = merged(present, wanted)
        Recipe.of(config)
        destinations = destinations_of(config)
        require_secrets(config)
        with self.doors.ready_for(config) as open_doors:
            if config.destinations != present.destinations:
                self._deliver_to(destinations)
            open_doors()
        self.listener.policy = access_policy(config)
        self.ingest.config = config
        self.auditor.destinations = config.destinations
        self.housekeeper.config = config
        self.watcher.config = config
        self.watcher.start()
        logs.set_level(config.logging.level)
        return config, reloaded

    def _deliver_to(self, destinations: Sequence[Destination]) -> None:
        """Change the destinations, or where a database cannot be written nothing."""
        before = [channel.destination for channel in self.delivery.channels.values()]
        self.delivery.set_destinations(destinations)
        try:
            self.engine.set_destinations(tuple(self.delivery.channels))
        except JobError:
            self.delivery.set_destinations(before)
            raise


def obey(live: Live, present: Config, reread: Callable[[], Config]) -> Config:
    """Read the configuration again, have it take effect, and answer; returns the one in effect.

    Whatever is wrong with it changes nothing, and ends nothing.
    """
    config = present
    try:
        config, reloaded = live.take(present, reread())
    except (NodeError, ReconError, DicomIoError) as error:
        reloaded = Reloaded.refused(error)
    except OSError as error:
        hint = "check the files that the configuration names, and their permissions"
        reloaded = Reloaded.refused(
            ConfigError("LF-CFG-010", error.strerror or "a file cannot be read", hint)
        )
    if reloaded.error is not None:
        code, message = reloaded.error["code"], reloaded.error["message"]
        logs.event("config.refused", level=logging.ERROR, code=code, message=message)
    else:
        logs.event("config.reloaded", what=" ".join(reloaded.applied))
    if reloaded.needs_restart:
        left = " ".join(reloaded.needs_restart)
        logs.event("config.needs_restart", level=logging.WARNING, what=left)
    with suppress(OSError):  # the log has it, and `ask` says that no answer came
        _answer(Layout(root=present.node.data_dir), reloaded)
    return config


def _answer(layout: Layout, reloaded: Reloaded) -> None:
    """Leave the answer for whoever asked; every one differs from the one before."""
    document = {"number": time.monotonic_ns(), **reloaded.document()}
    write_text(_place(layout), json.dumps(document))


def ask(layout: Layout) -> Reloaded:
    """Have the running service read its configuration again.

    Raises
    ------
    JobError
        LF-OPS-002 where none runs, LF-OPS-003 where it does not answer; the error of the configuration,
        under its own code, where the service refuses it.
    """
    process = holder(layout.state)
    if not process:
        raise JobError(
            "LF-OPS-002",
            "no node serves this data directory",
            "`lfmri-node serve` reads the file when it starts",
        )
    before = _read(_place(layout))
    os.kill(process, signal.SIGHUP)
    end = time.monotonic() + _ANSWER_S
    while (document := _read(_place(layout))) in (None, before):
        if time.monotonic() > end:
            raise JobError(
                "LF-OPS-003", "the service has not answered", "its log says what it read, or why it did not"
            )
        time.sleep(_LOOK_S)
    assert document is not None
    if document["error"] is not None:
        raise JobError(**document["error"])
    return Reloaded(applied=tuple(document["applied"]), needs_restart=tuple(document["needs_restart"]))


def _place(layout: Layout) -> Path:
    return layout.state / "reload.json"


def _read(path: Path) -> dict[str, Any] | None:
    try:
        document: dict[str, Any] = json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    return document
