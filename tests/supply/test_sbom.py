"""The bill of materials names every package of this environment, as it was installed, with its licence."""

import json
import re
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def name_of(text: str) -> str:
    """As PyPI compares names (PEP 503)."""
    return re.sub(r"[-_.]+", "-", text).lower()


@pytest.fixture(scope="module")
def bill(tmp_path_factory: pytest.TempPathFactory) -> dict:
    out = tmp_path_factory.mktemp("sbom") / "bill.json"
    command = re.findall(r"^\t@\$\(BIN\)/(cyclonedx-py .*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)[
        0
    ]
    words = [str(out) if word == "$(SBOM)" else word for word in command.split()]
    words[0] = str(Path(__import__("sys").executable).with_name(words[0]))
    words = [word.replace("$(BIN)", str(Path(words[0]).parent)) for word in words]
    subprocess.run(words, check=True, cwd=ROOT, capture_output=True)
    return json.loads(out.read_text(encoding="utf-8"))


def test_it_is_about_this_package(bill: dict) -> None:
    assert (bill["bomFormat"], bill["specVersion"]) == ("CycloneDX", "1.6")
    assert name_of(bill["metadata"]["component"]["name"]) == "lfmri-node"


def test_every_constraint_that_is_installed_is_in_it_with_its_version(bill: dict) -> None:
    found = {name_of(part["name"]): part["version"].partition("+")[0] for part in bill["components"]}
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pinned = dict(line.split("==") for line in lines if "==" in line and not line.startswith("#"))
    for name, wanted in pinned.items():
        try:
            version(name)
        except PackageNotFoundError:
            continue  # of another platform
        assert found.get(name_of(name)) == wanted, name


def test_the_packages_that_the_node_needs_have_a_licence(bill: dict) -> None:
    needed = ("pydicom", "pynetdicom", "highdicom", "torch", "numpy", "h5py", "pydantic")
    parts = {name_of(part["name"]): part for part in bill["components"]}
    assert [name for name in needed if not parts[name].get("licenses")] == []
