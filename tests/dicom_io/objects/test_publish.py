"""Encoded objects are on disk before the first of them has its name."""

import os
from pathlib import Path

from lfmri_node.dicom_io.objects.codes import Role
from lfmri_node.dicom_io.objects.publish import publish


def test_every_object_is_durable_before_the_first_has_its_name(delivered, tmp_path, monkeypatch):
    out = tmp_path / "out"
    steps: list[tuple[str, int]] = []
    fsync = os.fsync

    def recorded(descriptor: int) -> None:
        fsync(descriptor)
        synced = Path(f"/proc/self/fd/{descriptor}").readlink().relative_to(tmp_path)
        steps.append((str(synced), len(list(out.glob("*.dcm")))))

    monkeypatch.setattr(os, "fsync", recorded)
    images = delivered.read("lf-mri")[:2]
    publish([(Role.LF_MRI, image) for image in images], out)
    assert sorted(steps[:2]) == [("out/.lf-mri-0001.dcm.part", 0), ("out/.lf-mri-0002.dcm.part", 0)]
    assert steps[2:] == [("out", 2)]
