"""A running node with numerics of a few lines and a PACS, for attacks from outside."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from archives import storage_pacs
from surroundings import Node


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    with (
        storage_pacs(tmp_path / "pacs", random.Random(0)) as pacs,
        Node(tmp_path / "node", "light", [pacs.destination("pacs")]) as node,
    ):
        assert node.start()
        yield node
