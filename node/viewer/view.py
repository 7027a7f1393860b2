"""``lfmri-node viewer``: a folder of DICOM objects in OHIF."""

from __future__ import annotations

import signal
import tempfile
import webbrowser
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from orthanc_api_client import OrthancApiClient

from lfmri_node.node.errors import NodeError
from lfmri_node.node.terminal.tables import console
from lfmri_node.node.viewer.front import Front
from lfmri_node.node.viewer.ohif import ohif_files
from lfmri_node.node.viewer.orthanc_server import USER, OrthancServer, dicomweb_plugin, find_orthanc


@contextmanager
def shown(folder: Path, archive: Path | None = None, port: int = 0) -> Iterator[tuple[str, list[str]]]:
    """Show every DICOM object below ``folder``: address of the viewer, and of each study in it.

    The objects are copied into an Orthanc below a temporary folder, which is gone afterwards.

    Raises
    ------
    NodeError
        LF-CFG-030, LF-CFG-031 as `ohif_files`; LF-CFG-032 where Orthanc or its DICOMweb is not installed;
        LF-CFG-033 where the folder holds no DICOM object, or the port is taken; LF-DEL-010.
    """
    program, plugin = find_orthanc(), dicomweb_plugin()
    if program is None or plugin is None:
        missing = "Orthanc" if program is None else "the DICOMweb plugin of Orthanc"
        raise NodeError("LF-CFG-032", f"{missing} is not installed", "install orthanc and orthanc-dicomweb")
    objects = sorted(path for path in folder.rglob("*.dcm") if path.is_file())
    if not objects:
        raise NodeError(
            "LF-CFG-033", f"no DICOM object (*.dcm) lies below {folder}", "name the folder that holds them"
        )
    files = ohif_files(archive)
    with (
        tempfile.TemporaryDirectory(prefix="lfmri-viewer-") as scratch,
        OrthancServer(program, Path(scratch), plugins=[plugin]) as server,
    ):
        studies = _upload(OrthancApiClient(server.url, user=USER, pwd=server.password), objects)
        try:
            front = Front(files, server.port, f"{USER}:{server.password}", port)
        except OSError as error:
            raise NodeError("LF-CFG-033", f"port {port} cannot be used: {error}", "name another") from error
        with front:
            yield front.url, [front.study_url(study) for study in studies]


def _upload(client: OrthancApiClient, objects: Sequence[Path]) -> list[str]:
    """Store the objects; the Study Instance UIDs."""
    for path in objects:
        client.upload_file(path, ignore_errors=False)
    return [str(client.studies.get_tags(study)["StudyInstanceUID"]) for study in client.studies.get_all_ids()]


def show_until_signalled(folder: Path, *, archive: Path | None, port: int, browser: bool) -> None:
    """Show the folder until Ctrl-C or SIGTERM."""
    with shown(folder, archive, port) as (url, studies):
        for study in studies:
            console().print(study, style="bold", soft_wrap=True, markup=False)
        console().print(
            f"OHIF, for research only; all of it is at {url}. Ctrl-C ends it.", markup=False, soft_wrap=True
        )
        if browser:
            webbrowser.open(studies[0])
        signals = {signal.SIGINT, signal.SIGTERM}
        signal.pthread_sigmask(signal.SIG_BLOCK, signals)
        signal.sigwait(signals)
