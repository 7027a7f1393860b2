"""Which device computes, and why: what torch and the driver's own file say."""

import json
import subprocess
import sys

import pytest
import torch

from lfmri_node.recon.accelerator import driver_version, look, take
from lfmri_node.recon.errors import DeviceMissing
from lfmri_node.recon.settings import Device

PROPRIETARY = """NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.183.01  Sun May 12 19:39:15 UTC 2024
GCC version:  gcc version 12.2.0 (Debian 12.2.0-14)
"""
OPEN = """NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.65.06  Release Build  (dvs-builder)
GCC version:  gcc version 13.2.0
"""
without_cuda = pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")


def test_the_processor_is_taken_where_it_is_asked_for():
    found = look(Device.CPU)
    assert (found.device, found.why) == ("cpu", "")
    assert take(Device.CPU).describe() == "cpu"


@without_cuda
def test_auto_takes_the_processor_and_says_why(tmp_path):
    found = look(Device.AUTO, tmp_path / "absent")
    assert found.device == "cpu"
    expected = "torch is built without CUDA" if torch.version.cuda is None else "no NVIDIA driver is loaded"
    assert expected in found.why


@without_cuda
def test_cuda_is_insisted_on():
    with pytest.raises(DeviceMissing) as caught:
        take(Device.CUDA)
    assert caught.value.code == "LF-DEV-001"
    assert "auto or cpu" in caught.value.hint


@pytest.mark.parametrize(("text", "version"), [(PROPRIETARY, "535.183.01"), (OPEN, "580.65.06"), ("?", None)])
def test_the_driver_is_asked_for_its_version(tmp_path, text, version):
    path = tmp_path / "version"
    path.write_text(text)
    assert driver_version(path) == version
    assert driver_version(tmp_path / "absent") is None


@without_cuda
@pytest.mark.parametrize(("wanted", "key"), [("auto", "why"), ("cuda", "error")])
def test_a_process_without_torch_can_ask(wanted, key):
    command = [sys.executable, "-m", "lfmri_node.recon.accelerator", wanted]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    assert json.loads(done.stdout)[key]
