"""The PACS of the demonstration: Orthanc where it is installed, else the embedded one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from orthanc_api_client import OrthancApiClient

from lfmri_node.dicom_io.types import EncodedObject
from lfmri_node.node.demo.pacs import Pacs, dataset_sha256
from lfmri_node.node.errors import NodeError
from lfmri_node.node.viewer.orthanc_server import USER, OrthancServer, find_orthanc

_PASSWORD = "LFMRI_DEMO_ORTHANC_PASSWORD"


class DemoPacs(Protocol):
    """What the demonstration needs of a PACS."""

    @property
    def title(self) -> str: ...

    @property
    def destination(self) -> str:
        """The ``[[destinations]]`` table that points at it."""
        ...

    @property
    def environment(self) -> Mapping[str, str]:
        """Variables that the node needs to reach it."""
        ...

    def differences(self, objects: Sequence[EncodedObject]) -> dict[str, str]:
        """SOP Instance UID -> what is wrong with what the PACS holds of an object; empty: all is well."""
        ...


@contextmanager
def open_pacs(kind: str, folder: Path) -> Iterator[DemoPacs]:
    """Start a PACS of a kind: ``auto``, ``orthanc`` or ``embedded``.

    Raises
    ------
    NodeError
        LF-DEL-011 where Orthanc was asked for and is not installed.
    """
    program = find_orthanc() if kind != "embedded" else None
    if kind == "orthanc" and program is None:
        raise NodeError(
            "LF-DEL-011", "Orthanc is not installed", "install the package orthanc, or use --pacs embedded"
        )
    if program is not None:
        with OrthancServer(program, folder) as server:
            yield _OrthancPacs(server=server)
    else:
        with Pacs(folder) as pacs:
            yield _EmbeddedPacs(pacs=pacs)


@dataclass(frozen=True, slots=True, kw_only=True)
class _EmbeddedPacs:
    pacs: Pacs
    title: str = "the embedded PACS (C-STORE)"
    environment: Mapping[str, str] = field(default_factory=dict)

    @property
    def destination(self) -> str:
        return (
            f'[[destinations]]\nkind = "dicom"\nname = "pacs"\nhost = "{self.pacs.host}"\n'
            f'port = {self.pacs.port}\nae_title = "{self.pacs.ae_title}"\n'
        )

    def differences(self, objects: Sequence[EncodedObject]) -> dict[str, str]:
        held = {item.sop_instance_uid: item.dataset_sha256 for item in self.pacs.instances()}
        wrong = {}
        for item in objects:
            if item.sop_instance_uid not in held:
                wrong[item.sop_instance_uid] = "missing"
            elif held[item.sop_instance_uid] != dataset_sha256(item.path):
                wrong[item.sop_instance_uid] = "other bytes"
        return wrong


@dataclass(frozen=True, slots=True, kw_only=True)
class _OrthancPacs:
    server: OrthancServer

    @property
    def title(self) -> str:
        return f"Orthanc (REST) at {self.server.url}"

    @property
    def destination(self) -> str:
        return (
            f'[[destinations]]\nkind = "orthanc"\nname = "orthanc"\nurl = "{self.server.url}"\n'
            f'user = "{USER}"\npassword_env = "{_PASSWORD}"\n'
        )

    @property
    def environment(self) -> Mapping[str, str]:
        return {_PASSWORD: self.server.password}

    def differences(self, objects: Sequence[EncodedObject]) -> dict[str, str]:
        client = OrthancApiClient(self.server.url, user=USER, pwd=self.server.password)
        wrong = {}
        for item in objects:
            found = client.instances.lookup(item.sop_instance_uid)
            if found is None:
                wrong[item.sop_instance_uid] = "missing"
            elif client.instances.get_file(found) != item.path.read_bytes():
                wrong[item.sop_instance_uid] = "other bytes"
        return wrong
