"""What the tests of the doors share: whose the scans are, a configuration, the port that a node took."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lfmri_node.recon.types import ScanIdentity

if TYPE_CHECKING:
    from conftest import Node

IDENTITY = ScanIdentity(
    patient_id="SENTINEL-4711", patient_name="Zzyzx^Sentinella", study_instance_uid="2.25.4711"
)
MRD = """
[mrd]
port = 0
max_connections = 3
max_per_address = 3
request_timeout_s = 20
network_timeout_s = 20
allow = [{ae_title = "SCANNER", address = "127.0.0.1"}]
"""


def port_of(node: Node) -> int:
    """The port of the MRD door of a node that has said it."""
    (line,) = [line for line in node.lines if " mrd.ready " in line][-1:]
    return int(line.split("port=")[1].split()[0])
