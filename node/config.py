"""``config.toml``: read strictly; an unknown key or a wrong value is an error that names its path."""

from __future__ import annotations

import os
import tomllib
from datetime import date
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

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

from lfmri_node.dicom_io.ae_title import require_ae_title
from lfmri_node.node.backoff import Backoff
from lfmri_node.node.errors import ConfigError
from lfmri_node.recon.settings import VIRTUAL_COILS, LesionWeighting, Method, ReconSettings

DEFAULT_FILE = Path("config.toml")


def _beside_file(value: object, info: ValidationInfo) -> object:
    if isinstance(value, str):
        if not value.strip() or not value.isprintable():
            raise ValueError("a path has at least one character, and no control characters")
        return Path(info.context["base"], value) if info.context else Path(value)
    return value


def _ae_title(value: str) -> str:
    require_ae_title(value)
    return value


def _host(value: str) -> str:
    """A name or address that the resolver takes; whether it exists is another question."""
    if not value.isprintable() or any(character.isspace() for character in value):
        raise ValueError("a host has no spaces and no control characters")
    try:
        value.encode("idna")
    except UnicodeError:
        raise ValueError("a host is an address, or labels of 1 to 63 characters with dots between") from None
    return value


def _long_string(value: str) -> str:
    if not 1 <= len(value) <= 64 or value != value.strip() or "\\" in value or not value.isprintable():
        raise ValueError("a value of 1 to 64 printable characters, no backslash, not padded (PS3.5 6.2, LO)")
    if not value.isascii():
        raise ValueError("ASCII only: it stands in objects of every character set")
    return value


def _network(value: str) -> str:
    ip_network(value)
    return value


def _url(value: str) -> str:
    parts = urlsplit(value)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
        raise ValueError("http://HOST[:PORT][/PATH] or https://... of the server's root")
    if parts.username or parts.password:
        raise ValueError("no password here: it would be printed; use user and password_file or password_env")
    _host(parts.hostname)
    _ = parts.port  # a ValueError where it is none
    return value


_LONGEST_S = 7 * 86_400.0
_MOST_GB = 1e6

FilePath = Annotated[Path, BeforeValidator(_beside_file), Field(strict=False)]
AeTitle = Annotated[str, AfterValidator(_ae_title)]
Port = Annotated[int, Field(ge=0, le=65535)]
Host = Annotated[str, Field(min_length=1), AfterValidator(_host)]
Seconds = Annotated[float, Field(ge=0.001, le=_LONGEST_S, allow_inf_nan=False)]
Days = Annotated[float, Field(ge=0, le=36_500, allow_inf_nan=False)]


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

    host: Host = "127.0.0.1"
    port: Port = 11112
    max_associations: Annotated[int, Field(ge=1, le=200)] = 8
    max_per_address: Annotated[int, Field(ge=1, le=200)] = 4
    request_timeout_s: Seconds = 5.0
    incomplete_after_s: Seconds = 600.0
    network_timeout_s: Seconds = 120.0
    free_space_floor_gb: Annotated[float, Field(ge=0, le=_MOST_GB, allow_inf_nan=False)] = 2.0
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
    n_virtual_coils: Annotated[int, Field(ge=1, le=1024)] = VIRTUAL_COILS
    weights: FilePath | None = None
    weights_sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None = None
    threads: Annotated[int, Field(ge=0, le=1024)] = 0
    memory_limit_gb: Annotated[float, Field(ge=1, le=_MOST_GB, allow_inf_nan=False)] | None = None
    stage_limit_s: Seconds = 300.0
    slice_limit_s: Seconds = 30.0
    max_crashes: Annotated[int, Field(ge=1, le=1000)] = 3

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

    device_serial_number: Annotated[str, AfterValidator(_long_string)] = "1"
    first_series_number: Annotated[int, Field(ge=1, le=100_000)] = 9001
    fused: bool = True
    receive_field_correction: bool = False
    summary: bool = False


class DicomDestinationSection(Section):
    """A PACS that takes the objects by C-STORE."""

    kind: Literal["dicom"]
    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]{1,64}$")]
    host: Host
    port: Annotated[int, Field(ge=1, le=65535)]
    ae_title: AeTitle


class OrthancDestinationSection(Section):
    """An Orthanc that takes the objects through its REST API; what it holds is read back."""

    kind: Literal["orthanc"]
    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]{1,64}$")]
    url: Annotated[str, AfterValidator(_url)]
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
                raise self._no_password(f"environment variable {self.password_env} is not set")
            return self._usable(value)
        if self.password_file is None:
            return None
        try:
            return self._usable(self.password_file.read_text(encoding="utf-8").strip())
        except OSError as error:
            raise self._no_password(f"password_file cannot be read ({error.strerror})") from None
        except UnicodeDecodeError:
            raise self._no_password("password_file is not text") from None

    def _usable(self, password: str) -> str:
        if not password or not password.isprintable():
            raise self._no_password("the password is empty or has control characters")
        try:
            password.encode("latin-1")
        except UnicodeEncodeError:
            raise self._no_password("the password has characters that HTTP cannot carry") from None
        return password

    def _no_password(self, what: str) -> ConfigError:
        return ConfigError(
            "LF-CFG-005",
            f"destination '{self.name}': {what}",
            "set the variable of password_env for the service, or let its user read password_file",
        )


DestinationSection = Annotated[
    DicomDestinationSection | OrthancDestinationSection, Field(discriminator="kind")
]


class RetrySection(Section):
    """Waiting times between tries after transient failures; max_attempts 0: for ever."""

    base_s: Seconds = 5.0
    cap_s: Seconds = 900.0
    max_attempts: Annotated[int, Field(ge=0, le=1_000_000)] = 0

    @model_validator(mode="after")
    def _in_order(self) -> RetrySection:
        if self.cap_s < self.base_s:
            raise ValueError("cap_s is shorter than base_s")
        return self

    def backoff(self) -> Backoff:
        return Backoff(base_s=self.base_s, cap_s=self.cap_s)


class RetentionSection(Section):
    """How long what is kept; without a limit nothing of a scan is ever deleted."""

    raw_days: Days | None = None
    results_days: Days | None = None
    quarantined_days: Days | None = None
    incomplete_days: Days | None = None
    records_days: Days | None = None
    max_total_gb: Annotated[float, Field(gt=0, le=_MOST_GB, allow_inf_nan=False)] | None = None
    workflows_days: Days = 30.0


class LoggingSection(Section):
    """How much is logged; stderr always, a file where one is named, renamed when it is full."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    file: FilePath | None = None
    max_mb: Annotated[float, Field(ge=0.01, le=_MOST_GB, allow_inf_nan=False)] = 10.0
    keep: Annotated[int, Field(ge=1, le=1000)] = 5


class ConsoleSection(Section):
    """Where `lfmri-node console` shows its pages, and the proxy with a login that stands before it."""

    host: Host = "127.0.0.1"
    port: Port = 8180
    behind_proxy: bool = False
    url: Annotated[str, AfterValidator(_url)] | None = None

    @model_validator(mode="after")
    def _proxy_has_a_name(self) -> ConsoleSection:
        if self.behind_proxy != (self.url is not None):
            raise ValueError("behind_proxy = true and url, what browsers call the proxy, belong together")
        return self


class Config(Section):
    """All of ``config.toml``."""

    node: NodeSection = NodeSection()
    listener: ListenerSection = ListenerSection()
    gateways: dict[AeTitle, GatewaySection] = Field(default_factory=dict)
    recon: ReconSection = ReconSection()
    objects: ObjectsSection = ObjectsSection()
    destinations: tuple[DestinationSection, ...] = Field(default=(), strict=False)
    retry: RetrySection = RetrySection()
    logging: LoggingSection = LoggingSection()
    retention: RetentionSection = RetentionSection()
    console: ConsoleSection = ConsoleSection()

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
        text = "; ".join(f"{_path(p['loc'])}: {p['msg'].removeprefix('Value error, ')}" for p in problems)
        raise ConfigError("LF-CFG-004", f"{name}: {text}", "give a value of that kind") from None


def _path(location: tuple[int | str, ...]) -> str:
    if location[:1] == ("destinations",) and len(location) > 3:
        location = (*location[:2], *location[3:])  # the kind that selected the table's model
    if location[-1:] == ("[key]",):
        location = location[:-1]  # the name of a table is wrong, not a value in it
    parts = [f"[{part}]" if isinstance(part, int) else f".{part}" for part in location]
    return "".join(parts).removeprefix(".") or "(file)"
