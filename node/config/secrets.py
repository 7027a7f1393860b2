"""Secrets: by an environment variable or a file, never in ``config.toml`` itself."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from lfmri_node.node.errors import ConfigError

_FILES = ("key", "password_file", "secret_file", "token_file", "users_file")


@dataclass(frozen=True, slots=True, kw_only=True)
class Secrets:
    """Where a configuration says that secrets are."""

    files: frozenset[Path]
    variables: frozenset[str]


def named_secrets(section: BaseModel) -> Secrets:
    """Files and environment variables with passwords, tokens and keys, of a table and all below it."""
    values = list(_values(section))
    return Secrets(
        files=frozenset(value for name, value in values if name in _FILES and isinstance(value, Path)),
        variables=frozenset(value for name, value in values if name.endswith("_env") and value),
    )


def _values(section: BaseModel) -> Iterator[tuple[str, Any]]:
    for name, value in section:
        yield name, value
        for item in value if isinstance(value, tuple) else (value,):
            if isinstance(item, BaseModel):
                yield from _values(item)


def password(whose: str, *, env: str | None, file: Path | None) -> str | None:
    """A password from its environment variable or file; None where neither is named.

    Parameters
    ----------
    whose
        What of the configuration it belongs to, for the message.

    Raises
    ------
    ConfigError
        LF-CFG-005 where the variable is not set, the file cannot be read, or what it holds is no password.
    """
    if env is not None:
        value = os.environ.get(env)
        if value is None:
            raise no_secret(whose, f"environment variable {env} is not set")
        return _printable(whose, value, "password")
    return None if file is None else secret_in(file, whose, "password")


def secret_in(file: Path, whose: str, what: str) -> str:
    """The secret that a file ``<what>_file`` holds, alone.

    Raises
    ------
    ConfigError
        LF-CFG-005, see `password`.
    """
    try:
        value = file.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise no_secret(whose, f"{what}_file cannot be read ({error.strerror})") from None
    except UnicodeDecodeError:
        raise no_secret(whose, f"{what}_file is not text") from None
    return _printable(whose, value, what)


def _printable(whose: str, value: str, what: str) -> str:
    if not value or not value.isprintable():
        raise no_secret(whose, f"the {what} is empty or has control characters")
    return value


def no_secret(whose: str, what: str) -> ConfigError:
    """LF-CFG-005."""
    return ConfigError(
        "LF-CFG-005",
        f"{whose}: {what}",
        "set the variable of password_env for the service, or let its user read the file",
    )
