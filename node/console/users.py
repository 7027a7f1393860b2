"""Who may use the console: a file of names, roles and password hashes (argon2id), private to its user."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from pathlib import Path

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from lfmri_node.node.errors import ConfigError
from lfmri_node.node.files import write_text

NAME = re.compile(r"[A-Za-z0-9_.@-]{1,64}")
_SHORTEST = 12
_LONGEST = 256


class Role(StrEnum):
    """What somebody may do; each may do what those before it may."""

    VIEWER = "viewer"
    OPERATOR = "operator"
    ADMIN = "admin"

    def may(self, needed: Role) -> bool:
        """Whether this role is enough."""
        order = list(Role)
        return order.index(self) >= order.index(needed)


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    """Somebody; ``hash`` is "" for who logs in at a proxy alone."""

    role: Role
    hash: str = field(default="", repr=False)


class Users:
    """The file, read again when it has changed: who is taken out of it has no session any more.

    Raises
    ------
    ConfigError
        LF-CON-010 from every method: the file cannot be read, or is not one of ours.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._hasher = PasswordHasher()
        self._nobody = self._hasher.hash("a password that nobody has")
        self._one_at_a_time = threading.Lock()
        self._seen: tuple[int, int] | None = None
        self._users: Mapping[str, User] = {}

    def all(self) -> Mapping[str, User]:
        """Name -> user, sorted by name."""
        try:
            found = self._path.stat()
            state = (found.st_mtime_ns, found.st_ino)
            if state != self._seen:
                self._users = _parsed(self._path.read_text(encoding="utf-8"))
                self._seen = state
        except OSError as error:
            raise _unusable(self._path, str(error.strerror)) from None
        except (ValueError, KeyError, TypeError, AttributeError):
            raise _unusable(self._path, "it is not a file of `lfmri-node users`") from None
        return self._users

    def role(self, name: str) -> Role | None:
        """What somebody may do now; None who is not, or no more, in the file."""
        user = self.all().get(name)
        return user.role if user is not None else None

    def proves(self, name: str, password: str) -> bool:
        """Whether the password is that of the user; takes as long for a name that is not in the file.

        One at a time: each takes 64 MiB for a moment, and that is what a flood of logins may cost.
        """
        user = self.all().get(name)
        known = user.hash if user is not None and user.hash else self._nobody
        with self._one_at_a_time:
            try:
                matches = self._hasher.verify(known, password[: _LONGEST + 1])
            except (VerificationError, InvalidHashError):
                return False
        return matches and known is not self._nobody

    def put(self, name: str, role: Role, password: str | None) -> None:
        """Add or replace somebody; without password for who logs in at a proxy.

        Raises
        ------
        ConfigError
            LF-CON-011 the name or the password cannot be used.
        """
        if not NAME.fullmatch(name):
            raise ConfigError("LF-CON-011", "this is no name of a user", "1 to 64 of A-Z a-z 0-9 _ . @ -")
        if password is not None and not _SHORTEST <= len(password) <= _LONGEST:
            raise ConfigError(
                "LF-CON-011",
                f"a password has {_SHORTEST} to {_LONGEST} characters",
                "take several words: length counts, not special characters",
            )
        hashed = self._hasher.hash(password) if password is not None else ""
        self._write({**self._known(), name: User(role=role, hash=hashed)})

    def remove(self, name: str) -> None:
        """Take somebody out.

        Raises
        ------
        ConfigError
            LF-CON-011 nobody has this name.
        """
        left = dict(self._known())
        if left.pop(name, None) is None:
            raise ConfigError("LF-CON-011", "no user has this name", "`lfmri-node users` lists them")
        self._write(left)

    def _known(self) -> Mapping[str, User]:
        return self.all() if self._path.exists() else {}

    def _write(self, users: Mapping[str, User]) -> None:
        document = {"users": {name: asdict(user) for name, user in sorted(users.items())}}
        write_text(self._path, json.dumps(document, indent=1) + "\n")


def _parsed(text: str) -> Mapping[str, User]:
    document = json.loads(text)["users"]
    return {
        str(name): User(role=Role(said["role"]), hash=str(said["hash"])) for name, said in document.items()
    }


def _unusable(path: Path, why: str) -> ConfigError:
    return ConfigError(
        "LF-CON-010",
        f"the users of the console, {path.name}, cannot be read ({why})",
        "`lfmri-node users NAME --role admin` makes the file of console.users_file",
    )
