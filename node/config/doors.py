"""Ways in beside C-STORE: MRD streams and watched folders."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from lfmri_node.node.config.kinds import AeTitle, FilePath, Gigabytes, Host, Network, Port, Seconds, Section
from lfmri_node.node.config.tls import ListenerTlsSection


class StreamingCaller(Section):
    """A scanner that may stream: the AE title that stands for it, and where it calls from."""

    ae_title: AeTitle
    address: Network


class MrdSection(Section):
    """Where MRD streams are received, from whom, and how much; without a caller the port stays shut."""

    host: Host = "127.0.0.1"
    port: Port = 9002
    max_connections: Annotated[int, Field(ge=1, le=200)] = 4
    max_per_address: Annotated[int, Field(ge=1, le=200)] = 2
    request_timeout_s: Seconds = 30.0
    network_timeout_s: Seconds = 600.0
    stream_limit_s: Seconds = 14_400.0
    images_limit_s: Seconds = 3600.0
    max_gb: Annotated[Gigabytes, Field(gt=0)] = 64.0
    tls: ListenerTlsSection | None = None
    allow: tuple[StreamingCaller, ...] = Field(default=(), strict=False)


class FolderSection(Section):
    """A folder whose ISMRMRD files are taken in; its AE title stands for whoever puts them there."""

    path: FilePath
    ae_title: AeTitle
    settle_s: Seconds = 10.0
