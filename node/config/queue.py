"""The database of jobs and engine, and who computes."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import parse_qs, quote, urlsplit, urlunsplit

from pydantic import AfterValidator, Field, model_validator

from lfmri_node.node.config import secrets
from lfmri_node.node.config.kinds import FilePath, Section

_PARAMETERS = frozenset({"sslmode", "sslrootcert", "sslcert", "sslkey", "sslcrl", "host", "port"})


def _postgres(value: str) -> str:
    parts = urlsplit(value)
    if parts.scheme not in ("postgresql", "postgres") or not parts.path.strip("/") or not parts.username:
        raise ValueError("postgresql://USER@HOST[:PORT]/DATABASE")
    if parts.password is not None:
        raise ValueError("no password here: it would be printed; use password_file or password_env")
    strange = parse_qs(parts.query).keys() - _PARAMETERS
    if strange or parts.fragment:
        raise ValueError(f"after the question mark only {', '.join(sorted(_PARAMETERS))}")
    _ = parts.port  # a ValueError where it is none
    return value


class QueueSection(Section):
    """Where the job table and the engine's database are: two SQLite files unless a server is named."""

    url: Annotated[str, AfterValidator(_postgres)] | None = None
    password_env: str | None = None
    password_file: FilePath | None = None
    compute: bool = True
    dead_after_s: Annotated[float, Field(ge=2, le=3600, allow_inf_nan=False)] = 12.0

    @model_validator(mode="after")
    def _fits_together(self) -> QueueSection:
        if self.password_env is not None and self.password_file is not None:
            raise ValueError("give password_env or password_file, not both")
        if self.url is None and not self.compute:
            raise ValueError("compute = false needs a url: nobody else could compute")
        return self

    def full_url(self) -> str | None:
        """The URL with its password; None for SQLite. Not to be shown.

        Raises
        ------
        ConfigError
            LF-CFG-005 where the password cannot be had.
        """
        if self.url is None:
            return None
        password = secrets.password("queue", env=self.password_env, file=self.password_file)
        if password is None:
            return self.url
        parts = urlsplit(self.url)
        user, at, host = parts.netloc.rpartition("@")
        return urlunsplit(parts._replace(netloc=f"{user}:{quote(password, safe='')}{at}{host}"))
