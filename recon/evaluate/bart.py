"""BART as a rival: ``bart pics`` as a process, fed through its own files.

Program: Uecker et al., Berkeley Advanced Reconstruction Toolbox, Proc ISMRM 23 (2015) 2486. It scales the
data to its own unit (and back, ``-S``), so that lambda is free of the scale of the data.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path

import numpy as np

from lfmri_node.recon.types import CoilMaps, Complex, KSpace

WAVELETS, TOTAL_VARIATION = "W:3:0", "T:3:0"
"""Regularisation of the image's two axes: wavelets with random shifts, total variation."""
N_ITERATIONS = 60


def is_installed() -> bool:
    """Whether the program is on the path."""
    return shutil.which("bart") is not None


def pics(kspace: KSpace, maps: CoilMaps, regularisation: str, lamda: float) -> Complex:
    """``bart pics -S -i 60 -R regularisation:lamda``, c64 (r, p), with our maps.

    Raises subprocess.CalledProcessError where the program fails.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        data, sens = write(folder / "data", kspace.data), write(folder / "maps", maps.maps)
        bart(
            "pics",
            "-S",
            "-i",
            N_ITERATIONS,
            "-R",
            f"{regularisation}:{lamda:g}",
            data,
            sens,
            folder / "image",
        )
        return read(folder / "image")


def bart(*arguments: str | Path | int) -> None:
    """Run one tool."""
    subprocess.run(["bart", *map(str, arguments)], check=True, capture_output=True)


def write(path: Path, coils: Complex) -> Path:
    """Write c64 (c, r, p) as (r, p, 1, c) in the program's two files; returns their common name."""
    array = coils.transpose(1, 2, 0)[:, :, None, :]
    path.with_suffix(".hdr").write_text("# Dimensions\n" + " ".join(map(str, array.shape)) + "\n")
    array.astype(np.complex64).ravel(order="F").tofile(path.with_suffix(".cfl"))
    return path


def read(path: Path) -> Complex:
    """A plane c64 (r, p)."""
    sizes = [int(size) for size in path.with_suffix(".hdr").read_text().splitlines()[1].split()]
    return np.fromfile(path.with_suffix(".cfl"), dtype=np.complex64).reshape(sizes[:2], order="F")
