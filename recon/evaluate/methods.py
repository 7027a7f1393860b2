"""The methods that are compared: three classical ones, and every finished training run."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from lfmri_node.recon.baseline import (
    CG_SENSE_LAMBDA,
    L1_WAVELET_LAMBDA,
    cg_sense,
    l1_wavelet,
    zero_filled,
)
from lfmri_node.recon.evaluate.cases import Case
from lfmri_node.recon.types import CoilMaps, Complex, KSpace, Real

ZERO_FILLED, CG_SENSE, L1_WAVELET = "Zero-filled", "CG-SENSE", "L1-wavelet ESPIRiT"
CLASSICAL = (ZERO_FILLED, CG_SENSE, L1_WAVELET)
CG_GRID = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3)
L1_GRID = (0.0005, 0.001, 0.002, 0.004, 0.008, 0.016, 0.032)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """Image c64 (r, p); slice score and activation map f32 (r, p) where the method has them.

    ``case`` is the case that was reconstructed where the method chose other lines than those given.
    """

    image: Complex
    score: float | None = None
    activation: Real | None = None
    case: Case | None = None


class Method(Protocol):
    """A way to reconstruct a case. ``run`` and ``weights`` are empty for a classical method."""

    @property
    def name(self) -> str: ...
    @property
    def run(self) -> str: ...
    @property
    def weights(self) -> str: ...
    @property
    def takes_point_masks(self) -> bool: ...
    def reconstruct(self, case: Case) -> Answer: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassicalMethod:
    """A reconstruction without a network, its regularisation already chosen."""

    name: str
    solve: Callable[[KSpace, CoilMaps], Complex]
    run: str = ""
    weights: str = ""
    takes_point_masks: bool = True

    def reconstruct(self, case: Case) -> Answer:
        with _repeatable():
            return Answer(image=self.solve(case.kspace, case.maps))


@contextmanager
def _repeatable() -> Iterator[None]:
    """SigPy draws the start of its power iteration from numpy's global generator: the same one each time."""
    state = np.random.get_state()  # noqa: NPY002
    np.random.seed(0)  # noqa: NPY002
    try:
        yield
    finally:
        np.random.set_state(state)  # noqa: NPY002


def classical_methods(lamda: Mapping[str, float]) -> tuple[ClassicalMethod, ...]:
    """Zero-filled, CG-SENSE and L1-wavelet with the regularisation ``lamda`` by name."""
    cg, l1 = lamda[CG_SENSE], lamda[L1_WAVELET]
    return (
        ClassicalMethod(name=ZERO_FILLED, solve=zero_filled),
        ClassicalMethod(name=CG_SENSE, solve=lambda kspace, maps: cg_sense(kspace, maps, cg)),
        ClassicalMethod(name=L1_WAVELET, solve=lambda kspace, maps: l1_wavelet(kspace, maps, l1)),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class TimedAnswer:
    """An answer and the seconds that it took."""

    answer: Answer
    seconds: float


def timed(method: Method, case: Case) -> TimedAnswer:
    """Reconstruct and time one case."""
    started = time.perf_counter()
    answer = method.reconstruct(case)
    return TimedAnswer(answer=answer, seconds=time.perf_counter() - started)


def search_regularisation(cases: list[Case]) -> dict[str, float]:
    """The lambda of each grid with the highest mean PSNR of the magnitude on ``cases``.

    The cases come from training subjects: a lambda chosen on held-out slices would flatter the rivals,
    one chosen by hand would not do them justice. Without cases (no truth) the node's own values serve.
    """
    if not cases:
        return {CG_SENSE: CG_SENSE_LAMBDA, L1_WAVELET: L1_WAVELET_LAMBDA}
    grids: tuple[tuple[str, Callable[..., Complex], tuple[float, ...]], ...] = (
        (CG_SENSE, cg_sense, CG_GRID),
        (L1_WAVELET, l1_wavelet, L1_GRID),
    )
    found = {}
    for name, solve, grid in grids:
        scores = {lamda: _mean_psnr(solve, lamda, cases) for lamda in grid}
        found[name] = max(scores, key=lambda value: scores[value])
    return found


def _mean_psnr(solve: Callable[..., Complex], lamda: float, cases: list[Case]) -> float:
    values = []
    for case in cases:
        assert case.truth is not None
        with _repeatable():
            error = np.abs(case.view(solve(case.kspace, case.maps, lamda))) - np.abs(case.truth)
        values.append(10 * np.log10(case.peak**2 / max(float(np.mean(error**2)), 1e-30)))
    return float(np.mean(values))
