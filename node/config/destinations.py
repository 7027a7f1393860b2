"""Where the objects go."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from lfmri_node.node.config import secrets
from lfmri_node.node.config.kinds import AeTitle, FilePath, Host, Name, Network, Seconds, Section, Url
from lfmri_node.node.config.rules import OnlySection
from lfmri_node.node.config.tls import ClientTlsSection


class AnyDestinationSection(Section):
    """What every destination has: a name, and which scans go there; all where nothing is said."""

    name: Name
    only: OnlySection | None = None


class DicomDestinationSection(AnyDestinationSection):
    """A PACS that takes the objects by C-STORE."""

    kind: Literal["dicom"]
    host: Host
    port: Annotated[int, Field(ge=1, le=65535)]
    ae_title: AeTitle
    tls: ClientTlsSection | None = None
    commitment: bool = False
    commitment_wait_s: Seconds = 3600.0
    report_from: tuple[Network, ...] = Field(default=(), strict=False)
    report_certificate: Annotated[str, Field(min_length=1)] | None = None
    verify: Literal["none", "query"] = "none"

    @property
    def way(self) -> str:
        """How objects go there, for people."""
        return "C-STORE"

    @property
    def address(self) -> str:
        """Where that is, for people."""
        return f"{self.ae_title}@{self.host}:{self.port}"


class HttpDestinationSection(AnyDestinationSection):
    """A server that is spoken to by HTTP, and how to log in there."""

    url: Url
    user: str | None = None
    password_env: str | None = None
    password_file: FilePath | None = None
    ca: FilePath | None = None
    crl: FilePath | None = None

    @model_validator(mode="after")
    def _fits_together(self) -> HttpDestinationSection:
        if self.password_env is not None and self.password_file is not None:
            raise ValueError("give password_env or password_file, not both")
        if self.ca is not None and not self.url.startswith("https:"):
            raise ValueError("ca belongs to a url that begins with https:")
        if self.crl is not None and self.ca is None:
            raise ValueError("crl belongs to ca")
        return self

    @property
    def address(self) -> str:
        """Where that is, for people."""
        return self.url

    def password(self) -> str | None:
        """The password from its environment variable or file; None where neither is named.

        Raises
        ------
        ConfigError
            LF-CFG-005 where the variable is not set or the file cannot be read.
        """
        found = secrets.password(self._whose, env=self.password_env, file=self.password_file)
        return None if found is None else self._for_http(found, "password")

    @property
    def _whose(self) -> str:
        return f"destination '{self.name}'"

    def _for_http(self, secret: str, what: str) -> str:
        try:
            secret.encode("latin-1")
        except UnicodeEncodeError:
            raise secrets.no_secret(
                self._whose, f"the {what} has characters that HTTP cannot carry"
            ) from None
        return secret


class OrthancDestinationSection(HttpDestinationSection):
    """An Orthanc that takes the objects through its REST API; what it holds is read back."""

    kind: Literal["orthanc"]

    @property
    def way(self) -> str:
        """How objects go there, for people."""
        return "Orthanc REST"


class StowDestinationSection(HttpDestinationSection):
    """A DICOMweb server that takes the objects by STOW-RS; ``url`` is the root of the service."""

    kind: Literal["stow"]
    token_file: FilePath | None = None
    verify: Literal["none", "query"] = "none"
    max_request_mb: Annotated[float, Field(gt=0, le=4096, allow_inf_nan=False)] = 64.0

    @model_validator(mode="after")
    def _one_login(self) -> StowDestinationSection:
        if self.token_file is not None and self.user is not None:
            raise ValueError("give user with a password, or token_file, not both")
        return self

    @property
    def way(self) -> str:
        """How objects go there, for people."""
        return "STOW-RS"

    def require_token(self) -> None:
        """Check that the token can be read, which is done again for each delivery.

        Raises
        ------
        ConfigError
            LF-CFG-005 where it cannot be.
        """
        if self.token_file is not None:
            self._for_http(secrets.secret_in(self.token_file, self._whose, "token"), "token")


DestinationSection = Annotated[
    DicomDestinationSection | OrthancDestinationSection | StowDestinationSection,
    Field(discriminator="kind"),
]
