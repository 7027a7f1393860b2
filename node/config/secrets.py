"""Secrets: by an environment variable or a file, never in ``config.toml`` itself."""

from __future__ import annotations

import os
from pathlib import Path

from lfmri_node.node.errors import ConfigError


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
