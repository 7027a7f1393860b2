"""The private block as another vendor reads it: by the statement's table and rules, with pydicom alone."""

import hashlib
import re
from collections.abc import Sequence
from pathlib import Path

import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset

from lfmri_node.dicom_io.raw_data.wrap import wrap

STATEMENT = Path(__file__).parents[2] / "deploy" / "docs" / "conformance.md"


def stated() -> tuple[str, dict[str, int]]:
    """Private Creator, and name -> number of each element, from the statement's table."""
    _, _, text = STATEMENT.read_text(encoding="utf-8").partition("<!-- generated: private-block -->")
    table, _, _ = text.partition("<!-- end -->")
    (creator,) = re.findall(r"Private Creator \| `([^`]+)`", table)
    rows = re.findall(r"\(7FD1,xx(\w\w)\) \| \w\w \| 1 \| \w+ \| ([^|]+) \|", table)
    return creator, {name: int(number, 16) for number, name in rows}


def read_file(objects: Sequence[Dataset]) -> tuple[str, bytes]:
    """Name of the HDF5 group and the ISMRMRD file; checks what A.A.7.3 lets a reader check."""
    creator, number = stated()
    parts: dict[int, bytes] = {}
    for dataset in objects:
        block = dataset.private_block(0x7FD1, creator)
        said = {name: block[n].value for name, n in number.items() if n in block}
        assert said["Format"] == "ISMRMRD-HDF5"
        assert len(said["Payload"]) == said["Part Length"] + said["Part Length"] % 2
        part = said["Payload"][: said["Part Length"]]
        assert hashlib.sha256(part).hexdigest() == said["Part SHA-256"]
        assert said["Number of Parts"] == len(objects)
        parts[said["Part Number"]] = part
    file = b"".join(parts[n] for n in range(1, len(objects) + 1))
    assert len(file) == int(said["File Length"])
    assert hashlib.sha256(file).hexdigest() == said["File SHA-256"]
    return said["HDF5 Group"], file


@pytest.mark.parametrize("n_parts", [1, 2, 5])
def test_a_reader_made_from_the_statement_gets_the_file_back(tmp_path: Path, n_parts: int) -> None:
    sent = bytes(range(256)) * 3 + b"odd"
    scan = tmp_path / "scan.h5"
    scan.write_bytes(sent)
    who = {"PatientID": "4711", "StudyInstanceUID": "1.2.826.0.1.3680043.8.498.1"}
    paths = wrap(scan, tmp_path, who, group="knee", max_part_bytes=-(-len(sent) // n_parts))
    assert len(paths) == n_parts
    assert read_file([dcmread(path) for path in reversed(paths)]) == ("knee", sent)
