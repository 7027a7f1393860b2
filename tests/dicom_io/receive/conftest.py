"""Shared by the tests of the listener: scripted peers."""

from collections.abc import Callable, Iterator

import pytest
from peer import Peer


@pytest.fixture
def peers() -> Iterator[Callable[..., Peer]]:
    """``peers(port)``: a connection, closed at the end."""
    opened: list[Peer] = []

    def connect(port: int, address: str = "127.0.0.1") -> Peer:
        opened.append(Peer(port, address))
        return opened[-1]

    yield connect
    for peer in opened:
        peer.socket.close()
