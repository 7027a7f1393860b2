"""``lfmri-node users``: passwords come from a prompt or from standard input, never from the command line."""

from __future__ import annotations

import getpass
import sys

from lfmri_node.node.config import Config
from lfmri_node.node.console.users import Role, Users
from lfmri_node.node.errors import ConfigError
from lfmri_node.node.terminal.tables import print_json, print_table


def users_of(config: Config) -> Users:
    """The users that the configuration names.

    Raises
    ------
    ConfigError
        LF-CON-011 it names no file of users.
    """
    if config.console.users_file is None:
        raise ConfigError(
            "LF-CON-011", "the configuration names no file of users", "set console.users_file, then repeat it"
        )
    return Users(config.console.users_file)


def put(users: Users, name: str, role: str, *, with_password: bool) -> None:
    """Add or replace somebody, asking for the password.

    Raises
    ------
    ConfigError
        LF-CON-011 the name or the password cannot be used.
    """
    users.put(name, Role(role), _password() if with_password else None)


def print_users(users: Users, *, as_json: bool) -> None:
    """Names and roles."""
    rows = [(name, user.role.value) for name, user in users.all().items()]
    if as_json:
        print_json({"users": [{"name": name, "role": role} for name, role in rows]})
    else:
        print_table("users", ("name", "role"), rows)


def _password() -> str:
    if not sys.stdin.isatty():
        return sys.stdin.readline().rstrip("\n")
    password = getpass.getpass("Password: ")
    if getpass.getpass("Again: ") != password:
        raise ConfigError("LF-CON-011", "the two passwords differ", "type the same one twice")
    return password
