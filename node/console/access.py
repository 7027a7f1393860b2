"""Who asks, and what they may do: by a session after a login, or by the name that a proxy gives."""

from __future__ import annotations

from dataclasses import dataclass, field
from http.cookies import CookieError, SimpleCookie
from urllib.parse import urlsplit

from starlette.datastructures import Headers

from lfmri_node.node.audit.auditor import Auditor
from lfmri_node.node.config import ConsoleSection
from lfmri_node.node.console.sessions import Attempts, Sessions
from lfmri_node.node.console.users import Role, Users
from lfmri_node.node.errors import NodeError

_COOKIE = "lfmri-session"
_LONGEST_NAME = 64


class Refused(NodeError):
    """A request that is not answered."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Visitor:
    """Who asks; ``name`` is "" where nobody has to say it, ``form_token`` stands in every form."""

    name: str
    role: Role
    form_token: str = field(repr=False)

    @property
    def may_act(self) -> bool:
        """Whether buttons that do something are for this visitor."""
        return self.role.may(Role.OPERATOR)


class Access:
    """The way in. Without ``console.users_file`` everybody who gets so far may do everything.

    Parameters
    ----------
    token
        Stands in the forms of visitors without a session of ours.
    """

    def __init__(self, section: ConsoleSection, auditor: Auditor, token: str) -> None:
        self._section = section
        self._auditor = auditor
        self._token = token
        self._users = Users(section.users_file) if section.users_file is not None else None
        self._sessions = Sessions()
        self._attempts = Attempts()

    @property
    def has_login(self) -> bool:
        """Whether a name and a password are asked for here."""
        return self._users is not None and self._section.user_header is None

    def visitor(self, headers: Headers, *, acts: bool) -> Visitor | None:
        """Who asks; None who has to log in first."""
        if self._users is None:
            return Visitor(name="", role=Role.ADMIN, form_token=self._token)
        if self._section.user_header is not None:
            name, token = headers.get(self._section.user_header, ""), self._token
        else:
            session = self._sessions.find(_key_in(headers), acts=acts)
            if session is None:
                return None
            name, token = session.name, session.form_token
        role = self._users.role(name)
        return Visitor(name=name, role=role, form_token=token) if role is not None else None

    def users(self) -> dict[str, Role]:
        """Everybody who may log in."""
        return {name: user.role for name, user in self._users.all().items()} if self._users else {}

    def login(self, name: str, password: str, address: str) -> str:
        """Check a password; returns the value of the header that sets the cookie.

        Raises
        ------
        Refused
            LF-CON-012 wrong name or password, LF-CON-013 too many tries.
        """
        name = name[:_LONGEST_NAME]
        keys = (f"name {name}", f"address {address}")
        wait_s = self._attempts.wait_s(*keys)
        if wait_s > 0:
            raise Refused("LF-CON-013", "too many failed logins", f"try again in {wait_s:.0f} seconds")
        proved = self._users is not None and self._users.proves(name, password)
        self._auditor.login(name, address, succeeded=proved)
        if not proved:
            self._attempts.note(*keys)
            raise Refused("LF-CON-012", "name or password is wrong", "try again; an admin can set a new one")
        self._attempts.forget(*keys)
        return self._cookie(self._sessions.open(name))

    def logout(self, headers: Headers, name: str, address: str) -> str:
        """End the session; returns the value of the header that removes the cookie."""
        self._sessions.close(_key_in(headers))
        self._auditor.logout(name, address)
        return f"{self._cookie('')}; Max-Age=0"

    def _cookie(self, key: str) -> str:
        url = urlsplit(self._section.url or "")
        secured = self._section.tls is not None or url.scheme == "https"
        path = url.path.rstrip("/") or "/"
        return f"{_COOKIE}={key}; Path={path}; HttpOnly; SameSite=Strict" + ("; Secure" if secured else "")


def _key_in(headers: Headers) -> str:
    try:
        found = SimpleCookie(headers.get("cookie", "")).get(_COOKIE)
    except CookieError:
        return ""
    return found.value if found is not None else ""
