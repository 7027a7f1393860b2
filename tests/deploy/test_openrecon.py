"""The OpenRecon-shaped package: a label of the public schema's form, and files with names of the label."""

import base64
import json
import os
import re
import subprocess
import zipfile
from pathlib import Path

import pytest

from lfmri_node.node.config import load

FOLDER = Path(__file__).parents[2] / "deploy" / "openrecon"
NAME = "com.siemens-healthineers.magneticresonance.openrecon.metadata:1.1.0"
REGULATORY = {
    "device_trade_name",
    "production_identifier",
    "manufacturer_address",
    "made_in",
    "manufacture_date",
    "material_number",
    "gtin",
    "udi",
    "safety_advices",
    "special_operating_instructions",
    "additional_relevant_information",
}


@pytest.fixture(scope="module")
def label():
    return json.loads((FOLDER / "label.json").read_text(encoding="utf-8"))


def test_the_label_says_who_it_is(label):
    assert set(label) == {"general", "reconstruction", "parameters"}
    general = label["general"]
    assert set(general) == {"name", "version", "vendor", "information", "id", "regulatory_information"}
    assert re.fullmatch(r"\d+\.\d+\.\d+", general["version"])
    assert set(general["regulatory_information"]) == REGULATORY
    assert all(isinstance(value, str) for value in general["regulatory_information"].values())
    for part in (general["vendor"], general["name"]["en"], general["id"]):
        assert re.fullmatch(r"[A-Za-z0-9]+", part)  # they are parts of a file's name, between underscores


def test_the_label_asks_for_raw_data_by_mrd_and_promises_nothing(label):
    wanted = label["reconstruction"]
    assert wanted["transfer_protocol"] == {"protocol": "ISMRMRD", "version": "1.4.1"}
    assert wanted["content_qualification_type"] == "RESEARCH"
    assert (wanted["emitter"], wanted["injector"]) == ("raw", "image")
    assert wanted["port"] == load(FOLDER / "node.toml").mrd.port
    assert wanted["can_use_gpu"] is False  # never tried
    numbers = ("min_count_required_gpus", "min_required_gpu_memory", "min_required_memory")
    assert all(isinstance(wanted[name], int) for name in numbers)
    assert wanted["min_count_required_cpu_cores"] >= 1


def test_the_one_parameter_is_the_configuration(label):
    (parameter,) = label["parameters"]
    assert (parameter["id"], parameter["type"]) == ("config", "choice")
    assert parameter["default"] in [value["id"] for value in parameter["values"]]


def test_the_node_beside_the_scanner_takes_streams_and_no_dicom():
    config = load(FOLDER / "node.toml")
    assert config.listener.allow == ()
    assert config.listener.host == "127.0.0.1"
    (caller,) = config.mrd.allow
    assert caller.address != "0.0.0.0/0"


DOCKER = """#!/usr/bin/env python3
import json, pathlib, sys
here = pathlib.Path(__file__).parent
with (here / "calls").open("a") as calls:
    calls.write(json.dumps(sys.argv[1:]) + "\\n")
if sys.argv[1] == "save":
    pathlib.Path(sys.argv[sys.argv.index("-o") + 1]).write_bytes(b"image")
"""


def test_the_package_has_the_names_of_the_label(label, tmp_path):
    """A stand-in writes down what the container engine is asked for."""
    docker = tmp_path / "docker"
    docker.write_text(DOCKER)
    docker.chmod(0o755)
    guide = tmp_path / "guide.pdf"
    guide.write_bytes(b"%PDF-1.4")
    environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    out = tmp_path / "out"
    subprocess.run(["sh", FOLDER / "package.sh", guide, out], env=environment, check=True, timeout=60)
    general = label["general"]
    name = f"OpenRecon_{general['vendor']}_{general['name']['en']}_V{general['version']}"
    with zipfile.ZipFile(out / f"{name}.zip") as package:
        assert sorted(package.namelist()) == [f"{name}.pdf", f"{name}.tar"]
    build, save = (json.loads(line) for line in (tmp_path / "calls").read_text().splitlines())
    key, _, encoded = build[build.index("--label") + 1].partition("=")
    assert key == NAME
    assert json.loads(base64.b64decode(encoded)) == label
    image = build[build.index("-t") + 1]
    assert save[-1] == image == image.lower()
