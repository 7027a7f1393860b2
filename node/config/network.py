"""Who this node is, who may reach it, and where its pages are."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from lfmri_node.node.config.kinds import (
    AeTitle,
    FilePath,
    Gigabytes,
    Host,
    Name,
    Network,
    Port,
    Seconds,
    Section,
    Url,
)
from lfmri_node.node.config.tls import ListenerTlsSection, PagesTlsSection


class NodeSection(Section):
    """Who this node is and where it keeps its data."""

    ae_title: AeTitle = "LFMRI"
    data_dir: FilePath = Path("data")
    executor_id: Name = "node-1"
    drain_s: Seconds = 30.0
    housekeeping_s: Seconds = 20.0
    keep_reconstructions: bool = False


class AllowedCaller(Section):
    """One caller that may send: its AE title, where it calls from, and a name in its certificate."""

    ae_title: AeTitle
    address: Network
    certificate: Annotated[str, Field(min_length=1)] | None = None


class ListenerSection(Section):
    """Where Raw Data objects are received, from whom, and how much."""

    host: Host = "127.0.0.1"
    port: Port = 11112
    max_associations: Annotated[int, Field(ge=1, le=200)] = 8
    max_per_address: Annotated[int, Field(ge=1, le=200)] = 4
    request_timeout_s: Seconds = 5.0
    incomplete_after_s: Seconds = 600.0
    network_timeout_s: Seconds = 120.0
    free_space_floor_gb: Gigabytes = 2.0
    tls: ListenerTlsSection | None = None
    allow: tuple[AllowedCaller, ...] = Field(default=(), strict=False)

    @model_validator(mode="after")
    def _certificates_are_seen(self) -> ListenerSection:
        if any(caller.certificate for caller in self.allow) and (self.tls is None or self.tls.ca is None):
            raise ValueError("allow.certificate needs listener.tls with ca")
        return self


class GatewaySection(Section):
    """How the k-space of one calling AE is to be read, and when it is its turn."""

    fft_sign: Literal[-1, 1] = -1
    flip_readout: bool = False
    flip_phase: bool = False
    flip_partition: bool = False
    orientation_verified: date | None = None
    prewhiten: bool = True
    priority: Annotated[int, Field(ge=0, le=100)] = 0

    def reader(self) -> dict[str, Any]:
        """What is said of the k-space alone."""
        return self.model_dump(mode="json", exclude={"priority"})


class ConsoleSection(Section):
    """Where `lfmri-node console` shows its pages, who may see them, and the proxy that stands before it."""

    host: Host = "127.0.0.1"
    port: Port = 8180
    behind_proxy: bool = False
    url: Url | None = None
    user_header: Annotated[str, Field(pattern=r"^[A-Za-z0-9-]{1,64}$")] | None = None
    users_file: FilePath | None = None
    tls: PagesTlsSection | None = None

    @model_validator(mode="after")
    def _proxy_has_a_name(self) -> ConsoleSection:
        if self.behind_proxy and self.url is None:
            raise ValueError("behind_proxy = true and url, what browsers call the proxy, belong together")
        if self.url is not None and not self.behind_proxy and self.tls is None:
            raise ValueError("url, what browsers call, belongs to behind_proxy = true or to tls")
        if self.user_header is not None and not (self.behind_proxy and self.users_file is not None):
            raise ValueError("user_header needs behind_proxy, and users_file for the roles")
        return self
