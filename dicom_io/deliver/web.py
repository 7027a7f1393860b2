"""A DICOMweb server (PS3.18): where it is, how to log in, and every way not to get an answer from it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import requests
from requests.auth import AuthBase, HTTPBasicAuth

_LONGEST_ANSWER = 16 << 20
STRANGER = "what answers is no DICOMweb server (a proxy, a login page?)"


@dataclass(frozen=True, slots=True, kw_only=True)
class WebDestination:
    """A DICOMweb server that stores, and may be searched.

    Parameters
    ----------
    name
        For receipts and messages.
    url
        Of the service's root, to which ``/studies`` is added: ``https://pacs.example/dicom-web``.
    token_file
        Holds a bearer token (RFC 6750); read anew for each session, so that it may be renewed.
    ca
        Certificates of the authorities that the server's certificate may come from; None: the usual ones.
    max_request_bytes
        Objects are sent together up to this size; a larger one goes alone.
    connect_timeout_s, timeout_s
        Longest wait for the connection, and for each piece of the answer.
    """

    name: str
    url: str
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    token_file: Path | None = None
    ca: Path | None = None
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


@contextmanager
def opened_session(destination: WebDestination) -> Iterator[requests.Session]:
    """A session that takes nothing from the environment: no proxies, no passwords of a netrc file.

    Raises
    ------
    NoAnswer
        The token cannot be read.
    """
    with requests.Session() as session:
        session.trust_env = False
        session.headers["Accept"] = "application/dicom+json"
        if destination.ca is not None:
            session.verify = str(destination.ca)
        if destination.token_file is not None:
            session.auth = _Bearer(_token(destination.token_file))
        elif destination.user is not None:
            password = destination.password or ""
            session.auth = HTTPBasicAuth(destination.user.encode("utf-8"), password.encode("utf-8"))
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
    except requests.exceptions.SSLError:
        raise NoAnswer("the server's certificate is not trusted, or TLS fails") from None
    except requests.exceptions.ConnectTimeout:
        raise NoAnswer("the server cannot be reached") from None
    except requests.exceptions.Timeout:
        raise NoAnswer("no answer in time") from None
    except requests.exceptions.ConnectionError:
        raise NoAnswer("the server cannot be reached, or the connection was cut") from None
    except requests.exceptions.RequestException:
        raise NoAnswer(STRANGER) from None


def content_of(answer: requests.Response) -> bytes:
    """The body of an answer, of at most 16 MiB.

    Raises
    ------
    NoAnswer
        It is longer.
    """
    content = bytearray()
    for piece in answer.iter_content(1 << 16):
        content += piece
        if len(content) > _LONGEST_ANSWER:
            raise NoAnswer(f"{STRANGER}; an answer without end")
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
