"""What computes images on this machine: asked in a process of its own, for drivers hang and crash."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from typing import Any

from lfmri_node.node.config import Config
from lfmri_node.node.doctor.findings import Finding, State, ok
from lfmri_node.node.layout import Layout
from lfmri_node.recon.processor import bfloat16_units
from lfmri_node.recon.settings import Device, Precision

_ASK = (sys.executable, "-m", "lfmri_node.recon.accelerator")
_PATIENCE_S = 120.0


def device(config: Config, _layout: Layout) -> Iterator[Finding]:
    wanted = config.recon.device
    if wanted is Device.CPU:
        yield ok("device", "cpu, as recon.device says")
    elif wanted is Device.AUTO and version("torch").endswith("+cpu"):  # not the seconds of importing it
        yield ok("device", "auto: cpu, because this torch is built without CUDA")
    else:
        yield asked(wanted)


def precision(config: Config, _layout: Layout) -> Iterator[Finding]:
    """What is asked for and whether the processor can; what comes of it is found out by who computes."""
    wanted = config.recon.precision
    units = ", ".join(bfloat16_units()) or "none"
    said = f"{wanted}; units of this processor for bfloat16: {units}"
    decided = wanted is Precision.AUTO and bool(bfloat16_units())
    yield ok("precision", said + ("; the log's worker.precision says what is used" if decided else ""))


def asked(wanted: Device, ask: Sequence[str] = _ASK) -> Finding:
    """What a process with torch says of ``wanted``.

    Parameters
    ----------
    ask
        Program and arguments before the name of the device.
    """
    try:
        done = subprocess.run([*ask, wanted.value], capture_output=True, timeout=_PATIENCE_S, check=True)
        answer: dict[str, Any] = json.loads(done.stdout)
    except (subprocess.SubprocessError, ValueError):
        return Finding(
            check="device",
            state=State.FAILED,
            message="the process that asks torch for its devices ends or hangs",
            code="LF-DEV-002",
            hint='see whether `nvidia-smi` answers; recon.device = "cpu" needs no driver',
        )
    if error := answer.get("error"):
        return Finding(check="device", state=State.FAILED, **error)
    if answer["device"] == "cpu":
        message = f"{wanted}: cpu, because {answer['why']}"
        if not answer["driver"]:
            return ok("device", message)
        return Finding(
            check="device",
            state=State.WARNING,
            message=message,
            code="LF-DEV-003",
            hint="let driver and CUDA build of torch fit each other; may the service open /dev/nvidia*?",
        )
    return ok(
        "device",
        f"{wanted}: cuda, {answer['name']}, {answer['memory_gb']:g} GiB,"
        f" driver {answer['driver'] or 'unknown'}, torch built for CUDA {answer['runtime']}",
    )
