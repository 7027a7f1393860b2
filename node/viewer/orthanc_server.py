"""An Orthanc of our own for viewer, demonstration and tests: free port, loopback, own folder, password."""

from __future__ import annotations

import json
import secrets
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from base64 import b64encode
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

from lfmri_node.node.errors import NodeError

USER = "lfmri"
_START_LIMIT_S = 30.0
_POLL_S = 0.1
_PLACES = ("/usr/sbin", "/usr/local/sbin")
_PLUGINS = ("/usr/share/orthanc/plugins", "/usr/local/share/orthanc/plugins")


def find_orthanc() -> Path | None:
    """The program, where it is installed."""
    found = shutil.which("Orthanc") or shutil.which("Orthanc", path=":".join(_PLACES))
    return Path(found) if found else None


def dicomweb_plugin() -> Path | None:
    """Orthanc's DICOMweb plugin, where it is installed."""
    places = (Path(place) / "libOrthancDicomWeb.so" for place in _PLUGINS)
    return next((place for place in places if place.is_file()), None)


class OrthancServer:
    """Starts Orthanc with its REST API and ``plugins``, and stops it.

    Orthanc 1.10 binds every interface, so the DICOM port stays closed, and HTTP refuses remote
    callers and asks for a random password.

    Parameters
    ----------
    overwrite
        Keep the last object of a SOP Instance UID; else the first, as Orthanc does unless it is told.
    """

    def __init__(
        self, program: Path, folder: Path, *, plugins: Sequence[Path] = (), overwrite: bool = True
    ) -> None:
        self.password = secrets.token_urlsafe(16)
        self.port = _free_port()
        self._program = program
        self._plugins = [str(plugin) for plugin in plugins]
        self._folder = folder
        self._overwrite = overwrite
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> OrthancServer:
        """Start and wait until it answers.

        Raises
        ------
        NodeError
            LF-DEL-010 where it does not start.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        settings = self._folder / "orthanc.json"
        settings.write_text(json.dumps(self._settings()), encoding="utf-8")
        with (self._folder / "orthanc.log").open("wb") as log:
            self._process = subprocess.Popen([str(self._program), str(settings)], stdout=log, stderr=log)
        deadline = time.monotonic() + _START_LIMIT_S
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self._stop()
                raise NodeError(
                    "LF-DEL-010",
                    "Orthanc did not start",
                    f"see {self._folder / 'orthanc.log'}",
                )
            time.sleep(_POLL_S)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()

    def _stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait()
            self._process = None

    def _answers(self) -> bool:
        login = b64encode(f"{USER}:{self.password}".encode()).decode()
        request = urllib.request.Request(f"{self.url}/system", headers={"Authorization": f"Basic {login}"})
        try:
            with urllib.request.urlopen(request, timeout=5.0) as answer:
                return bool(answer.status == 200)
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            return False

    def _settings(self) -> dict[str, object]:
        return {
            "Name": "lfmri-node demonstration",
            "StorageDirectory": str((self._folder / "storage").absolute()),
            "IndexDirectory": str((self._folder / "index").absolute()),
            "Plugins": self._plugins,
            "HttpPort": self.port,
            "HttpCompressionEnabled": False,
            "RemoteAccessAllowed": False,
            "AuthenticationEnabled": True,
            "RegisteredUsers": {USER: self.password},
            "DicomServerEnabled": False,
            "OverwriteInstances": self._overwrite,
            "DicomWeb": {"Enable": True, "Root": "/dicom-web/", "EnableWado": True, "WadoRoot": "/wado"},
        }


def _free_port() -> int:
    with socket.socket() as trial:
        trial.bind(("127.0.0.1", 0))
        return int(trial.getsockname()[1])
