"""64 connections of every bad kind at once: others are served, memory stays small, the node goes on."""

import random
import subprocess
from collections.abc import Iterator
from pathlib import Path
from time import monotonic

import pytest
from archives import storage_pacs
from hostile import ATTACKS, under_attack
from scans import make_scan
from surroundings import Node

SERVED_WITHIN_S = 5.0
MEMORY_MB = 400


class Target:
    """A node, and an honest sender that knows how long it needs when nobody else is there."""

    def __init__(self, node: Node, storescu: Path, folder: Path) -> None:
        self.node = node
        self._storescu = storescu
        self._folder = folder
        self._number = 0
        self._calm_s = 60.0
        begun = monotonic()
        self.send()
        self._calm_s = monotonic() - begun

    def send(self) -> None:
        """Another scan, by DCMTK; where all places are taken it asks again, as a gateway does.

        Fails where that takes too long (a busy machine gets more).
        """
        self._number += 1
        (scan,) = make_scan(self._folder, self._number)
        called = ["-aet", "GATEWAY", "-aec", "LFMRI", "127.0.0.1", str(self.node.port)]
        limit_s = SERVED_WITHIN_S + 4 * self._calm_s
        begun = monotonic()
        while subprocess.run([self._storescu, "-R", *called, scan], check=False, timeout=limit_s).returncode:
            assert monotonic() - begun < limit_s, "the honest sender is not served"


@pytest.fixture(scope="module")
def target(program, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    """One node for all attacks: what one leaves behind is there at the next."""
    folder = tmp_path_factory.mktemp("hostile")
    with (
        storage_pacs(folder / "pacs", random.Random(0)) as pacs,
        Node(folder / "node", "light", [pacs.destination("pacs")]) as node,
    ):
        assert node.start()
        yield Target(node, program("storescu"), folder)


@pytest.mark.parametrize("kind", ATTACKS)
@pytest.mark.parametrize("source", ["127.0.0.1", "127.0.0.2"], ids=["listed", "stranger"])
def test_an_honest_sender_is_served_beside_64_hostile_connections(target, kind: str, source: str) -> None:
    """Also where all of them come from the sender's own address, which the node cannot lock out."""
    with under_attack(target.node.port, ATTACKS[kind], source=source):
        target.send()
    target.send()
    assert target.node.memory_mb() < MEMORY_MB
    assert target.node.alive


def test_a_node_under_attack_stops_by_sigterm(node) -> None:
    """Associations that nobody ends do not keep it."""
    with under_attack(node.port, ATTACKS["idle association"]):
        assert node.stop() == 0
