"""The direction of the layers, and what the listening process must not load."""

import subprocess
import sys
from pathlib import Path

import pytest
from importlinter.cli import EXIT_STATUS_SUCCESS, lint_imports

ROOT = Path(__file__).parents[1]


def test_every_import_points_one_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    assert lint_imports(no_cache=True) == EXIT_STATUS_SUCCESS


@pytest.mark.parametrize(
    "module",
    [
        "lfmri_node.node.service",
        "lfmri_node.node.cli",
        "lfmri_node.dicom_io.receive.listener",
        "lfmri_node.dicom_io.deliver.cstore",
        "lfmri_node.dicom_io.objects.series",
        "lfmri_node.recon.types",
        "lfmri_node.recon.archive",
    ],
)
def test_loads_neither_torch_nor_sigpy(module: str) -> None:
    told = subprocess.run(
        [sys.executable, "-c", f"import sys, {module}; print(*sys.modules)"],
        check=True,
        capture_output=True,
        text=True,
    )
    loaded = {name.partition(".")[0] for name in told.stdout.split()}
    assert "lfmri_node" in loaded
    assert not loaded & {"torch", "sigpy", "numba"}


@pytest.mark.parametrize("short", ["recon", "dicom_io", "node"])
def test_no_second_copy_under_a_short_name(short: str) -> None:
    told = subprocess.run([sys.executable, "-c", f"import {short}"], cwd=ROOT, capture_output=True, text=True)
    assert told.returncode != 0
    assert f"import lfmri_node.{short}" in told.stderr
