"""Servers that are spoken to by HTTP: where one is, how to log in, and every way not to get an answer."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import requests
from requests.adapters import HTTPAdapter
from requests.auth import AuthBase, HTTPBasicAuth

from lfmri_node.dicom_io.errors import TlsError
from lfmri_node.dicom_io.tls import ClientTls, reason_of

_LONGEST_ANSWER = 16 << 20
STRANGER = "what answers is no DICOMweb server (a proxy, a login page?)"


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpPeer:
    """A server, and how to log in there.

    Parameters
    ----------
    name
        For receipts and messages.
    url
        Of the service's root.
    ca
        Certificates of the authorities that the server's certificate may come from; None: the usual ones.
    crl
        Revocation list of ``ca``, read for each session; with one that has expired nobody is spoken to.
    """

    accepts: ClassVar[str] = "*/*"

    name: str
    url: str
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    ca: Path | None = None
    crl: Path | None = None

    def login(self) -> AuthBase | None:
        """What every request shows of us; None for nothing.

        Raises
        ------
        NoAnswer
            It cannot be read.
        """
        if self.user is None:
            return None
        return HTTPBasicAuth(self.user.encode("utf-8"), (self.password or "").encode("utf-8"))


@dataclass(frozen=True, slots=True, kw_only=True)
class WebDestination(HttpPeer):
    """A DICOMweb server (PS3.18) that stores, and may be searched.

    Parameters
    ----------
    url
        To it ``/studies`` is added: ``https://pacs.example/dicom-web``.
    token_file
        Holds a bearer token (RFC 6750); read anew for each session, so that it may be renewed.
    max_request_bytes
        Objects are sent together up to this size; a larger one goes alone.
    connect_timeout_s, timeout_s
        Longest wait for the connection, and for each piece of the answer.
    """

    accepts: ClassVar[str] = "application/dicom+json"

    token_file: Path | None = None
    max_request_bytes: int = 64 << 20
    connect_timeout_s: float = 10
    timeout_s: float = 120

    @property
    def studies(self) -> str:
        """The resource that is stored to and searched in (PS3.18 10.5, 10.6)."""
        return self.url.rstrip("/") + "/studies"

    @property
    def timeouts(self) -> tuple[float, float]:
        """As `requests` takes them."""
        return self.connect_timeout_s, self.timeout_s

    def login(self) -> AuthBase | None:
        """See `HttpPeer.login`."""
        if self.token_file is not None:
            return _Bearer(_token(self.token_file))
        return HttpPeer.login(self)


class NoAnswer(Exception):
    """Why a request came to nothing, in words of ours.

    Parameters
    ----------
    transient
        Whether that may heal.
    status
        Of the answer, where there was one.
    """

    def __init__(self, detail: str, *, transient: bool = True, status: int | None = None) -> None:
        super().__init__(detail)
        self.detail = detail
        self.transient = transient
        self.status = status


class _Bearer(AuthBase):
    def __init__(self, token: str) -> None:
        self._token = token

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = f"Bearer {self._token}"
        return request


class _Checking(HTTPAdapter):
    """Looks certificates up in a revocation list."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self._context = context
        super().__init__()

    def init_poolmanager(self, *arguments: Any, **options: Any) -> None:
        super().init_poolmanager(*arguments, **options, ssl_context=self._context)


@contextmanager
def opened_session(destination: HttpPeer) -> Iterator[requests.Session]:
    """A session that takes nothing from the environment: no proxies, no passwords of a netrc file.

    Raises
    ------
    NoAnswer
        The token or the revocation list cannot be read.
    """
    with requests.Session() as session:
        session.trust_env = False
        session.headers["Accept"] = destination.accepts
        session.auth = destination.login()
        if destination.ca is not None:
            session.verify = str(destination.ca)
        if destination.ca is not None and destination.crl is not None:
            try:
                context = ClientTls(ca=destination.ca, crl=destination.crl).context()
            except TlsError as error:
                raise NoAnswer(error.message) from None
            session.mount("https://", _Checking(context))
        yield session


def _token(path: Path) -> str:
    try:
        token = path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise NoAnswer(f"the token file cannot be read ({type(error).__name__})") from None
    if not token or not token.isprintable():
        raise NoAnswer("the token file holds no token")
    return token


@contextmanager
def naming_errors() -> Iterator[None]:
    """Every way not to get an answer is a `NoAnswer`, without what the other side says."""
    try:
        yield
    except requests.exceptions.SSLError as error:
        raise NoAnswer(f"the server's certificate is not trusted, or TLS fails{_why(error)}") from None
    except requests.exceptions.ConnectTimeout:
        raise NoAnswer("the server cannot be reached") from None
    except requests.exceptions.Timeout:
        raise NoAnswer("no answer in time") from None
    except requests.exceptions.ConnectionError:
        raise NoAnswer("the server cannot be reached, or the connection was cut") from None
    except requests.exceptions.RequestException:
        raise NoAnswer(STRANGER) from None


def _why(error: BaseException | None) -> str:
    """What OpenSSL says, which `requests` wraps twice; "" where it is not there."""
    while error is not None and not (isinstance(error, ssl.SSLError) and error.reason):
        error = error.__cause__ or error.__context__
    return f" ({reason_of(error)})" if isinstance(error, ssl.SSLError) else ""


def content_of(answer: requests.Response, longest: int = _LONGEST_ANSWER) -> bytes:
    """The body of an answer, of at most ``longest`` bytes.

    Raises
    ------
    NoAnswer
        It is longer.
    """
    content = bytearray()
    for piece in answer.iter_content(1 << 16):
        content += piece
        if len(content) > longest:
            raise NoAnswer("an answer without end (a proxy, a login page?)")
    return bytes(content)


def items_of(document: dict[str, object], tag: str) -> list[object]:
    """The values of an element (DICOM JSON Model, PS3.18 F.2); none where it is not what it should be."""
    element = document.get(tag)
    values = element.get("Value") if isinstance(element, dict) else None
    return values if isinstance(values, list) else []


def value_of(item: object, tag: str) -> object:
    """The first value of an element of a data set; None where there is none."""
    values = items_of(item, tag) if isinstance(item, dict) else []
    return values[0] if values else None
