"""Who looks after the node."""

from __future__ import annotations

from lfmri_node.node.config.kinds import Host, Port, Section


class MonitorSection(Section):
    """Where ``/healthz``, ``/readyz`` and ``/metrics`` are answered; nowhere without a port."""

    host: Host = "127.0.0.1"
    port: Port | None = None
