"""What is installed is what is on disk: the package list, and the wheel somewhere else."""

import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LAYERS = ("node", "dicom_io", "recon")
DATA = {".py", ".typed", ".safetensors", ".json", ".md", ".html", ".css", ".js", ".svg"}

RECONSTRUCT = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
import lfmri_node.recon
from lfmri_node.recon.phantom.demo_scan import write_demo_scan
from lfmri_node.recon.mrd.measurement import open_measurement
from lfmri_node.recon.reconstruct import reconstruct
from lfmri_node.recon.types import ReconSettings
from lfmri_node.recon.method.weights import load_model
scan = Path("scan.h5")
write_demo_scan(scan, n_slices=2)
model = load_model()
with open_measurement(scan) as measurement:
    done = reconstruct(measurement.scan(0, 0), model, ReconSettings())
print(lfmri_node.recon.__file__)
print(done.quality.verdict, done.provenance.weights_sha256 == model.sha256, done.image.shape)
"""


def packaged() -> list[str]:
    """Packages on disk, under their installed names."""
    found = [
        init.parent.relative_to(ROOT) for layer in LAYERS for init in (ROOT / layer).rglob("__init__.py")
    ]
    return sorted(".".join(("lfmri_node", *path.parts)) for path in found)


def files_on_disk() -> set[str]:
    """Modules and data of the packages, under their names in the wheel."""
    paths = [path for layer in LAYERS for path in (ROOT / layer).rglob("*") if path.suffix in DATA]
    return {f"lfmri_node/{path.relative_to(ROOT)}" for path in paths}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from a copy, so that nothing is left in the sources."""
    copy, out = tmp_path_factory.mktemp("sources"), tmp_path_factory.mktemp("wheel")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, copy)
    for layer in LAYERS:
        shutil.copytree(ROOT / layer, copy / layer, ignore=shutil.ignore_patterns("__pycache__"))
    pip("wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", str(out), str(copy))
    return next(out.glob("*.whl"))


@pytest.fixture(scope="module")
def elsewhere(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel installed in a folder of its own."""
    target = tmp_path_factory.mktemp("elsewhere")
    pip("install", "--no-deps", "--target", str(target), str(wheel))
    return target


def pip(*arguments: str) -> None:
    command = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", *arguments]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_the_package_list_names_every_package_on_disk() -> None:
    with (ROOT / "pyproject.toml").open("rb") as file:
        setuptools = tomllib.load(file)["tool"]["setuptools"]
    assert sorted(setuptools["packages"]) == packaged()


def test_the_wheel_holds_every_module_and_the_data_beside_them(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        held = {name for name in archive.namelist() if not name.split("/")[0].endswith(".dist-info")}
    assert held == files_on_disk()


def test_the_installed_wheel_imports_from_where_it_was_installed(elsewhere: Path) -> None:
    code = "import sys; sys.path.insert(0, sys.argv[1]); import lfmri_node.recon as r; print(r.__file__)"
    told = subprocess.run(
        [sys.executable, "-c", code, str(elsewhere)],
        cwd=elsewhere,
        capture_output=True,
        text=True,
        check=True,
    )
    assert Path(told.stdout.strip()).is_relative_to(elsewhere)


def test_the_installed_wheel_reconstructs_with_the_shipped_weights(elsewhere: Path, tmp_path: Path) -> None:
    if not list((ROOT / "recon" / "models").glob("*.safetensors")):
        pytest.skip("no weights are shipped yet")
    told = subprocess.run(
        [sys.executable, "-c", RECONSTRUCT, str(elsewhere)], cwd=tmp_path, capture_output=True, text=True
    )
    assert told.returncode == 0, told.stderr
    where, answer = told.stdout.splitlines()
    assert Path(where).is_relative_to(elsewhere)
    assert answer == "TRUSTED True (2, 192, 192)"
