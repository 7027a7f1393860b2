"""The audit trail, and the repository it is sent to."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from lfmri_node.node.config.kinds import Host, Section
from lfmri_node.node.config.tls import ClientTlsSection


class SyslogSection(ClientTlsSection):
    """An audit repository that takes syslog over TLS (RFC 5425)."""

    host: Host
    port: Annotated[int, Field(ge=1, le=65535)] = 6514


class AuditSection(Section):
    """Whether a trail is kept, and where else it goes."""

    enabled: bool = True
    syslog: SyslogSection | None = None
