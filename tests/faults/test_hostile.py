"""64 connections of every bad kind at once: others are served, memory stays small, the node goes on."""

import signal
import subprocess

import psutil
import pytest
from hostile import ATTACKS, under_attack
from surroundings import make_scan

SERVED_WITHIN_S = 5
MEMORY_MB = 400


def send(storescu, node, scan) -> None:
    """By DCMTK; fails where it takes longer than an honest sender is to wait."""
    command = [storescu, "-R", "-aet", "GATEWAY", "-aec", "LFMRI", "127.0.0.1", str(node.port), scan]
    subprocess.run(command, check=True, timeout=SERVED_WITHIN_S)


@pytest.mark.parametrize("kind", ATTACKS)
@pytest.mark.parametrize("source", ["127.0.0.1", "127.0.0.2"], ids=["listed", "stranger"])
def test_an_honest_sender_is_served_beside_64_hostile_connections(
    node, program, tmp_path, kind: str, source: str
) -> None:
    """Also where all of them come from the sender's own address, which the node cannot lock out."""
    storescu = program("storescu")
    (during,), (afterwards,) = make_scan(tmp_path, 1), make_scan(tmp_path, 2)
    with under_attack(node.port, ATTACKS[kind], source=source):
        send(storescu, node, during)
    send(storescu, node, afterwards)
    assert node.memory_mb() < MEMORY_MB
    assert node.stop() == 0


def test_a_node_under_attack_stops_by_sigterm(node) -> None:
    """Associations that nobody ends do not keep it."""
    assert node.process is not None
    with under_attack(node.port, ATTACKS["idle association"]):
        node.process.send_signal(signal.SIGTERM)
        assert node.process.wait(60) == 0
    assert not psutil.pid_exists(node.process.pid)
