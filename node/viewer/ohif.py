"""The built files of OHIF, fetched once from the npm registry and kept in the user's cache.

OHIF Viewer, MIT licence, Open Health Imaging Foundation. Nothing of it is part of this project.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tarfile
import tempfile
import urllib.error
import urllib.request
from http.client import HTTPException
from pathlib import Path, PurePosixPath

from lfmri_node.node.errors import NodeError

VERSION = "3.13.2"
URL = f"https://registry.npmjs.org/@ohif/app/-/app-{VERSION}.tgz"
SHA256 = "b189d3963bfc58e9394a9db8c7be75d07beb029ec211dbb126d47b62969dd3f1"
_ROOT = PurePosixPath("package/dist")
_NOT_NEEDED = ("ort", "dicom-microscopy-viewer")
"""Folders for models and for slides: three quarters of the files."""
_TIMEOUT_S = 60.0
_CHUNK = 1 << 20


def cached() -> Path:
    """Where the files lie, or will: below ``XDG_CACHE_HOME``, else ``~/.cache``."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "lfmri-node" / f"ohif-{VERSION}"


def ohif_files(archive: Path | None = None) -> Path:
    """The folder with OHIF's ``index.html``; what is not there yet is unpacked, and fetched, first.

    Parameters
    ----------
    archive
        `URL` as a file, for a machine without a way to the registry; it takes the place of what is there.

    Raises
    ------
    NodeError
        LF-CFG-030 where the archive cannot be fetched or read, LF-CFG-031 where it is another one.
    """
    folder = cached()
    if archive is None and (folder / "index.html").is_file():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as name:
        scratch = Path(name)
        if archive is None:
            archive = scratch / "ohif.tgz"
            _fetch(archive)
        _unpack(archive, scratch / "files")
        shutil.rmtree(folder, ignore_errors=True)
        (scratch / "files" / _ROOT).rename(folder)
    return folder


def _fetch(target: Path) -> None:
    try:
        with urllib.request.urlopen(URL, timeout=_TIMEOUT_S) as answer, target.open("wb") as file:
            shutil.copyfileobj(answer, file, _CHUNK)
    except (OSError, HTTPException) as error:
        raise NodeError(
            "LF-CFG-030",
            f"OHIF {VERSION} cannot be fetched: {error}",
            f"fetch {URL} elsewhere and name the file by --ohif",
        ) from error


def _unpack(archive: Path, target: Path) -> None:
    try:
        with archive.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        if digest != SHA256:
            raise NodeError(
                "LF-CFG-031", f"{archive.name} is not OHIF {VERSION}: its SHA-256 differs", f"fetch {URL}"
            )
        with tarfile.open(archive) as tar:
            tar.extractall(target, [one for one in tar if _needed(one)], filter="data")
    except (OSError, tarfile.TarError) as error:
        raise NodeError(
            "LF-CFG-030", f"{archive.name} cannot be unpacked: {error}", "fetch it again"
        ) from error


def _needed(member: tarfile.TarInfo) -> bool:
    path = PurePosixPath(member.name)
    return _ROOT in path.parents and path.parts[2] not in _NOT_NEEDED and path.suffix != ".map"
