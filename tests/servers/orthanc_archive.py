"""An Orthanc that stores what one AE title sends, answers its queries and commits to what it holds."""

from __future__ import annotations

import json
import socket
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from orthanc_api_client import OrthancApiClient

_WEB = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")


@dataclass(frozen=True)
class OrthancArchive:
    """A running one; reports of storage commitment go to ``report_port``, where a test may listen."""

    dicom_port: int
    report_port: int
    url: str
    client: OrthancApiClient
    calling: str

    def report_to(self, port: int) -> None:
        """Send the reports elsewhere from now on."""
        self.client.put(endpoint="modalities/node", json=_modality(self.calling, port))


def _modality(calling: str, report_port: int) -> dict[str, object]:
    return {
        "AET": calling,
        "Host": "127.0.0.1",
        "Port": report_port,
        "AllowStore": True,
        "AllowFind": True,
        "AllowStorageCommitment": True,
    }


def free_port() -> int:
    """A TCP port on loopback that nobody listens on at the moment."""
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def running_orthanc(program: Path, home: Path, *, calling: str, report_port: int) -> Iterator[OrthancArchive]:
    """Orthanc as a process on free ports with an empty store; ``calling``: the title that may send."""
    http, dicom = free_port(), free_port()
    settings = {
        "Plugins": [str(_WEB)] if _WEB.exists() else [],
        "DicomWeb": {"Enable": True, "Root": "/dicom-web/"},
        "StorageDirectory": str(home / "storage"),
        "IndexDirectory": str(home / "index"),
        "HttpPort": http,
        "DicomPort": dicom,
        "DicomAet": "ORTHANC",
        "DicomCheckCalledAet": True,
        "RemoteAccessAllowed": False,
        "AuthenticationEnabled": True,
        "RegisteredUsers": {"lfmri": "test"},
        "DicomModalities": {"node": _modality(calling, report_port)},
        "DicomAlwaysAllowStore": False,
        "OverwriteInstances": True,
    }
    (home / "orthanc.json").write_text(json.dumps(settings))
    with (home / "log").open("wb") as log:
        server = subprocess.Popen([program, str(home / "orthanc.json")], stdout=log, stderr=log)
    try:
        url = f"http://127.0.0.1:{http}"
        client = OrthancApiClient(url, user="lfmri", pwd="test")
        assert client.wait_started(timeout=120), (home / "log").read_text()
        yield OrthancArchive(
            dicom_port=dicom, report_port=report_port, url=url, client=client, calling=calling
        )
    finally:
        server.terminate()
        server.wait(timeout=30)
