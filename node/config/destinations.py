"""Where the objects go."""

from __future__ import annotations

import os
from typing import Annotated, Literal

from pydantic import Field, model_validator

from lfmri_node.node.config.kinds import AeTitle, FilePath, Host, Name, Section, Url
from lfmri_node.node.config.tls import ClientTlsSection
from lfmri_node.node.errors import ConfigError


class DicomDestinationSection(Section):
    """A PACS that takes the objects by C-STORE."""

    kind: Literal["dicom"]
    name: Name
    host: Host
    port: Annotated[int, Field(ge=1, le=65535)]
    ae_title: AeTitle
    tls: ClientTlsSection | None = None


class OrthancDestinationSection(Section):
    """An Orthanc that takes the objects through its REST API; what it holds is read back."""

    kind: Literal["orthanc"]
    name: Name
    url: Url
    user: str | None = None
    password_env: str | None = None
    password_file: FilePath | None = None
    ca: FilePath | None = None

    @model_validator(mode="after")
    def _fits_together(self) -> OrthancDestinationSection:
        if self.password_env is not None and self.password_file is not None:
            raise ValueError("give password_env or password_file, not both")
        if self.ca is not None and not self.url.startswith("https:"):
            raise ValueError("ca belongs to a url that begins with https:")
        return self

    def password(self) -> str | None:
        """The password from its environment variable or file; None where neither is named.

        Raises
        ------
        ConfigError
            LF-CFG-005 where the variable is not set or the file cannot be read.
        """
        if self.password_env is not None:
            value = os.environ.get(self.password_env)
            if value is None:
                raise self._no_password(f"environment variable {self.password_env} is not set")
            return self._usable(value)
        if self.password_file is None:
            return None
        try:
            return self._usable(self.password_file.read_text(encoding="utf-8").strip())
        except OSError as error:
            raise self._no_password(f"password_file cannot be read ({error.strerror})") from None
        except UnicodeDecodeError:
            raise self._no_password("password_file is not text") from None

    def _usable(self, password: str) -> str:
        if not password or not password.isprintable():
            raise self._no_password("the password is empty or has control characters")
        try:
            password.encode("latin-1")
        except UnicodeEncodeError:
            raise self._no_password("the password has characters that HTTP cannot carry") from None
        return password

    def _no_password(self, what: str) -> ConfigError:
        return ConfigError(
            "LF-CFG-005",
            f"destination '{self.name}': {what}",
            "set the variable of password_env for the service, or let its user read password_file",
        )


DestinationSection = Annotated[
    DicomDestinationSection | OrthancDestinationSection, Field(discriminator="kind")
]
