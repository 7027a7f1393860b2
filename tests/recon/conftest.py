"""Helpers: small problems and models, stand-in data, files as ISMRMRD, fastMRI and SKM-TEA lay them out."""

import hashlib
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import h5py
import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from lfmri_node.recon.method.cascade import Cascade, CascadeConfig
from lfmri_node.recon.method.conditions import Scale
from lfmri_node.recon.method.denoiser import DenoiserConfig
from lfmri_node.recon.method.lesion import ClassifierConfig
from lfmri_node.recon.method.modelcard import DOMAIN
from lfmri_node.recon.method.weights import config_to_card
from lfmri_node.recon.sense.operators import SenseOp
from lfmri_node.recon.train.stand_in import write_stand_in

WIDE = (-1e9, 1e9)


class Problem(NamedTuple):
    """A batch of measurements without noise, and the images c64 (b, r, p) behind them."""

    operator: SenseOp
    image: torch.Tensor
    kspace: torch.Tensor
    adjoint: torch.Tensor
    scale: Scale

    def times(self, factor: float) -> "Problem":
        """The same in other units."""
        scale = Scale(factor * self.scale.noise, factor * self.scale.level, factor**2 * self.scale.energy)
        scaled = (factor * x for x in (self.image, self.kspace, self.adjoint))
        return Problem(self.operator, *scaled, scale)


@pytest.fixture(scope="session")
def problem() -> Callable[..., Problem]:
    """``problem(shape, batch, n_coils, points=False)``: random maps, image and half of the samples."""

    def make(
        shape: tuple[int, int] = (24, 20), batch: int = 2, n_coils: int = 4, *, points: bool = False
    ) -> Problem:
        torch.manual_seed(0)
        maps = torch.randn(batch, n_coils, *shape, dtype=torch.complex64)
        maps = maps / torch.linalg.vector_norm(maps, dim=1, keepdim=True)
        operator = SenseOp(maps, torch.rand(batch, *(shape if points else shape[1:])) > 0.5)
        image = torch.randn(batch, *shape, dtype=torch.complex64)
        kspace = operator(image)
        energy = kspace.abs().square().sum((1, 2, 3))
        scale = Scale(torch.full((batch,), 0.02), torch.full((batch,), 2.0), energy)
        return Problem(operator, image, kspace, operator.adjoint(kspace), scale)

    return make


@pytest.fixture(scope="session")
def randomised() -> Callable[[torch.nn.Module], torch.nn.Module]:
    """Fill the parameters that start at zero, so that a network does something; in eval mode."""

    def fill(model: torch.nn.Module) -> torch.nn.Module:
        torch.manual_seed(1)
        for parameter in model.parameters():
            if torch.all(parameter == 0):
                torch.nn.init.normal_(parameter, std=0.05)
        return model.eval()

    return fill


@pytest.fixture(scope="session")
def stand_in(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of phantoms in the layout of the data."""
    folder = tmp_path_factory.mktemp("stand-in")
    write_stand_in(folder)
    return folder


@pytest.fixture
def edit_mrd() -> Callable[..., None]:
    """Change a written file: replace text in its header, set head fields of every row.

    ``edit_mrd(path, xml=(old, new), flags=0, idx_slice=1)``; ``idx_`` marks encoding counters. A
    value may be an array with one entry a row.
    """

    def edit(path: Path, *, xml: tuple[bytes, bytes] | None = None, **heads: object) -> None:
        with h5py.File(path, "r+") as file:
            if xml is not None:
                old = file["dataset/xml"][0]
                assert xml[0] in old
                file["dataset/xml"][0] = old.replace(*xml)
            rows = file["dataset/data"][:]
            for name, value in heads.items():
                target = rows["head"]["idx"] if name.startswith("idx_") else rows["head"]
                target[name.removeprefix("idx_")] = value
            file["dataset/data"][:] = rows

    return edit


@pytest.fixture
def write_model(tmp_path: Path) -> Callable[..., Path]:
    """Write an untrained cascade and its card; every indicator is allowed anything unless named."""

    def write(*, image_auc: float = 0.9, **domain: tuple[float, float]) -> Path:
        config = CascadeConfig(
            n_stages=1,
            denoiser=DenoiserConfig(channels=(8, 8)),
            classifier=ClassifierConfig(channels=(8, 8), classes=("bright lesion", "dark lesion")),
        )
        torch.manual_seed(0)
        network = Cascade(config)
        path = tmp_path / "tiny.safetensors"
        save_file({name: tensor.contiguous() for name, tensor in network.state_dict().items()}, path)
        card = {
            "name": "tiny",
            "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
            "architecture": config_to_card(config),
            "domain": {name: domain.get(name, WIDE) for name in DOMAIN},
            "limits": {"acceleration": (2.0, 9.0), "n_coils": (2, 32), "size": (32, 512)},
            "lesion": {
                "image_auc": image_auc,
                "pointing_game": 0.9,
                "operating_score": 0.0,
                "threshold": 0.2,
            },
            "record": {"data": "none: untrained"},
        }
        path.with_suffix(".json").write_text(json.dumps(card))
        return path

    return write


FASTMRI_HEADER = """<?xml version="1.0" encoding="utf-8"?>
<ismrmrdHeader xmlns="http://www.ismrm.org/ISMRMRD">
  <acquisitionSystemInformation>
    <systemVendor>SIEMENS</systemVendor><systemFieldStrength_T>{field}</systemFieldStrength_T>
  </acquisitionSystemInformation>
  <encoding>
    <encodedSpace>
      <matrixSize><x>{rows}</x><y>{columns}</y><z>1</z></matrixSize>
      <fieldOfView_mm><x>280</x><y>161.84</y><z>4.5</z></fieldOfView_mm>
    </encodedSpace>
    <reconSpace>
      <matrixSize><x>{recon}</x><y>{recon}</y><z>1</z></matrixSize>
      <fieldOfView_mm><x>140</x><y>140</y><z>4.5</z></fieldOfView_mm>
    </reconSpace>
    <encodingLimits>
      <kspace_encoding_step_1>
        <minimum>0</minimum><maximum>{maximum}</maximum><center>{center}</center>
      </kspace_encoding_step_1>
    </encodingLimits>
    <trajectory>cartesian</trajectory>
  </encoding>
  <sequenceParameters>
    <TR>2800</TR><TE>33</TE><TI>100</TI><flipAngle_deg>140</flipAngle_deg>
  </sequenceParameters>
</ismrmrdHeader>
"""


@pytest.fixture(scope="session")
def write_fastmri() -> Callable[..., Path]:
    """Write a knee volume to the schema of fastMRI: noise as k-space, target by the published formula.

    ``limits`` are (center, maximum) of the header; with ``mask`` it becomes a test file. ``target``
    replaces the reconstruction (slices, recon, recon).
    """

    def write(
        path: Path,
        *,
        shape: tuple[int, int, int, int] = (2, 3, 64, 40),
        recon: int = 32,
        limits: tuple[int, int] | None = None,
        acquisition: str = "CORPD_FBK",
        field: float = 2.8936,
        patient: str = "patient",
        mask: np.ndarray | None = None,
        target: np.ndarray | None = None,
        header: str = FASTMRI_HEADER,
    ) -> Path:
        n_r, n_p = shape[2:]
        center, maximum = limits or (n_p // 2, n_p - 1)
        left = n_p // 2 - center
        rng = np.random.default_rng(n_p)
        kspace = rng.normal(size=(*shape, 2)).astype(np.float32).view(np.complex64)[..., 0] * 1e-5
        kspace[..., :left] = kspace[..., left + maximum + 1 :] = 0
        path.parent.mkdir(parents=True, exist_ok=True)
        with h5py.File(path, "w") as file:
            text = header.format(
                field=field, rows=n_r, columns=n_p, recon=recon, maximum=maximum, center=center
            )
            file["ismrmrd_header"] = text.encode()
            file.attrs["acquisition"] = acquisition
            file.attrs["patient_id"] = patient
            if mask is not None:
                file["kspace"] = kspace * mask
                file["mask"] = mask
                file.attrs["acceleration"] = 4
                file.attrs["num_low_frequency"] = 3
                return path
            file["kspace"] = kspace
            if target is None:
                axes = (-2, -1)
                image = np.fft.ifftn(np.fft.ifftshift(kspace, axes), axes=axes, norm="ortho")
                rss = np.sqrt((np.abs(np.fft.fftshift(image, axes)) ** 2).sum(1))
                top, side = (n_r - recon) // 2, (n_p - recon) // 2
                target = rss[:, top : top + recon, side : side + recon]
            file["reconstruction_rss"] = target.astype(np.float32)
            file.attrs["max"] = target.max()
            file.attrs["norm"] = np.linalg.norm(target)
        return path

    return write


@pytest.fixture
def write_skm_tea() -> Callable[..., Path]:
    """Write a scan to the schema of SKM-TEA's raw data track: noise, zero-padded, with its adjoint as target.

    ``masks`` maps accelerations to arrays (bool, on the acquired grid).
    """

    def write(
        path: Path,
        *,
        matrix: tuple[int, int, int] = (3, 432, 96),
        acquired: tuple[int, int] = (416, 16),
        n_coils: int = 2,
        masks: dict[int, np.ndarray] | None = None,
    ) -> Path:
        rng = np.random.default_rng(matrix[2])

        def noise(*shape: int) -> np.ndarray:
            return rng.normal(size=(*shape, 2)).astype(np.float32).view(np.complex64)[..., 0]

        kspace = np.zeros((*matrix, 2, n_coils), dtype=np.complex64)
        top, side = ((n - m) // 2 for n, m in zip(matrix[1:], acquired, strict=True))
        kspace[:, top : top + acquired[0], side : side + acquired[1]] = 100 * noise(
            matrix[0], *acquired, 2, n_coils
        )
        maps = noise(*matrix, n_coils, 1)
        axes = (1, 2)
        images = np.fft.ifftn(np.fft.ifftshift(kspace, axes), axes=axes, norm="ortho")
        images = np.fft.fftshift(images, axes)
        path.parent.mkdir(parents=True, exist_ok=True)
        with h5py.File(path, "w") as file:
            file["kspace"] = kspace
            file["maps"] = maps
            file["target"] = (
                (maps[:, :, :, None, :, 0].conj() * images).sum(-1).astype(np.complex64)[..., None]
            )
            for acceleration, mask in (masks or {}).items():
                file[f"masks/poisson_{acceleration:.1f}x"] = mask
        return path

    return write


@pytest.fixture
def read_bytes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Bytes of every piece that is read from an HDF5 data set, in order."""
    pieces: list[int] = []
    original = h5py.Dataset.__getitem__

    def reading(self: h5py.Dataset, *args: object) -> object:
        value = original(self, *args)
        pieces.append(value.nbytes if isinstance(value, np.ndarray) else len(value))
        return value

    monkeypatch.setattr(h5py.Dataset, "__getitem__", reading)
    return pieces


PEAK = """
import json, sys
from pathlib import Path
import h5py, numpy, scipy

def peak():  # VmHWM: getrusage would start from the peak of the process that started this one
    line = next(l for l in Path("/proc/self/status").read_text().splitlines() if "VmHWM" in l)
    return int(line.split()[1]) / 1e3

before = peak()
{reader}
print(json.dumps([peak() - before, n]))
"""


@pytest.fixture
def peak_growth_mb() -> Callable[[str, Path], tuple[float, int]]:
    """``peak_growth_mb(code, path)``: growth of the peak memory of a process that runs ``code``, and its n.

    ``code`` sees the path as ``sys.argv[1]``.
    """

    def run(code: str, path: Path) -> tuple[float, int]:
        command = [sys.executable, "-c", PEAK.format(reader=code), str(path)]
        answer = subprocess.run(command, check=True, capture_output=True, timeout=120)
        grown, n = json.loads(answer.stdout)
        return grown, n

    return run
