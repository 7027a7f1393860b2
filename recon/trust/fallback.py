"""The fallback of a scan: wavelets or CG-SENSE, whichever predicts better what was left out of the scan.

Wavelets are mostly far ahead, but their weight is one number for all scans. So a tenth of the samples outside
the calibration centre are left out, both methods reconstruct from the rest, and what they say of the samples
left out is compared with what was measured there. No truth is needed, and noise counts for both alike. The
principle is cross-validation: Stone, J R Stat Soc B 36 (1974) 111; how it is applied is [our reading].
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from lfmri_node.recon.compute import CPU
from lfmri_node.recon.sense import classical as baseline
from lfmri_node.recon.sense.batch import Batch
from lfmri_node.recon.sense.coilmaps import CALIBRATION_LIMIT
from lfmri_node.recon.sense.sampling import calibration_box
from lfmri_node.recon.trust.noise import noise_per_coil
from lfmri_node.recon.types import Bool, CoilMaps, Complex, KSpace, Method

Name = TypeVar("Name", bound=str)
Solver = Callable[[KSpace, CoilMaps], Complex]
BatchSolver = Callable[[Batch], Tensor]
JUDGED = 3
"""Times that samples are left out, whatever the number of slices: what bounds the cost."""
HELD_OUT_SHARE = 0.1
_FEWEST = 2


def _l1_wavelet(batch: Batch) -> Tensor:
    """SigPy's, slice by slice on the processor, without the residue that it leaves in the air."""
    maps, support = batch.encoding.maps.cpu().numpy(), batch.support.cpu().numpy()
    images = [
        np.where(inside, baseline.l1_wavelet(kspace, CoilMaps(maps=own, support=inside)), np.complex64(0))
        for kspace, own, inside in zip(batch.slices, maps, support, strict=True)
    ]
    return torch.from_numpy(np.stack(images)).to(batch.data.device)


BATCH_SOLVERS: Mapping[Method, BatchSolver] = MappingProxyType(
    {
        Method.WAVELET: baseline.wavelet_of,
        Method.L1_WAVELET: _l1_wavelet,
        Method.CG_SENSE: baseline.cg_sense_of,
        Method.ZERO_FILLED: Batch.adjoint,
    }
)
"""All methods without a network."""


def solvers_on(device: torch.device) -> Mapping[Method, Solver]:
    """All methods without a network, one slice each, computed on ``device``."""

    def one(solve: BatchSolver, kspace: KSpace, maps: CoilMaps) -> Complex:
        return np.asarray(solve(Batch.of([kspace], [maps], device))[0].cpu().numpy())

    return {method: partial(one, solve) for method, solve in BATCH_SOLVERS.items()}


SOLVERS = MappingProxyType(solvers_on(CPU))
"""Those of the processor."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """The method of a scan's fallback, and why it is that one; None where the site's setting decided."""

    method: Method
    why: str | None = None


def judged_slices(with_signal: Sequence[int]) -> list[int]:
    """`JUDGED` of the slices with signal, evenly spread; of fewer slices some come more than once."""
    n = len(with_signal)
    return [with_signal[(2 * i + 1) * n // (2 * JUDGED)] for i in range(JUDGED if n else 0)]


def choose(
    slices: Iterable[tuple[KSpace, CoilMaps]], wanted: Method, solvers: Mapping[Method, Solver] = SOLVERS
) -> Choice:
    """``wanted``, or CG-SENSE where that predicts the samples left out of ``slices`` better.

    Only wavelets are judged. CG-SENSE also serves where no sample can be left out.
    """
    if wanted not in (Method.WAVELET, Method.L1_WAVELET):
        return Choice(method=wanted)
    errors = judge(slices, {method: solvers[method] for method in (wanted, Method.CG_SENSE)})
    if not errors:
        return Choice(method=Method.CG_SENSE, why="no sample could be left out to judge wavelets by")
    figures = ", ".join(f"{method} {error:.3g}" for method, error in errors.items())
    chosen = min(errors, key=lambda method: errors[method])
    return Choice(method=chosen, why=f"squared error over energy, estimated on samples left out: {figures}")


def judge(slices: Iterable[tuple[KSpace, CoilMaps]], solvers: Mapping[Name, Solver]) -> dict[Name, float]:
    """Squared error over energy of each solver, as samples left out tell it; mean over ``slices``.

    Other samples are left out of each entry of ``slices``, the same for all solvers. Empty where no entry has
    samples to leave out.
    """
    found: dict[Name, list[float]] = {}
    for seed, (kspace, maps) in enumerate(slices):
        held = leave_out(kspace, np.random.default_rng(seed))
        if held is None:
            continue
        for name, solver in solvers.items():
            image = solver(_part(kspace, kspace.sampled & ~held), maps)
            found.setdefault(name, []).append(_estimated_error(image, kspace, held, maps))
    return {name: float(np.mean(errors)) for name, errors in found.items()}


def leave_out(kspace: KSpace, rng: np.random.Generator) -> Bool | None:
    """A tenth of the samples, in the shape of ``sampled``: whole lines, or points.

    None where fewer than two lie outside the centre that the coil maps come from.
    """
    rows, columns = calibration_box(kspace.sampled, kspace.data.shape[1], CALIBRATION_LIMIT)
    outside = kspace.sampled.copy()
    outside[columns if outside.ndim == 1 else (rows, columns)] = False
    places = np.flatnonzero(outside)
    if places.size < _FEWEST:
        return None
    held = np.zeros_like(kspace.sampled)
    n_held = max(_FEWEST, round(HELD_OUT_SHARE * places.size))
    held.flat[rng.choice(places, n_held, replace=False)] = True
    return held


def _estimated_error(image: Complex, kspace: KSpace, held: Bool, maps: CoilMaps) -> float:
    """Samples left out stand for all that were not measured; of the others counts what exceeds their noise.

    Without the others an empty image would do well: far from the centre CG-SENSE predicts little but noise.
    """
    encoding = baseline.operator(kspace, maps)
    with torch.inference_mode():
        predicted = encoding(torch.from_numpy(image)[None])[0].numpy()
    axes = (0, 1) if held.ndim == 1 else (0,)
    misfit = (np.abs(predicted - kspace.data) ** 2).sum(axes, dtype=np.float64)
    noise = (noise_per_coil(kspace).astype(np.float64) ** 2).sum() * kspace.data[0].size / held.size
    kept = kspace.sampled & ~held
    seen = max(misfit[kept].sum() - noise * np.count_nonzero(kept), 0.0)
    missed = misfit[held].mean() * np.count_nonzero(~kept)
    energy = float(np.vdot(kspace.data, kspace.data).real)
    return float((seen + missed) / energy) if energy > 0 else 0.0


def _part(kspace: KSpace, sampled: Bool) -> KSpace:
    return KSpace(data=np.where(sampled, kspace.data, np.complex64(0)), sampled=sampled)
