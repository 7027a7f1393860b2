"""Kinds of values that ``config.toml`` holds, checked when it is read."""

from __future__ import annotations

from ipaddress import ip_network
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationInfo

from lfmri_node.dicom_io.ae_title import require_ae_title


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

FilePath = Annotated[Path, BeforeValidator(_beside_file), Field(strict=False)]
AeTitle = Annotated[str, AfterValidator(_ae_title)]
Port = Annotated[int, Field(ge=0, le=65535)]
Host = Annotated[str, Field(min_length=1), AfterValidator(_host)]
Seconds = Annotated[float, Field(ge=0.001, le=_LONGEST_S, allow_inf_nan=False)]
Days = Annotated[float, Field(ge=0, le=36_500, allow_inf_nan=False)]
LongString = Annotated[str, AfterValidator(_long_string)]
Network = Annotated[str, AfterValidator(_network)]
Url = Annotated[str, AfterValidator(_url)]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]{1,64}$")]

Gigabytes = Annotated[float, Field(ge=0, le=1e6, allow_inf_nan=False)]


class Section(BaseModel):
    """A table of the file: no unknown keys, no silent conversion of types.

    What checks one is built when it is first needed: every command imports all tables.
    """

    model_config = ConfigDict(
        extra="forbid", strict=True, frozen=True, validate_default=True, defer_build=True
    )
