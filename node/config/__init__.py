"""``config.toml``: read strictly; an unknown key or a wrong value is an error that names its path."""

from __future__ import annotations

import tomllib
from pathlib import Path

from pydantic import Field, ValidationError, model_validator

from lfmri_node.node.config.audit import AuditSection
from lfmri_node.node.config.destinations import (
    DestinationSection,
    DicomDestinationSection,
    OrthancDestinationSection,
    StowDestinationSection,
)
from lfmri_node.node.config.doors import FolderSection, MrdSection
from lfmri_node.node.config.kinds import AeTitle, Section
from lfmri_node.node.config.network import ConsoleSection, GatewaySection, ListenerSection, NodeSection
from lfmri_node.node.config.queue import QueueSection
from lfmri_node.node.config.rules import PipelineSection, require_known
from lfmri_node.node.config.watching import MonitorSection, NotifySection
from lfmri_node.node.config.work import (
    LoggingSection,
    ObjectsSection,
    ReconSection,
    RetentionSection,
    RetrySection,
)
from lfmri_node.node.errors import ConfigError

__all__ = [
    "DEFAULT_FILE",
    "Config",
    "ConsoleSection",
    "DestinationSection",
    "DicomDestinationSection",
    "FolderSection",
    "GatewaySection",
    "MrdSection",
    "OrthancDestinationSection",
    "PipelineSection",
    "QueueSection",
    "ReconSection",
    "RetentionSection",
    "StowDestinationSection",
    "from_document",
    "load",
]

DEFAULT_FILE = Path("config.toml")


class Config(Section):
    """All of ``config.toml``."""

    node: NodeSection = NodeSection()
    listener: ListenerSection = ListenerSection()
    mrd: MrdSection = MrdSection()
    folders: tuple[FolderSection, ...] = Field(default=(), strict=False)
    gateways: dict[AeTitle, GatewaySection] = Field(default_factory=dict)
    recon: ReconSection = ReconSection()
    objects: ObjectsSection = ObjectsSection()
    pipelines: tuple[PipelineSection, ...] = Field(default=(), strict=False)
    destinations: tuple[DestinationSection, ...] = Field(default=(), strict=False)
    queue: QueueSection = QueueSection()
    retry: RetrySection = RetrySection()
    logging: LoggingSection = LoggingSection()
    retention: RetentionSection = RetentionSection()
    console: ConsoleSection = ConsoleSection()
    monitor: MonitorSection = MonitorSection()
    notify: tuple[NotifySection, ...] = Field(default=(), strict=False)
    audit: AuditSection = AuditSection()

    @model_validator(mode="after")
    def _names_differ(self) -> Config:
        names = [destination.name for destination in self.destinations]
        if len(set(names)) != len(names):
            raise ValueError("destinations: every destination needs its own name")
        require_known(self.pipelines, names)
        checked = self.listener.tls is not None and self.listener.tls.ca is not None
        if not checked and any(
            isinstance(item, DicomDestinationSection) and item.report_certificate
            for item in self.destinations
        ):
            raise ValueError("destinations.report_certificate needs listener.tls with ca")
        names = [section.name for section in self.notify]
        if len(set(names)) != len(names):
            raise ValueError("notify: every way of telling needs its own name")
        if len({folder.path for folder in self.folders}) != len(self.folders):
            raise ValueError("folders: every folder is watched once")
        return self

    def gateway(self, calling_ae: str) -> GatewaySection:
        """How to read what ``calling_ae`` sent; the defaults where it has no section."""
        return self.gateways.get(calling_ae, GatewaySection())


def load(path: Path) -> Config:
    """Read a configuration file; relative paths in it are relative to its folder.

    Raises
    ------
    ConfigError
        LF-CFG-001 no such file or not readable; LF-CFG-002 not TOML; LF-CFG-003 unknown key;
        LF-CFG-004 wrong value.
    """
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(
            "LF-CFG-001",
            f"configuration {path} cannot be read ({error.strerror})",
            "name it with --config, or copy the config.toml that comes with the sources",
        ) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError("LF-CFG-002", f"{path} is not TOML: {error}", "correct that place") from None
    return from_document(document, base=path.absolute().parent, name=str(path))


def from_document(document: dict[str, object], *, base: Path, name: str) -> Config:
    """Check a parsed document; see `load`."""
    document.setdefault("node", {})
    node = document["node"]
    if isinstance(node, dict):
        node.setdefault("data_dir", "data")
    try:
        return Config.model_validate(document, context={"base": str(base)})
    except ValidationError as error:
        problems = error.errors(include_url=False)
        unknown = [p for p in problems if p["type"] == "extra_forbidden"]
        if unknown:
            where = ", ".join(_path(p["loc"], document) for p in unknown)
            raise ConfigError(
                "LF-CFG-003", f"{name}: unknown key {where}", "correct the spelling or remove it"
            ) from None
        text = "; ".join(
            f"{_path(p['loc'], document)}: {p['msg'].removeprefix('Value error, ')}" for p in problems
        )
        raise ConfigError("LF-CFG-004", f"{name}: {text}", "give a value of that kind") from None


def _path(location: tuple[int | str, ...], document: dict[str, object]) -> str:
    if location[:1] in (("destinations",), ("notify",)) and len(location) > 2:
        location = (*location[:2], *location[3:])  # the kind that selected the table's model
    if location[-1:] == ("[key]",):
        location = location[:-1]  # the name of a table is wrong, not a value in it
    parts = [f"[{part}]" if isinstance(part, int) else f".{part}" for part in location]
    if location[:1] == ("pipelines",) and len(parts) > 1:
        parts[1] += _named(document["pipelines"], location[1])
    return "".join(parts).removeprefix(".") or "(file)"


def _named(tables: object, index: int | str) -> str:
    """The name of a table in a list, where it has one."""
    table = tables[index] if isinstance(tables, list) and isinstance(index, int) else None
    name = table.get("name") if isinstance(table, dict) else None
    return f" '{name}'" if isinstance(name, str) and name.isprintable() else ""
