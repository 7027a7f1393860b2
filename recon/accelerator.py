"""Which device computes: what was asked for, what is there, and why it is the processor where it is.

``python -m lfmri_node.recon.accelerator auto`` says it as one line of JSON, so that a process without torch
can ask, and a driver that hangs or crashes takes down nobody else.
"""

from __future__ import annotations

import json
import re
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from lfmri_node.recon.compute import CPU, Compute
from lfmri_node.recon.errors import DeviceMissing
from lfmri_node.recon.settings import Device

DRIVER = Path("/proc/driver/nvidia/version")
"""The kernel module's own words."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What will compute.

    Parameters
    ----------
    device
        "cpu" or "cuda".
    why
        Why it is the processor; "" where that was asked for, or an accelerator was found.
    name, memory_gb, driver, runtime
        Of the accelerator: its model, all of its memory, the versions of its driver and of torch's CUDA; None
        where there is none. A driver alone makes no accelerator.
    """

    device: str
    why: str = ""
    name: str | None = None
    memory_gb: float | None = None
    driver: str | None = None
    runtime: str | None = None


def look(wanted: Device, driver: Path = DRIVER) -> Found:
    """What ``wanted`` means on this machine.

    Raises
    ------
    DeviceMissing
        LF-DEV-001 where an accelerator is insisted on and there is none.
    """
    if wanted is Device.CPU:
        return Found(device="cpu")
    why = _why_not(driver)
    if why and wanted is Device.CUDA:
        raise DeviceMissing(
            "LF-DEV-001",
            f'recon.device is "cuda", but {why}',
            "install driver and a CUDA build of torch, or set recon.device to auto or cpu",
        )
    if why:
        return Found(device="cpu", why=why, driver=driver_version(driver), runtime=torch.version.cuda)
    properties = torch.cuda.get_device_properties(0)
    return Found(
        device="cuda",
        name=properties.name,
        memory_gb=round(properties.total_memory / 2**30, 1),
        driver=driver_version(driver),
        runtime=torch.version.cuda,
    )


def take(wanted: Device) -> Compute:
    """Something to compute with; see `look`."""
    found = look(wanted)
    if found.device == "cpu":
        return Compute(CPU)
    return Compute(torch.device("cuda", 0), name=f"cuda ({found.name})")


def driver_version(path: Path = DRIVER) -> str | None:
    """Version of NVIDIA's kernel module; None where it is not loaded."""
    try:
        text = path.read_text(encoding="ascii", errors="replace")
    except OSError:
        return None
    found = re.search(r"Kernel Module\b.*?(\d+\.\d+(?:\.\d+)?)", text)
    return found.group(1) if found else None


def _why_not(driver: Path) -> str:
    """Why nothing but the processor computes; "" where an accelerator is usable."""
    if torch.version.cuda is None:
        return "this torch is built without CUDA"
    if torch.cuda.is_available():
        return ""
    version = driver_version(driver)
    if version is None:
        return "no NVIDIA driver is loaded"
    return f"torch (CUDA {torch.version.cuda}) finds no usable device with driver {version}"


def main() -> None:
    """One line of JSON: `Found`, or ``error`` with code, message and hint."""
    try:
        answer: dict[str, object] = asdict(look(Device(sys.argv[1])))
    except DeviceMissing as error:
        answer = {"error": {"code": error.code, "message": error.message, "hint": error.hint}}
    print(json.dumps(answer))


if __name__ == "__main__":
    main()
