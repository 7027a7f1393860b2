"""The domain of a model: ranges of the indicators met in training, and how well they guard.

`measure_domain` draws slices of the training subjects, measured as the training measures them, and takes the
range of every indicator; `limits` is the range of the conditions themselves. Nothing here is set by hand for
one model, and nothing is chosen on held-out subjects or on measured sets. `verdict_table` counts verdicts on
held-out subjects and on a battery of measurements that the network must not be trusted with.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.data import shepp_logan_phantom
from skimage.transform import resize

from lfmri_node.recon.method.weights import Model
from lfmri_node.recon.passes import run_network
from lfmri_node.recon.phantom.coils import loop_coils, measure
from lfmri_node.recon.sense.coilmaps import calibrate, interpolate
from lfmri_node.recon.train.data import ImageSource
from lfmri_node.recon.train.loader import POINTS
from lfmri_node.recon.train.masks import ACCELERATION_RANGE, draw_points
from lfmri_node.recon.train.samples import COIL_COUNTS, NOISE_RANGE, SIZES, SimulatedScan, draw_scan
from lfmri_node.recon.trust import verdict as quality
from lfmri_node.recon.trust.indicators import Indicators, measure_slice, network_residual
from lfmri_node.recon.types import Bool, CoilMaps, Complex, KSpace, LesionWeighting, ReconSettings

TAIL, MARGIN = 0.01, 0.1
"""[our reading] Conditions are guarded by the outermost hundredth, widened by a tenth of the range."""
RESIDUAL_TAIL = 0.05
"""Contradictions and weak coils strictly: the twentieth of the training's own measurements is refused."""
GATE_SIZES = (96, 128, 160, 192, 224)
_POINTS_EVERY = 5
_FEWEST_ROWS = 8
_MOTION_DEGREES, _MOTION_PIXELS = 6.0, 4.0

Rows = list[dict[str, float]]
Damage = Callable[[SimulatedScan, np.random.Generator], KSpace]


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """What the gate says of a scan of one slice.

    ``codes`` are all reasons (empty: TRUSTED), ``image`` c64 (r, p) is the network's; None without signal.
    """

    codes: tuple[str, ...]
    indicators: Indicators
    network_residual: float
    image: Complex | None
    maps: CoilMaps


def judge(kspace: KSpace, model: Model) -> Judgement:
    """The verdict of `reconstruct` on a scan of this one slice."""
    size = (kspace.data.shape[1], kspace.data.shape[2])
    coarse = calibrate(kspace)
    maps, found = interpolate(coarse, size), measure_slice(kspace, coarse)
    reasons = quality.scan_reasons([kspace.sampled], kspace.data.shape[0], size, ReconSettings(), model.card)
    reasons += quality.slice_reasons([found], model.card)
    image, residual = None, 1.0
    if found.signal > 0:
        answer = run_network(model, kspace, maps, LesionWeighting.OFF)
        image, residual = answer.image, network_residual(kspace, *answer.misfit)
        reasons += quality.network_reasons({0: residual}, [found], model.card)
    codes = tuple(reason.code for reason in reasons)
    return Judgement(codes=codes, indicators=found, network_residual=residual, image=image, maps=maps)


def limits() -> dict[str, tuple[float, float]]:
    """Ranges of acceleration, coils and matrix in training, each wider by a tenth of its octaves either way.

    ``points`` are points in two phase directions, which the training holds at the same accelerations.
    """
    trained = {
        "acceleration": ACCELERATION_RANGE,
        "n_coils": (min(COIL_COUNTS), max(COIL_COUNTS)),
        "size": (min(SIZES), max(SIZES)),
    }
    if POINTS > 0:
        trained["points"] = ACCELERATION_RANGE
    return {
        name: (low * (low / high) ** MARGIN, high * (high / low) ** MARGIN)
        for name, (low, high) in trained.items()
    }


def gate_scans(
    source: ImageSource, coils: Complex, n: int, rng: np.random.Generator
) -> Iterator[SimulatedScan]:
    """``n`` slices with all that the training varies: size, coils, lines, noise, errors between lines."""
    for _ in range(n):
        yield draw_scan(source, coils, rng, size=int(rng.choice(GATE_SIZES)), disturbed=True)


def measure_domain(
    source: ImageSource, coils: Complex, model: Model, n: int, seed: int
) -> dict[str, tuple[float, float]]:
    """Range of every indicator on ``n`` slices, every fifth of them sampled in two phase directions."""
    rng = np.random.default_rng([seed, 55])
    rows: Rows = []
    for i, scan in enumerate(gate_scans(source, coils, n, rng)):
        kspace = scan.kspace
        if POINTS > 0 and i % _POINTS_EVERY == 0:
            mask = draw_points(rng, scan.n_centre, scan.acceleration, scan.image.shape)
            kspace = KSpace(data=scan.full * mask, sampled=mask)
        rows.append(indicators_of(kspace, model))
    return ranges(rows)


def indicators_of(kspace: KSpace, model: Model) -> dict[str, float]:
    """Indicators of one slice, with the relative data residual of the network's image."""
    coarse = calibrate(kspace)
    maps = interpolate(coarse, (kspace.data.shape[1], kspace.data.shape[2]))
    misfit = run_network(model, kspace, maps, LesionWeighting.OFF).misfit
    return measure_slice(kspace, coarse).as_dict() | {"network_residual": network_residual(kspace, *misfit)}


def ranges(rows: Iterable[dict[str, float]]) -> dict[str, tuple[float, float]]:
    """(low, high) of each indicator over the rows with signal.

    Noise is bounded above, the energy at the centre below: by the outermost hundredth, widened by a tenth of
    the range. The share of noise in the weakest coil and the residuals are bounded above by the outermost
    twentieth; residuals for few calibration lines and for more of them by themselves; too few such rows, and
    all serve. On tuning subjects that share of the weakest coil refused 4 % of the sound
    scans and all with a dead coil.
    """
    table = [row for row in rows if row["signal"] > 0]

    def quantiles(name: str, *levels: float, of: Rows = table) -> NDArray[np.float64]:
        return np.quantile([row[name] for row in of], levels)

    found: dict[str, tuple[float, float]] = {}
    low, high = quantiles("noise", TAIL, 1 - TAIL)
    found["noise"] = (0.0, float(high + MARGIN * (high - low)))
    found["weakest_coil"] = (0.0, float(quantiles("weakest_coil", 1 - RESIDUAL_TAIL)[0]))
    low, high = quantiles("centre_energy", TAIL, 1 - TAIL)
    found["centre_energy"] = (float(low - MARGIN * (high - low)), 1.0)
    for name in quality.RESIDUALS:
        for side in (quality.FEW_LINES, quality.FEW_LINES - 1):
            key = quality.limit_name(name, side)
            mine = [row for row in table if quality.limit_name(name, row["calibration_side"]) == key]
            enough = mine if len(mine) >= _FEWEST_ROWS else table
            found[key] = (0.0, float(quantiles(name, 1 - RESIDUAL_TAIL, of=enough)[0]))
    return found


def twelvefold(scan: SimulatedScan, rng: np.random.Generator) -> KSpace:
    """Twelvefold acceleration or more, 8 centre lines."""
    n = scan.sampled.size
    lines = np.zeros(n, dtype=bool)
    lines[n // 2 - 4 : n // 2 + 4] = True
    lines[rng.choice(np.flatnonzero(~lines), size=max(n // 12 - 8, 0), replace=False)] = True
    return _again(scan, rng, sampled=lines)


def four_times_the_noise(scan: SimulatedScan, rng: np.random.Generator) -> KSpace:
    """Four times the highest noise of training."""
    return _again(scan, rng, noise_std=4 * NOISE_RANGE[1])


def four_times_its_own_noise(scan: SimulatedScan, rng: np.random.Generator) -> KSpace:
    """Four times the noise of the scan: not of the battery, since a quiet scan stays within training."""
    return _again(scan, rng, noise_std=4 * scan.noise_std)


def dead_coil(scan: SimulatedScan, rng: np.random.Generator) -> KSpace:
    """One coil delivers noise alone."""
    maps = scan.maps.copy()
    maps[rng.integers(len(maps))] = 0
    return _again(scan, rng, maps=maps)


def shuffled_lines(scan: SimulatedScan, rng: np.random.Generator) -> KSpace:
    """The measured lines stand at each other's places."""
    lines = np.flatnonzero(scan.kspace.sampled)
    data = scan.kspace.data.copy()
    data[:, :, lines] = data[:, :, rng.permutation(lines)]
    return KSpace(data=data, sampled=scan.kspace.sampled)


def motion(scan: SimulatedScan, rng: np.random.Generator) -> KSpace:
    """Every other measured line sees the object turned by 6 degrees and moved by 4 pixels."""
    turned = [
        ndimage.shift(ndimage.rotate(part, _MOTION_DEGREES, reshape=False, order=1), _MOTION_PIXELS, order=1)
        for part in (scan.image.real, scan.image.imag)
    ]
    moved = _again(replace(scan, image=(turned[0] + 1j * turned[1]).astype(np.complex64)), rng)
    data = scan.kspace.data.copy()
    late = np.flatnonzero(scan.kspace.sampled)[::2]
    data[:, :, late] = moved.data[:, :, late]
    return KSpace(data=data, sampled=scan.kspace.sampled)


def shepp_logan(scan: SimulatedScan, rng: np.random.Generator) -> KSpace:
    """A fully sampled Shepp-Logan phantom."""
    image = resize(shepp_logan_phantom(), scan.image.shape).astype(np.complex64)
    maps = loop_coils(len(scan.maps), (scan.image.shape[0], scan.image.shape[1]), rng)
    return measure(image, maps, np.ones(scan.sampled.size, dtype=bool), scan.noise_std, rng)


def _again(
    scan: SimulatedScan,
    rng: np.random.Generator,
    *,
    maps: Complex | None = None,
    sampled: Bool | None = None,
    noise_std: float | None = None,
) -> KSpace:
    """The same object measured once more with something changed."""
    return measure(
        scan.image,
        scan.maps if maps is None else maps,
        scan.kspace.sampled if sampled is None else sampled,
        scan.noise_std if noise_std is None else noise_std,
        rng,
        factor=scan.noise_factor,
        line_factor=scan.line_factor,
    )


BATTERY: tuple[Damage, ...] = (
    twelvefold,
    four_times_the_noise,
    dead_coil,
    shuffled_lines,
    motion,
    shepp_logan,
)


def verdict_table(
    source: ImageSource, coils: Complex, model: Model, n: int, seed: int
) -> list[dict[str, object]]:
    """Verdicts on ``n`` held-out slices in the domain and on ``n`` of each kind of the battery."""
    rng = np.random.default_rng([seed, 77])
    scans = list(gate_scans(source, coils, n, rng))
    rows = [_row("held-out, in domain", [judge(scan.kspace, model).codes for scan in scans])]
    for change in (*BATTERY, four_times_its_own_noise):
        codes = [judge(change(scan, rng), model).codes for scan in scans]
        rows.append(_row(change.__name__.replace("_", " "), codes))
    return rows


def _row(name: str, codes: list[tuple[str, ...]]) -> dict[str, object]:
    counts = Counter(code for reasons in codes for code in reasons)
    return {
        "input": name,
        "n": len(codes),
        "trusted": sum(not reasons for reasons in codes),
        "fallback": sum(bool(reasons) for reasons in codes),
        "codes": dict(sorted(counts.items())),
    }
