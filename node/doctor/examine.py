"""All checks, one after the other."""

from __future__ import annotations

from collections.abc import Callable

from lfmri_node.node.config import Config
from lfmri_node.node.doctor import certificates, clocks, machine, network, records, watching
from lfmri_node.node.doctor.device import device, precision
from lfmri_node.node.doctor.findings import Finding, failed, guarded, ok
from lfmri_node.node.errors import NodeError
from lfmri_node.node.layout import Layout


def examine(read_config: Callable[[], Config]) -> list[Finding]:
    """Run every check. A configuration that cannot be read is the only finding then."""
    try:
        config = read_config()
    except NodeError as error:
        return [failed("configuration", error)]
    layout = Layout(root=config.node.data_dir)
    findings = [
        ok("configuration", f"{len(config.destinations)} destination(s), data in {config.node.data_dir}")
    ]
    for name, check in _CHECKS.items():
        findings.extend(guarded(name, check(config, layout)))
    if all(finding.code != "LF-DOC-001" for finding in findings):
        for name, check in _CHECKS_INSIDE.items():
            findings.extend(guarded(name, check(config, layout)))
    return findings


_CHECKS = {
    "weights": machine.weights,
    "dciodvfy": machine.validator,
    "device": device,
    "precision": precision,
    "disk": machine.disk,
    "certificates": certificates.certificates,
    "worker": machine.worker,
    "callers": network.callers,
    "doors": network.doors,
    "orientation": network.orientation,
    "destinations": network.destinations,
    "notify": watching.notify,
}
_CHECKS_INSIDE = {
    "lock": records.lock,
    "privacy": machine.privacy,
    "databases": records.databases,
    "clock": clocks.clock,
    "sender clocks": clocks.sender_clocks,
    "port": network.port,
    "monitor": watching.monitor,
    "jobs": records.jobs,
    "held": records.held,
    "parts": records.parts,
    "streams": records.streams,
}
"""Those that look into the data directory."""
