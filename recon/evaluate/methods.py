"""The methods that are compared: classical ones, and every finished training run."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import numpy as np

from lfmri_node.recon.evaluate import bart
from lfmri_node.recon.evaluate.cases import Case
from lfmri_node.recon.sense.classical import (
    CG_SENSE_LAMBDA,
    L1_WAVELET_LAMBDA,
    WAVELET_LAMBDA,
    cg_sense,
    l1_wavelet,
    wavelet,
    zero_filled,
)
from lfmri_node.recon.types import CoilMaps, Complex, KSpace, Real

ZERO_FILLED, CG_SENSE, L1_WAVELET = "Zero-filled", "CG-SENSE", "L1-wavelet ESPIRiT"
BART_WAVELETS, BART_TV = "BART wavelets", "BART total variation"
WAVELETS = "Wavelets, random shifts (fallback)"
CLASSICAL = (ZERO_FILLED, CG_SENSE, L1_WAVELET, WAVELETS, BART_TV, BART_WAVELETS)


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
    """A reconstruction without a network, its regularisation chosen; zero where no coil sees anything."""

    name: str
    solve: Callable[[KSpace, CoilMaps], Complex]
    run: str = ""
    weights: str = ""
    takes_point_masks: bool = True

    def reconstruct(self, case: Case) -> Answer:
        with _repeatable():
            return Answer(image=self.solve(case.kspace, case.maps) * case.maps.support)


@dataclass(frozen=True, slots=True, kw_only=True)
class Regularised:
    """A classical method with one free number, searched in ``grid`` (ascending) from ``default``."""

    name: str
    solve: Callable[[KSpace, CoilMaps, float], Complex]
    grid: tuple[float, ...]
    default: float

    def with_lambda(self, lamda: float) -> ClassicalMethod:
        """The method with its number chosen."""
        return ClassicalMethod(name=self.name, solve=lambda kspace, maps: self.solve(kspace, maps, lamda))


def regularised() -> tuple[Regularised, ...]:
    """Those that can be run here: BART's where the program is installed."""
    found = [
        Regularised(
            name=CG_SENSE, solve=cg_sense, grid=(0.001, 0.003, 0.01, 0.03, 0.1, 0.3), default=CG_SENSE_LAMBDA
        ),
        Regularised(
            name=L1_WAVELET,
            solve=l1_wavelet,
            grid=(0.0005, 0.001, 0.002, 0.004, 0.008, 0.016, 0.032),
            default=L1_WAVELET_LAMBDA,
        ),
        Regularised(
            name=WAVELETS,
            solve=wavelet,
            grid=(0.0005, 0.001, 0.002, 0.004, 0.008, 0.016),
            default=WAVELET_LAMBDA,
        ),
    ]
    if bart.is_installed():
        grid = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05)
        for name, penalty in ((BART_TV, bart.TOTAL_VARIATION), (BART_WAVELETS, bart.WAVELETS)):
            found.append(Regularised(name=name, solve=partial(_pics, penalty), grid=grid, default=grid[3]))
    return tuple(found)


def _pics(penalty: str, kspace: KSpace, maps: CoilMaps, lamda: float) -> Complex:
    return bart.pics(kspace, maps, penalty, lamda)


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
    """Zero-filled, and what can be run here with the regularisation ``lamda`` by name, as in `CLASSICAL`."""
    chosen = [one.with_lambda(lamda[one.name]) for one in regularised()]
    return (ClassicalMethod(name=ZERO_FILLED, solve=zero_filled), *chosen)


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


def search_lambda(method: Regularised, cases: list[Case]) -> float:
    """The lambda of the method's grid with the highest mean PSNR of the magnitude on ``cases``.

    The cases are never those that are reported: a lambda chosen on these would flatter the rivals, one chosen
    by hand would not do them justice. From the default it climbs to the neighbour that is better until none
    is. Without cases (no truth) the default serves.
    """
    if not cases:
        return method.default
    scores: dict[int, float] = {}

    def score(index: int) -> float:
        if index not in scores:
            inside = 0 <= index < len(method.grid)
            scores[index] = _mean_psnr(method.with_lambda(method.grid[index]), cases) if inside else -np.inf
        return scores[index]

    best = method.grid.index(method.default)
    while (better := max((best, best - 1, best + 1), key=score)) != best:
        best = better
    return method.grid[best]


def _mean_psnr(method: ClassicalMethod, cases: list[Case]) -> float:
    values = []
    for case in cases:
        assert case.truth is not None
        error = np.abs(case.view(method.reconstruct(case).image)) - np.abs(case.truth)
        values.append(10 * np.log10(case.peak**2 / max(float(np.mean(error**2)), 1e-30)))
    return float(np.mean(values))
