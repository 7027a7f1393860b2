"""Objects become files: checked while they have a temporary name, then given their own, all or none."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from io import BytesIO
from pathlib import Path

from pydicom.dataset import Dataset

from lfmri_node.dicom_io.errors import ObjectError
from lfmri_node.dicom_io.files import sync_directory, sync_file
from lfmri_node.dicom_io.objects.codes import Role
from lfmri_node.dicom_io.objects.validate import check, require_legal
from lfmri_node.dicom_io.types import EncodedObject


def publish(objects: Iterable[tuple[Role, Dataset]], out: Path) -> tuple[EncodedObject, ...]:
    """Write each object as ``<role>-<Instance Number>.dcm`` into ``out``.

    Every file is written and made durable under a temporary name and passes dciodvfy, while the next ones are
    still being encoded; only then does the first one get its name. A file that is there already with the same
    bytes is kept.

    Raises
    ------
    ObjectError
        LF-OBJ-004, LF-OBJ-005: see `validate`; LF-OBJ-006: a file of that name holds other bytes, which
        would be another object under the same UID. No file is changed.
    """
    out.mkdir(parents=True, exist_ok=True)
    staged: dict[Path, EncodedObject] = {}
    checks: dict[Path, Future[tuple[str, ...]]] = {}
    try:
        with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as beside:
            for role, dataset in objects:
                encoded, content = _encode(role, dataset, out)
                scratch = out / f".{encoded.path.name}.part"
                staged[scratch] = encoded
                scratch.write_bytes(content)
                checks[scratch] = beside.submit(_durable_and_checked, scratch)
        require_legal({scratch: found.result() for scratch, found in checks.items()})
        missing = [scratch for scratch, encoded in staged.items() if not is_there(encoded)]
        for scratch in missing:
            scratch.replace(staged[scratch].path)
    finally:
        for scratch in staged:
            scratch.unlink(missing_ok=True)
    sync_directory(out)
    return tuple(staged.values())


def _durable_and_checked(path: Path) -> tuple[str, ...]:
    sync_file(path)
    return check(path)


def _encode(role: Role, dataset: Dataset, out: Path) -> tuple[EncodedObject, bytes]:
    buffer = BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    content = buffer.getvalue()
    encoded = EncodedObject(
        path=out / f"{role}-{int(dataset.InstanceNumber):04d}.dcm",
        sha256=hashlib.sha256(content).hexdigest(),
        role=str(role),
        sop_class_uid=str(dataset.SOPClassUID),
        sop_instance_uid=str(dataset.SOPInstanceUID),
        series_instance_uid=str(dataset.SeriesInstanceUID),
    )
    return encoded, content


def is_there(encoded: EncodedObject) -> bool:
    """Whether the file exists with these bytes; an error where it exists with others."""
    if not encoded.path.exists():
        return False
    with encoded.path.open("rb") as file:
        if hashlib.file_digest(file, "sha256").hexdigest() == encoded.sha256:
            return True
    raise ObjectError(
        "LF-OBJ-006",
        f"{encoded.path.name} exists and holds another object under the same UID",
        "encoded objects are re-sent, never replaced; quarantine the job and keep both for comparison",
    )
