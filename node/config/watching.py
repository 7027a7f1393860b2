"""Who looks after the node: monitoring that asks, and people who are told."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from lfmri_node.node.config.kinds import FilePath, Host, Name, Port, Seconds, Section, Url
from lfmri_node.node.config.secrets import password

Subject = Literal["quarantine", "held", "incomplete", "destination", "disk", "worker"]
SUBJECTS: tuple[Subject, ...] = ("quarantine", "held", "incomplete", "destination", "disk", "worker")


def _mail_address(value: str) -> str:
    if value.count("@") != 1 or not value.isascii() or not value.isprintable() or " " in value:
        raise ValueError("an address is NAME@HOST, in ASCII")
    return value


MailAddress = Annotated[str, AfterValidator(_mail_address)]


class MonitorSection(Section):
    """Where ``/healthz``, ``/readyz`` and ``/metrics`` are answered; nowhere without a port."""

    host: Host = "127.0.0.1"
    port: Port | None = None


class _NotifySection(Section):
    """What all ways of telling have."""

    name: Name
    subjects: tuple[Subject, ...] = Field(default=SUBJECTS, strict=False)
    at_most_every_s: Seconds = 300.0
    destination_down_s: Seconds = 1800.0
    ca_file: FilePath | None = None
    crl: FilePath | None = None

    @model_validator(mode="after")
    def _list_has_its_authority(self) -> _NotifySection:
        if self.crl is not None and self.ca_file is None:
            raise ValueError("crl belongs to ca_file")
        return self


class WebhookSection(_NotifySection):
    """A server that takes JSON by HTTP POST, signed where there is a secret."""

    kind: Literal["webhook"]
    url: Url
    secret_env: str | None = None
    secret_file: FilePath | None = None

    @model_validator(mode="after")
    def _one_source(self) -> WebhookSection:
        if self.secret_env is not None and self.secret_file is not None:
            raise ValueError("give secret_env or secret_file, not both")
        return self

    def secret(self) -> str | None:
        """What signs the messages; see `secrets.secret`."""
        return password(f"notify '{self.name}'", env=self.secret_env, file=self.secret_file)


class MailSection(_NotifySection):
    """A mail server that takes messages by SMTP, over TLS unless that is switched off."""

    kind: Literal["mail"]
    host: Host
    port: Port = 587
    starttls: bool = True
    sender: MailAddress
    to: Annotated[tuple[MailAddress, ...], Field(min_length=1, strict=False)]
    user: str | None = None
    password_env: str | None = None
    password_file: FilePath | None = None

    @model_validator(mode="after")
    def _safe(self) -> MailSection:
        if self.password_env is not None and self.password_file is not None:
            raise ValueError("give password_env or password_file, not both")
        if (self.user is not None) != (self.password_env is not None or self.password_file is not None):
            raise ValueError("user and a password belong together")
        if self.user is not None and not self.starttls:
            raise ValueError("no password without starttls: everybody on the way could read it")
        return self

    def password(self) -> str | None:
        """Of ``user``; see `secrets.secret`."""
        return password(f"notify '{self.name}'", env=self.password_env, file=self.password_file)


NotifySection = Annotated[WebhookSection | MailSection, Field(discriminator="kind")]
