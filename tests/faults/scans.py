"""Scans of the campaign, and a gateway that sends one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from pydicom import dcmread
from pydicom.uid import ExplicitVRLittleEndian, RawDataStorage
from pynetdicom import AE

from lfmri_node.dicom_io.raw_data.wrap import wrap
from lfmri_node.recon.mrd.write import ScanLayout, open_writer
from lfmri_node.recon.phantom.body import phantom_volume
from lfmri_node.recon.phantom.coils import loop_coils
from lfmri_node.recon.sense.fourier import fft_axis
from lfmri_node.recon.types import SequenceInfo


def study_of(number: int) -> str:
    return f"2.25.{990_000_000 + number}"


def write_file(number: int, path: Path, *, likeness: int | None = None) -> dict[str, str]:
    """An ISMRMRD file of a phantom, 2 slices of 32 x 32, 4 coils; returns whose it is, as DICOM attributes.

    Every number is another patient.

    Parameters
    ----------
    likeness
        Number of the scan whose images it shall have; its own without it. The files differ all the same.
    """
    rng = np.random.default_rng(number if likeness is None else likeness)
    size, n_slices = 32, 2
    maps = loop_coils(4, (size, size), rng)
    layout = ScanLayout(
        matrix=(size, size, 1),
        field_of_view_mm=(192.0, 192.0, 5.0),
        n_coils=4,
        positions_mm=tuple((0.0, 0.0, 6.0 * s) for s in range(n_slices)),
        sequences=(SequenceInfo(protocol=f"campaign {number}", repetition_time_ms=500.0, echo_time_ms=10.0),),
    )
    with open_writer(path, layout) as writer:
        for s, plane in enumerate(phantom_volume(n_slices, (size, size), rng)):
            kspace = fft_axis(fft_axis(maps * plane[None], -1), -2)
            noise = rng.standard_normal((*kspace.shape, 2)) @ np.array([1.0, 1.0j])
            lines = (kspace + 0.01 * noise).astype(np.complex64).transpose(2, 0, 1)
            writer.lines(lines, np.arange(size), slice_counter=s)
    return {
        "PatientID": f"CAMPAIGN-{number}",
        "PatientName": "Phantom^Campaign",
        "StudyInstanceUID": study_of(number),
        "StudyDate": "20260101",
        "StudyTime": "120000",
    }


def make_scan(folder: Path, number: int, *, likeness: int | None = None) -> list[Path]:
    """Raw Data objects of a scan; see `write_file`."""
    target = folder / f"scan-{number:04d}"
    target.mkdir(parents=True)
    whose = write_file(number, target / "scan.h5", likeness=likeness)
    return wrap(target / "scan.h5", target, whose)


def store(path: Path, port: int, *, limit_s: float = 60.0) -> int | None:
    """C-STORE by a plain pynetdicom SCU; the status, None where there was no answer."""
    entity = AE("GATEWAY")
    entity.add_requested_context(RawDataStorage, ExplicitVRLittleEndian)
    entity.connection_timeout = entity.acse_timeout = entity.dimse_timeout = entity.network_timeout = limit_s
    association = entity.associate("127.0.0.1", port, ae_title="LFMRI")
    if not association.is_established:
        return None
    try:
        answer = association.send_c_store(dcmread(path))
        return int(answer.Status) if "Status" in answer else None
    except RuntimeError:  # the association ended since it was looked at
        return None
    finally:
        association.release()
