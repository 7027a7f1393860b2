"""``config.toml``: read strictly; an unknown key or a wrong value is an error that names its path."""

from __future__ import annotations

import os
import tomllib
from datetime import date
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    model_validator,
)

from lfmri_node.node.backoff import Backoff
from lfmri_node.node.errors import ConfigError
from lfmri_node.recon.types import LesionWeighting, Method, ReconSettings

DEFAULT_FILE = Path("config.toml")


def _beside_file(value: object, info: ValidationInfo) -> object:
    if isinstance(value, str) and value:
        return Path(info.context["base"], value) if info.context else Path(value)
    return value


def _ae_title(value: str) -> str:
    if not 1 <= len(value.strip()) <= 16 or "\\" in value or not value.isascii() or not value.isprintable():
        raise ValueError("an AE title has 1 to 16 printable ASCII characters, no backslash (PS3.5 6.2)")
    return value


def _network(value: str) -> str:
    ip_network(value)
    return value


FilePath = Annotated[Path, BeforeValidator(_beside_file), Field(strict=False)]
AeTitle = Annotated[str, AfterValidator(_ae_title)]
Port = Annotated[int, Field(ge=0, le=65535)]
Seconds = Annotated[float, Field(gt=0)]


class Section(BaseModel):
    """A table of the file: no unknown keys, no silent conversion of types."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, validate_default=True)


class NodeSection(Section):
    """Who this node is and where it keeps its data."""

    ae_title: AeTitle = "LFMRI"
    data_dir: FilePath = Path("data")
    executor_id: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]{1,64}$")] = "node-1"
    drain_s: Seconds = 30.0
    housekeeping_s: Seconds = 20.0
    keep_reconstructions: bool = False


class AllowedCaller(Section):
    """One caller that may send: its AE title and the address or network it calls from."""

    ae_title: AeTitle
    address: Annotated[str, AfterValidator(_network)]


class ListenerSection(Section):
    """Where Raw Data objects are received, from whom, and how much."""

    host: str = "127.0.0.1"
    port: Port = 11112
    max_associations: Annotated[int, Field(ge=1, le=200)] = 8
    max_per_address: Annotated[int, Field(ge=1, le=200)] = 4
    request_timeout_s: Seconds = 5.0
    network_timeout_s: Seconds = 120.0
    free_space_floor_gb: Annotated[float, Field(ge=0)] = 2.0
    allow: tuple[AllowedCaller, ...] = Field(default=(), strict=False)


class GatewaySection(Section):
    """How the k-space of one calling AE is to be read."""

    fft_sign: Literal[-1, 1] = -1
    flip_readout: bool = False
    flip_phase: bool = False
    flip_partition: bool = False
    orientation_verified: date | None = None
    prewhiten: bool = True


class ReconSection(Section):
    """Method, weights, and the limits of the worker process."""

    method: Annotated[Method, Field(strict=False)] = Method.LF_MRI
    lesion: Annotated[LesionWeighting, Field(strict=False)] = LesionWeighting.FOCUSED
    fallback: Annotated[Method, Field(strict=False)] = Method.WAVELET
    always_fallback: bool = False
    n_virtual_coils: Annotated[int, Field(ge=1)] | None = None
    weights: FilePath | None = None
    weights_sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None = None
    threads: Annotated[int, Field(ge=0)] = 0
    memory_limit_gb: Annotated[float, Field(ge=1)] | None = None
    stage_limit_s: Seconds = 3600.0
    max_deaths: Annotated[int, Field(ge=1)] = 3

    def settings(self) -> ReconSettings:
        """What `recon.reconstruct` is asked for."""
        return ReconSettings(
            method=self.method,
            lesion=self.lesion,
            fallback=self.fallback,
            always_fallback=self.always_fallback,
            n_virtual_coils=self.n_virtual_coils,
        )


class ObjectsSection(Section):
    """What a site chooses about the DICOM objects; see `dicom_io.objects.attributes.SiteOptions`."""

    device_serial_number: Annotated[str, Field(min_length=1, max_length=64)] = "1"
    first_series_number: Annotated[int, Field(ge=1, le=100_000)] = 9001
    fused: bool = True


class DicomDestinationSection(Section):
    """A PACS that takes the objects by C-STORE."""

    kind: Literal["dicom"]
    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]{1,64}$")]
    host: str
    port: Annotated[int, Field(ge=1, le=65535)]
    ae_title: AeTitle


class OrthancDestinationSection(Section):
    """An Orthanc that takes the objects through its REST API; what it holds is read back."""

    kind: Literal["orthanc"]
    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]{1,64}$")]
    url: Annotated[str, Field(pattern=r"^https?://")]
    user: str | None = None
    password_env: str | None = None
    password_file: FilePath | None = None

    @model_validator(mode="after")
    def _one_source(self) -> OrthancDestinationSection:
        if self.password_env is not None and self.password_file is not None:
            raise ValueError("give password_env or password_file, not both")
        return self

    def password(self) -> str | None:
        """The password from its environment variable or file; None where neither is named.

        Raises
        ------
        ConfigError
            LF-CFG-005 where the variable is not set or the file cannot be read.
        """
        if self.password_env is not None:
            value = os.environ.get(self.password_env)
            if value is None:
                raise ConfigError(
                    "LF-CFG-005",
                    f"destination '{self.name}': environment variable {self.password_env} is not set",
                    "set it for the service, or use password_file",
                )
            return value
        if self.password_file is None:
            return None
        try:
            return self.password_file.read_text(encoding="utf-8").strip()
        except OSError as error:
            raise ConfigError(
                "LF-CFG-005",
                f"destination '{self.name}': password_file cannot be read ({error.strerror})",
                "let the service's user read it, or use password_env",
            ) from None


DestinationSection = Annotated[
    DicomDestinationSection | OrthancDestinationSection, Field(discriminator="kind")
]


class RetrySection(Section):
    """Waiting times between tries after transient failures; max_attempts 0: for ever."""

    base_s: Seconds = 5.0
    cap_s: Seconds = 900.0
    max_attempts: Annotated[int, Field(ge=0)] = 0

    def backoff(self) -> Backoff:
        return Backoff(base_s=self.base_s, cap_s=self.cap_s)


class LoggingSection(Section):
    """How much is logged; stderr always, a file where one is named."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    file: FilePath | None = None


class Config(Section):
    """All of ``config.toml``."""

    node: NodeSection = NodeSection()
    listener: ListenerSection = ListenerSection()
    gateways: dict[str, GatewaySection] = Field(default_factory=dict)
    recon: ReconSection = ReconSection()
    objects: ObjectsSection = ObjectsSection()
    destinations: tuple[DestinationSection, ...] = Field(default=(), strict=False)
    retry: RetrySection = RetrySection()
    logging: LoggingSection = LoggingSection()

    @model_validator(mode="after")
    def _names_differ(self) -> Config:
        names = [destination.name for destination in self.destinations]
        if len(set(names)) != len(names):
            raise ValueError("destinations: every destination needs its own name")
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
            where = ", ".join(_path(p["loc"]) for p in unknown)
            raise ConfigError(
                "LF-CFG-003", f"{name}: unknown key {where}", "correct the spelling or remove it"
            ) from None
        text = "; ".join(f"{_path(p['loc'])}: {p['msg']}" for p in problems)
        raise ConfigError("LF-CFG-004", f"{name}: {text}", "give a value of that kind") from None


def _path(location: tuple[int | str, ...]) -> str:
    if location[:1] == ("destinations",) and len(location) > 3:
        location = (*location[:2], *location[3:])  # the kind that selected the table's model
    parts = [f"[{part}]" if isinstance(part, int) else f".{part}" for part in location]
    return "".join(parts).removeprefix(".") or "(file)"
