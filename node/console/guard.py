"""Who may ask the console for what: names it answers to, where forms come from, what a page may load.

Without a login (`access`) who reaches the port may look and retry. So it is bound to this machine, or stands
behind a proxy that asks who it is. What is left is a page of somebody else in the browser of somebody who
may: it can neither read ours (Host, CORP, frame-ancestors) nor send our forms (Origin, token).
"""

from __future__ import annotations

import secrets
from contextvars import ContextVar
from dataclasses import dataclass, field
from ipaddress import ip_address
from urllib.parse import parse_qs, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from lfmri_node.node.audit.auditor import Auditor
from lfmri_node.node.config import ConsoleSection
from lfmri_node.node.console.access import Access, Refused, Visitor
from lfmri_node.node.console.users import Role
from lfmri_node.node.errors import ConfigError, NodeError

POLICY = "; ".join(
    [
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self'",
        "connect-src 'self'",
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
    ]
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",  # with no-referrer, browsers send "Origin: null" with our own forms
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
}
_LONGEST_FORM = 4096
_SAFE = ("GET", "HEAD")
_OPEN = ("/login",)
_STATUSES = {"LF-CON-002": 421, "LF-CON-010": 503, "LF-CON-015": 401}


def is_loopback(host: str) -> bool:
    """Whether a name or address to bind is reached from this machine only."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def require_safe_binding(section: ConsoleSection) -> None:
    """Let the console listen where others reach it only behind a proxy, or with a login and TLS.

    Raises
    ------
    ConfigError
        LF-CON-001.
    """
    secured = section.users_file is not None and section.tls is not None
    if not (is_loopback(section.host) or section.behind_proxy or secured):
        raise ConfigError(
            "LF-CON-001",
            f"console.host = {section.host} is reached from other machines, without login and TLS",
            'leave "127.0.0.1" and use an SSH tunnel; or set users_file and tls, or behind_proxy and url',
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Guard:
    """What is allowed, for one process.

    Parameters
    ----------
    access
        Who may come in.
    token
        Stands in the forms of whoever has no session; only a page of ours can know it.
    """

    section: ConsoleSection
    access: Access
    token: str = field(repr=False)
    _asking: ContextVar[Visitor | None] = field(
        default_factory=lambda: ContextVar("asking", default=None), repr=False
    )

    @classmethod
    def of(cls, section: ConsoleSection, auditor: Auditor) -> Guard:
        """A guard with a token of its own."""
        token = secrets.token_urlsafe(32)
        return cls(section=section, access=Access(section, auditor, token), token=token)

    @property
    def visitor(self) -> Visitor | None:
        """Who asks what is being answered; None who has not logged in."""
        return self._asking.get()

    @property
    def form_token(self) -> str:
        """What stands in the forms of the visitor."""
        visitor = self.visitor
        return visitor.form_token if visitor is not None else self.token

    def admit(self, scope: Scope, headers: Headers) -> None:
        """Find out who asks, and whether they may: nobody may anything but log in, unless they are known.

        Raises
        ------
        Refused
            LF-CON-015 who has to log in first, LF-CON-014 whose role is not enough.
        """
        path, acts = scope["path"], scope["method"] not in _SAFE
        browsed = headers.get("sec-fetch-mode", "navigate") == "navigate"
        visitor = self.access.visitor(headers, acts=acts or browsed)
        self._asking.set(visitor)
        if path in _OPEN or path.startswith("/static/"):
            return
        if visitor is None:
            raise Refused("LF-CON-015", "you are not logged in", "log in, or let an admin add you")
        needed = Role.OPERATOR if acts and path != "/logout" else Role.VIEWER
        if not visitor.role.may(Role.ADMIN if path.startswith("/users") else needed):
            raise Refused("LF-CON-014", "your role does not allow this", "ask somebody whose role does")

    @property
    def prefix(self) -> str:
        """Path under which a proxy shows the console; "" where there is none."""
        return urlsplit(self.section.url or "").path.rstrip("/")

    def require_known_host(self, headers: Headers) -> None:
        """Answer to our own names only: a foreign name that resolves to this machine is an attack.

        Raises
        ------
        Refused
            LF-CON-002.
        """
        name = urlsplit(f"//{headers.get('host', '')}").hostname or ""
        ours = {"localhost", self.section.host, urlsplit(self.section.url or "").hostname}
        if name not in ours and not is_loopback(name):
            raise Refused(
                "LF-CON-002",
                "the console does not answer to this name",
                "call it by 127.0.0.1, or let the proxy of console.url pass that name on",
            )

    def require_own_origin(self, headers: Headers) -> None:
        """Take a form from our own pages only.

        Raises
        ------
        Refused
            LF-CON-003.
        """
        scheme = "http" if self.section.tls is None else "https"
        allowed = {f"{scheme}://{headers.get('host', '')}"}
        if self.section.url is not None:
            parts = urlsplit(self.section.url)
            allowed.add(f"{parts.scheme}://{parts.netloc}")
        if headers.get("origin") not in allowed:
            raise _foreign_form()

    async def require_token(self, request: Request) -> None:
        """Take a form only with the token that stands in ours; its fields are in ``request.state.form``.

        Raises
        ------
        Refused
            LF-CON-003.
        """
        body = b""
        async for chunk in request.stream():
            body += chunk
            if len(body) > _LONGEST_FORM:
                raise _foreign_form()
        request.state.form = {name: values[0] for name, values in parse_qs(body.decode("latin-1")).items()}
        given = request.state.form.get("token", "")
        if not secrets.compare_digest(given.encode(), self.form_token.encode()):
            raise _foreign_form()


def _foreign_form() -> Refused:
    return Refused(
        "LF-CON-003",
        "this form does not come from a page of the running console",
        "load the page again, then repeat what you did",
    )


def _told(refused: NodeError) -> Response:
    text = f"{refused.code}: {refused.message}; {refused.hint}\n"
    return PlainTextResponse(text, _STATUSES.get(refused.code, 403))


class Guarded:
    """The application behind the guard; every answer carries `HEADERS`."""

    def __init__(self, app: ASGIApp, *, guard: Guard) -> None:
        self._app = app
        self._guard = guard

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse, or let pass and add the headers. Refusals are short texts: nobody of ours reads them."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers[name] = value
            await send(message)

        headers = Headers(scope=scope)
        try:
            self._guard.require_known_host(headers)
            if scope["method"] not in _SAFE:
                self._guard.require_own_origin(headers)
        except Refused as refused:
            await _told(refused)(scope, receive, with_headers)
            return
        inside = self._without_prefix(scope)
        try:
            self._guard.admit(inside, headers)
        except (Refused, ConfigError) as refused:
            login = f"{self._guard.prefix}/login"
            asked = headers.get("sec-fetch-mode", "navigate") == "navigate" and scope["method"] in _SAFE
            leads = asked and refused.code == "LF-CON-015" and self._guard.access.has_login
            answer = RedirectResponse(login, 303) if leads else _told(refused)
            await answer(scope, receive, with_headers)
            return
        await self._app(inside, receive, with_headers)

    def _without_prefix(self, scope: Scope) -> Scope:
        """The request as if the proxy had taken its prefix away, whether it does so or not."""
        prefix = f"{self._guard.prefix}/"
        if prefix == "/" or not scope["path"].startswith(prefix):
            return scope
        return {**scope, "path": scope["path"].removeprefix(self._guard.prefix), "raw_path": None}
