"""A scanner that streams a measurement, written from the description of the MRD streaming protocol alone.

Message numbers, the 1024 bytes of a configuration file's name, and the 32-bit lengths of header and texts are
those of the protocol's documentation; nothing of the node and nothing of the ``ismrmrd`` package is used.
"""

from __future__ import annotations

import json
import socket
import ssl
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np

CONFIG_FILE, CONFIG_TEXT, HEADER, CLOSE, TEXT = 1, 2, 3, 4, 5
ACQUISITION, IMAGE, WAVEFORM = 1008, 1022, 1026


@dataclass(frozen=True)
class ReceivedImage:
    """An image that came back: its header's bytes, its attributes as XML, its pixels' bytes."""

    head: bytes
    attributes: str
    pixels: bytes

    @property
    def data_type(self) -> int:
        return struct.unpack_from("<H", self.head, 2)[0]

    @property
    def matrix(self) -> tuple[int, int, int]:
        return struct.unpack_from("<3H", self.head, 16)

    @property
    def array(self) -> np.ndarray:
        kind = {1: "<u2", 2: "<i2", 5: "<f4"}[self.data_type]
        x, y, z = self.matrix
        return np.frombuffer(self.pixels, dtype=kind).reshape(z, y, x)


def number(value: int) -> bytes:
    return struct.pack("<H", value)


def text(kind: int, content: bytes) -> bytes:
    return number(kind) + struct.pack("<I", len(content)) + content


def config_file(name: str) -> bytes:
    return number(CONFIG_FILE) + name.encode().ljust(1024, b"\0")


def acquisition(head: bytes, trajectory: bytes, samples: bytes) -> bytes:
    assert len(head) == 340
    return number(ACQUISITION) + head + trajectory + samples


def waveform(values: np.ndarray) -> bytes:
    """Values u32 (channels, samples) under a head of 40 bytes, aligned as a C compiler does."""
    channels, samples = values.shape
    head = struct.pack("<H6xQIIIHHfH2x", 1, 0, 7, 0, 0, samples, channels, 2.5, 1)
    assert len(head) == 40
    return number(WAVEFORM) + head + values.astype("<u4").tobytes()


def messages(h5: Path, config: str = "default.xml") -> Iterator[bytes]:
    """Everything that a scanner says of the measurement in a file, its close included."""
    yield config_file(config)
    with h5py.File(h5) as file:
        group = file["dataset"]
        yield text(HEADER, group["xml"][0])
        for row in group["data"]:
            yield acquisition(row["head"].tobytes(), row["traj"].tobytes(), row["data"].tobytes())
    yield number(CLOSE)


class Sender:
    """One connection to a node."""

    def __init__(self, port: int, tls: ssl.SSLContext | None = None) -> None:
        plain = socket.create_connection(("127.0.0.1", port))
        self.connection = plain if tls is None else tls.wrap_socket(plain, server_hostname="127.0.0.1")
        self._stream = self.connection.makefile("rb")

    def __enter__(self) -> Sender:
        return self

    def __exit__(self, *_: object) -> None:
        self._stream.close()
        self.connection.close()

    def say(self, *parts: bytes) -> None:
        for part in parts:
            self.connection.sendall(part)

    def leave(self) -> None:
        """Say no more; what the node answers can still be heard."""
        self.connection.shutdown(socket.SHUT_WR)

    def answer(self) -> tuple[dict[str, Any], list[ReceivedImage]]:
        """The closing text, JSON, and the images before it; up to the close message."""
        said: dict[str, Any] = {}
        images = []
        while True:
            (kind,) = struct.unpack("<H", self._exactly(2))
            if kind == CLOSE:
                assert self._stream.read() == b""
                return said, images
            if kind == IMAGE:
                images.append(self._image())
            else:
                assert kind == TEXT
                (length,) = struct.unpack("<I", self._exactly(4))
                said = json.loads(self._exactly(length))

    def _image(self) -> ReceivedImage:
        head = self._exactly(198)
        (length,) = struct.unpack("<Q", self._exactly(8))
        attributes = self._exactly(length).decode()
        x, y, z, channels = (*struct.unpack_from("<3H", head, 16), struct.unpack_from("<H", head, 34)[0])
        size = {1: 2, 2: 2, 5: 4}[struct.unpack_from("<H", head, 2)[0]]
        return ReceivedImage(head, attributes, self._exactly(x * y * z * channels * size))

    def _exactly(self, n: int) -> bytes:
        data = self._stream.read(n)
        assert len(data) == n, "the node closed before its close message"
        return data


def stream(port: int, h5: Path, config: str = "default.xml") -> tuple[dict[str, Any], list[ReceivedImage]]:
    """Stream a whole measurement; what is answered."""
    with Sender(port) as sender:
        sender.say(*messages(h5, config))
        return sender.answer()
