"""What doctor says of the device: what it comes to and why, and of a driver that does not answer."""

import json
import sys
from pathlib import Path

import pytest
import torch

from lfmri_node.node.config import load
from lfmri_node.node.doctor.device import asked, device
from lfmri_node.node.doctor.findings import State
from lfmri_node.node.layout import Layout
from lfmri_node.recon.settings import Device

GPU = {
    "device": "cuda",
    "why": "",
    "name": "NVIDIA L4",
    "memory_gb": 22.5,
    "driver": "535.183.01",
    "runtime": "12.8",
}
UNFIT = {
    **GPU,
    "device": "cpu",
    "why": "torch (CUDA 12.8) finds no usable device with driver 470.1",
    "name": None,
    "memory_gb": None,
}


def saying(answer: object) -> list[str]:
    """A program that answers so, whatever it is asked."""
    return [sys.executable, "-c", f"print({json.dumps(answer)!r})"]


@pytest.mark.parametrize("wanted", ["auto", "cpu", "cuda"])
@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu(tmp_path: Path, wanted: str) -> None:
    path = tmp_path / "config.toml"
    path.write_text(f'[recon]\ndevice = "{wanted}"\n')
    (found,) = device(load(path), Layout(root=tmp_path))
    if wanted == "cuda":
        assert (found.state, found.code) == (State.FAILED, "LF-DEV-001")
    else:
        assert found.state is State.OK
        assert found.message.startswith(
            "auto: cpu, because" if wanted == "auto" else "cpu, as recon.device says"
        )


def test_a_gpu_is_named_with_memory_and_driver() -> None:
    found = asked(Device.AUTO, saying(GPU))
    assert found.state is State.OK
    for part in ("auto: cuda", "NVIDIA L4", "22.5 GiB", "driver 535.183.01", "CUDA 12.8"):
        assert part in found.message


def test_a_driver_that_torch_cannot_use_is_a_warning() -> None:
    found = asked(Device.AUTO, saying(UNFIT))
    assert (found.state, found.code) == (State.WARNING, "LF-DEV-003")
    assert "auto: cpu, because torch (CUDA 12.8)" in found.message


@pytest.mark.parametrize("program", ["import os; os.kill(os.getpid(), 11)", "print('no JSON')"])
def test_a_driver_that_crashes_takes_down_nobody_else(program: str) -> None:
    found = asked(Device.CUDA, [sys.executable, "-c", program])
    assert (found.state, found.code) == (State.FAILED, "LF-DEV-002")
