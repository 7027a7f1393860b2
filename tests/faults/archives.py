"""What is behind a node in the campaign: PACS, and the network on the way to them."""

from __future__ import annotations

import contextlib
import hashlib
import random
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

from archive import Archive, running
from orthanc_api_client import OrthancApiClient
from orthanc_api_client.exceptions import OrthancApiException
from pydicom import dcmread
from pydicom.dataset import Dataset

from lfmri_node.node.viewer.orthanc_server import USER, OrthancServer

Identity = tuple[str, int, int]
"""Study Instance UID, Series Number, Instance Number: what an object is, whatever its own UID."""


class Wire:
    """A TCP connection to a PACS that can misbehave.

    ``open``: everything passes. ``silent``: connections are taken and nothing is ever said. ``closed``:
    connections are ended at once. ``cut``: a connection is ended after some bytes, most often inside a PDU.
    """

    MOODS = ("open", "silent", "closed", "cut")

    def __init__(self, target: int, rng: random.Random) -> None:
        self.mood = "open"
        self._target = target
        self._rng = rng
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._server.getsockname()[1])
        self._held: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def change(self, mood: str) -> None:
        """Another mood; connections that were held in silence end."""
        self.mood = mood
        while self._held:
            self._held.pop().close()

    def _accept(self) -> None:
        while True:
            near, _ = self._server.accept()
            mood = self.mood
            if mood == "silent":
                self._held.append(near)
            elif mood == "closed":
                near.close()
            else:
                left = self._rng.randrange(1, 20_000) if mood == "cut" else None
                far = socket.create_connection(("127.0.0.1", self._target))
                for pair in ((near, far, left), (far, near, None)):
                    threading.Thread(target=self._pump, args=pair, daemon=True).start()

    @staticmethod
    def _pump(source: socket.socket, sink: socket.socket, left: int | None) -> None:
        """Pass bytes on, at most ``left``; then end both directions."""
        with contextlib.suppress(OSError):
            while left is None or left > 0:
                piece = source.recv(65536 if left is None else min(left, 65536))
                if not piece:
                    break
                left = None if left is None else left - len(piece)
                sink.sendall(piece)
        for side in (source, sink):
            with contextlib.suppress(OSError):
                side.shutdown(socket.SHUT_RDWR)
            side.close()


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """An object in a PACS: what it is, its UID, SHA-256 of its pixels."""

    identity: Identity
    uid: str
    pixels: str

    @classmethod
    def of(cls, dataset: Dataset) -> Held:
        (pixels,) = (dataset[name].value for name in ("PixelData", "FloatPixelData") if name in dataset)
        return cls(
            identity=(str(dataset.StudyInstanceUID), int(dataset.SeriesNumber), int(dataset.InstanceNumber)),
            uid=str(dataset.SOPInstanceUID),
            pixels=hashlib.sha256(pixels).hexdigest(),
        )


class StoragePacs:
    """An archive behind a wire, which commits to what it took."""

    def __init__(self, archive: Archive, wire: Wire, *, commitment: bool) -> None:
        self.archive, self.wire = archive, wire
        self._commitment = commitment

    def destination(self, name: str) -> str:
        commitment = "commitment = true\ncommitment_wait_s = 3\n" if self._commitment else ""
        return (
            f'[[destinations]]\nkind = "dicom"\nname = "{name}"\nhost = "127.0.0.1"\n'
            f'port = {self.wire.port}\nae_title = "PACS"\n{commitment}'
        )

    def n_studies(self) -> int:
        return self.archive.n_studies()

    def held(self) -> list[Held]:
        return [Held.of(dcmread(item.path)) for item in self.archive.instances().values()]

    def conflicts(self) -> int:
        """How often a known object came with other bytes, in more than when it was made."""
        return sum(item.conflicts for item in self.archive.instances().values())

    def remade(self) -> int:
        """How often a known object came again with another time of making."""
        return sum(item.remade for item in self.archive.instances().values())


class Orthanc:
    """Orthanc, which the node writes to by REST and reads back."""

    PASSWORD = "LFMRI_FAULTS_PASSWORD"

    def __init__(self, server: OrthancServer) -> None:
        self._server = server
        self._client = OrthancApiClient(server.url, user=USER, pwd=server.password)
        self._n_studies = 0

    @property
    def environment(self) -> dict[str, str]:
        return {self.PASSWORD: self._server.password}

    def destination(self, name: str) -> str:
        return (
            f'[[destinations]]\nkind = "orthanc"\nname = "{name}"\nurl = "{self._server.url}"\n'
            f'user = "{USER}"\npassword_env = "{self.PASSWORD}"\n'
        )

    def n_studies(self) -> int:
        """Of the last answer where none comes: a busy machine is no failure of the node."""
        with contextlib.suppress(OrthancApiException):
            self._n_studies = int(self._client.get_json("/statistics")["CountStudies"])
        return self._n_studies

    def held(self) -> list[Held]:
        names = self._client.get_json("/instances")
        return [Held.of(dcmread(BytesIO(self._client.instances.get_file(name)))) for name in names]

    def conflicts(self) -> int:
        """Orthanc keeps the first object of a UID; the node compares it with what it has sent."""
        return 0

    def remade(self) -> int:
        return 0


@contextlib.contextmanager
def storage_pacs(folder: Path, rng: random.Random, *, commitment: bool = False) -> Iterator[StoragePacs]:
    with running(folder, rng) as archive:
        yield StoragePacs(archive, Wire(archive.port, rng), commitment=commitment)
