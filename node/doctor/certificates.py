"""Until when the certificates and revocation lists of the configuration are good."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from pydantic import BaseModel

from lfmri_node.node.config import Config
from lfmri_node.node.doctor.findings import Finding, State, ok
from lfmri_node.node.layout import Layout

_SOON = timedelta(days=30)
_KEYS = frozenset({"certificate", "ca", "ca_file", "crl"})
_BEGIN_CRL = b"-----BEGIN X509 CRL-----"


@dataclass(frozen=True, slots=True, kw_only=True)
class Validity:
    """When the first of what a file holds ends, and when the last of it begins."""

    begins: datetime
    ends: datetime


def validity(path: Path) -> Validity:
    """Of the certificates, or the revocation list, in a PEM file.

    Raises
    ------
    OSError
        It cannot be read.
    ValueError
        It is neither.
    """
    content = path.read_bytes()
    if _BEGIN_CRL in content:
        crl = x509.load_pem_x509_crl(content)
        if crl.next_update_utc is None:
            raise ValueError("a revocation list without the time of the next one")
        return Validity(begins=crl.last_update_utc, ends=crl.next_update_utc)
    found = x509.load_pem_x509_certificates(content)
    return Validity(
        begins=max(item.not_valid_before_utc for item in found),
        ends=min(item.not_valid_after_utc for item in found),
    )


def certificate_finding(name: str, path: Path, at: datetime) -> Finding:
    """How a file is at a moment."""
    try:
        found = validity(path)
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else "no PEM certificate or revocation list"
        return Finding(
            check="certificates",
            state=State.FAILED,
            message=f"{name}: {path.name} cannot be read ({why})",
            code="LF-DOC-033",
            hint="name a PEM file that the user of the service may read",
        )
    if not found.begins <= at < found.ends:
        side = f"ended {found.ends:%Y-%m-%d}" if at >= found.ends else f"begins {found.begins:%Y-%m-%d}"
        return Finding(
            check="certificates",
            state=State.FAILED,
            message=f"{name}: {path.name} {side}",
            code="LF-DOC-031",
            hint="put a new one in its place; `serve` takes it up with the next connection",
        )
    if found.ends - at < _SOON:
        return Finding(
            check="certificates",
            state=State.WARNING,
            message=f"{name}: {path.name} ends {found.ends:%Y-%m-%d}",
            code="LF-DOC-032",
            hint="put a new one in its place before; `serve` takes it up with the next connection",
        )
    return ok("certificates", f"{name}: {path.name} is good until {found.ends:%Y-%m-%d}")


def configured(section: BaseModel, where: str = "") -> Iterator[tuple[str, Path]]:
    """Key and path of every certificate and revocation list below a table, wherever it stands."""
    for key in type(section).model_fields:
        value, name = getattr(section, key), f"{where}.{key}".removeprefix(".")
        if isinstance(value, Path) and key in _KEYS:
            yield name, value
        elif isinstance(value, BaseModel):
            yield from configured(value, name)
        elif isinstance(value, tuple):
            for number, item in enumerate(value):
                if isinstance(item, BaseModel):
                    label = getattr(item, "name", number)
                    yield from configured(item, f"{name}[{label}]")


def certificates(config: Config, _layout: Layout) -> Iterator[Finding]:
    """Those of the listener, of destinations, of ways of telling."""
    at = datetime.now(UTC)
    for name, path in configured(config):
        yield certificate_finding(name, path, at)
