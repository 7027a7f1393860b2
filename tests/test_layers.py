"""The direction of the layers, and what the listening process must not load."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def test_every_import_points_one_way() -> None:
    """In a process of its own: import-linter switches off every logger that exists."""
    command = [str(Path(sys.executable).with_name("lint-imports")), "--no-cache"]
    told = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert told.returncode == 0, told.stdout


NUMERICS = {"torch", "sigpy", "numba"}
FILES = {"h5py", "ismrmrd"}


@pytest.mark.parametrize(
    ("module", "never"),
    [
        ("node.service", NUMERICS | FILES | {"highdicom"}),
        ("node.cli", NUMERICS | FILES | {"highdicom"}),
        ("node.console.app", NUMERICS | FILES | {"highdicom"}),
        ("dicom_io.receive.listener", NUMERICS | FILES | {"highdicom"}),
        ("dicom_io.deliver.cstore", NUMERICS | FILES | {"highdicom"}),
        ("dicom_io.objects.series", NUMERICS | FILES | {"pynetdicom"}),
        ("node.gateway.send", NUMERICS | {"highdicom"}),
        ("recon.mrd.measurement", NUMERICS | {"pydicom"}),
        ("recon.types", NUMERICS | FILES),
        ("recon.archive", NUMERICS | FILES),
        ("recon.reconstruct", {"pydicom", "dbos", "lightning", "monai", "matplotlib"}),
    ],
)
def test_what_a_module_brings_with_it(module: str, never: set[str]) -> None:
    told = subprocess.run(
        [sys.executable, "-c", f"import sys, lfmri_node.{module}; print(*sys.modules)"],
        check=True,
        capture_output=True,
        text=True,
    )
    loaded = {name.partition(".")[0] for name in told.stdout.split()}
    assert "lfmri_node" in loaded
    assert not loaded & never


@pytest.mark.parametrize("short", ["recon", "dicom_io", "node"])
def test_no_second_copy_under_a_short_name(short: str) -> None:
    told = subprocess.run([sys.executable, "-c", f"import {short}"], cwd=ROOT, capture_output=True, text=True)
    assert told.returncode != 0
    assert f"import lfmri_node.{short}" in told.stderr
