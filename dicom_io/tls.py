"""TLS for DICOM, both roles: the BCP 195 RFC 8996, 9325 TLS profile of PS3.15 B.12.

TLS 1.2 and 1.3 only; of the suites of 1.2 those with ephemeral keys and authenticated encryption
(RFC 9325 4.2). No renegotiation, no compression, and no session tickets: a resumed session would bring
back a certificate that has been revoked since.
"""

from __future__ import annotations

import logging
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lfmri_node.dicom_io.errors import TlsError

_SUITES_OF_1_2 = "ECDHE+AESGCM:ECDHE+CHACHA20"
_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerTls:
    """How a listener speaks TLS; every path is a file in PEM.

    Parameters
    ----------
    certificate, key
        Ours: the certificate with those between it and the root after it, and its key without passphrase.
    ca
        Who signs the certificates of callers; None where none is asked for.
    require_client_certificate
        Refuse a caller without one during the handshake.
    crl
        Revocation list of ``ca``; one that has expired lets nobody in.
    """

    certificate: Path
    key: Path
    ca: Path | None = None
    require_client_certificate: bool = True
    crl: Path | None = None

    def __post_init__(self) -> None:
        if self.ca is None and (self.require_client_certificate or self.crl is not None):
            raise ValueError("certificates of callers can only be checked with ca")

    @property
    def files(self) -> tuple[Path, ...]:
        return tuple(p for p in (self.certificate, self.key, self.ca, self.crl) if p is not None)

    def context(self) -> ssl.SSLContext:
        """Read the files.

        Raises
        ------
        TlsError
            LF-NET-043.
        """
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        _harden(context)
        context.options |= ssl.OP_CIPHER_SERVER_PREFERENCE | ssl.OP_NO_TICKET
        context.num_tickets = 0
        _load_own(context, self.certificate, self.key)
        if self.ca is not None:
            _load_trusted(context, self.ca)
            required = self.require_client_certificate
            context.verify_mode = ssl.CERT_REQUIRED if required else ssl.CERT_OPTIONAL
        if self.crl is not None:
            _load_revoked(context, self.crl)
        return context


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientTls:
    """How we speak TLS to somebody else; every path is a file in PEM.

    Parameters
    ----------
    ca
        Who signs their certificate; it has to name the host that is called.
    certificate, key
        Ours, where they ask for one.
    crl
        Revocation list of ``ca``; with one that has expired nobody is spoken to.
    """

    ca: Path
    certificate: Path | None = None
    key: Path | None = None
    crl: Path | None = None

    def __post_init__(self) -> None:
        if (self.certificate is None) != (self.key is None):
            raise ValueError("certificate and key belong together")

    def context(self) -> ClientContext:
        """Read the files.

        Raises
        ------
        TlsError
            LF-NET-043.
        """
        context = ClientContext(ssl.PROTOCOL_TLS_CLIENT)
        _harden(context)
        _load_trusted(context, self.ca)
        if self.certificate is not None and self.key is not None:
            _load_own(context, self.certificate, self.key)
        if self.crl is not None:
            _load_revoked(context, self.crl)
        return context


class ClientContext(ssl.SSLContext):
    """A context that remembers why its last handshake came to nothing: pynetdicom only logs it."""

    failure: str | None = None

    def __init__(self, protocol: int) -> None:
        self.sslsocket_class = _TellingSocket


class _TellingSocket(ssl.SSLSocket):
    def connect(self, addr: Any) -> None:
        try:
            super().connect(addr)
        except ssl.SSLError as error:
            assert isinstance(self.context, ClientContext)
            self.context.failure = reason_of(error)
            raise


class FreshContext:
    """The listener's context, read again when one of its files is another one: a new certificate, a new CRL.

    What cannot be read leaves the last good one in use; that is logged once for each state of the files.
    """

    def __init__(self, tls: ServerTls) -> None:
        self._tls = tls
        self._context = tls.context()
        self._seen = self._look()

    def current(self) -> ssl.SSLContext:
        """The context for the next handshake."""
        found = self._look()
        if found != self._seen:
            self._seen = found
            try:
                self._context = self._tls.context()
            except TlsError as error:
                _LOG.warning(
                    "%s: %s (%s); the last good files stay in use", error.code, error.message, error.hint
                )
        return self._context

    def _look(self) -> tuple[tuple[int, int] | None, ...]:
        return tuple(_state(path) for path in self._tls.files)


def names_in(certificate: Mapping[str, Any] | None) -> frozenset[str]:
    """Names that a checked certificate proves, in lower case: common names of the subject, and all
    subjectAltNames. ``certificate`` is what `ssl.SSLSocket.getpeercert` says; nothing where there is none.
    """
    if not certificate:
        return frozenset()
    subject = [pair for part in certificate.get("subject", ()) for pair in part]
    common = [value for kind, value in subject if kind == "commonName"]
    others = [value for _, value in certificate.get("subjectAltName", ())]
    return frozenset(name.casefold() for name in (*common, *others))


def reason_of(error: ssl.SSLError) -> str:
    """Why a handshake failed, in OpenSSL's own words: nothing that the peer has sent is in it."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"certificate refused, {error.verify_message.split(',')[0]}"
    return (error.reason or "connection ended").lower().replace("_", " ")


def _harden(context: ssl.SSLContext) -> None:
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(_SUITES_OF_1_2)
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION


def _load_own(context: ssl.SSLContext, certificate: Path, key: Path) -> None:
    def none() -> str:
        raise _unusable(key, "the key has a passphrase", "keep it without one, readable by the service alone")

    _loaded(lambda: context.load_cert_chain(certificate, key, password=none), certificate, key)


def _load_trusted(context: ssl.SSLContext, path: Path) -> None:
    _loaded(lambda: context.load_verify_locations(cafile=path), path)


def _load_revoked(context: ssl.SSLContext, crl: Path) -> None:
    _load_trusted(context, crl)
    context.verify_flags |= ssl.VERIFY_CRL_CHECK_LEAF


def _loaded(load: Callable[[], None], *paths: Path) -> None:
    try:
        load()
    except ssl.SSLError as error:
        names = " and ".join(path.name for path in paths)
        hint = "give PEM files; a key has to belong to its certificate"
        raise TlsError("LF-NET-043", f"{names} cannot be used for TLS: {reason_of(error)}", hint) from None
    except OSError as error:
        missing = next((path for path in paths if not path.exists()), paths[-1])
        raise _unusable(
            missing, str(error.strerror), "correct the path, or let the service's user read it"
        ) from None


def _unusable(path: Path, why: str, hint: str) -> TlsError:
    return TlsError("LF-NET-043", f"{path.name} cannot be used for TLS: {why}", hint)


def _state(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_ino
