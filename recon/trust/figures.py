"""The numbers that the verdict looks at, beside the ranges of the model card: told also where all is well."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from lfmri_node.recon.method.modelcard import ModelCard
from lfmri_node.recon.sense.sampling import acceleration
from lfmri_node.recon.trust.indicators import Indicators
from lfmri_node.recon.trust.verdict import MEANING, MINIMUM_CALIBRATION_SIDE, limit_name
from lfmri_node.recon.types import Bool, Figure

_Range = tuple[float | None, float | None]
_NONE: _Range = (None, None)


def figures_of(
    sampled: Sequence[Bool],
    n_coils: int,
    size: tuple[int, int],
    indicators: Sequence[Indicators],
    residuals: Mapping[int, float],
    card: ModelCard | None,
) -> tuple[Figure, ...]:
    """One figure for each property: of the slice farthest outside, else of the one nearest to the upper end.

    Parameters
    ----------
    sampled
        bool (p,) or (r, p) of every slice.
    indicators
        Of every slice; those without signal have no figures.
    residuals
        Slice with signal -> `indicators.network_residual`; empty where the network was not run.
    card
        None where no network was asked for: then no figure has a range.
    """
    limits: Mapping[str, _Range] = card.limits if card is not None else {}
    lines = "points" if sampled[0].ndim == 2 and "points" in limits else "acceleration"
    figures = [
        _worst("acceleration", ((acceleration(mask), limits.get(lines, _NONE)) for mask in sampled)),
        _worst("coils", [(float(n_coils), limits.get("n_coils", _NONE))]),
        _worst("side of the matrix", ((float(side), limits.get("size", _NONE)) for side in size)),
    ]
    with_signal = [entry for entry in indicators if entry.signal > 0]
    if with_signal:
        figures += _of_slices(with_signal, card)
    if residuals:
        ranges = (_range("network_residual", indicators[s], card)[1] for s in residuals)
        pairs = ((value, (None, high)) for value, high in zip(residuals.values(), ranges, strict=True))
        figures.append(_worst("data residual of the network's image, beyond noise", pairs))
    return tuple(figures)


def _of_slices(indicators: Sequence[Indicators], card: ModelCard | None) -> Iterator[Figure]:
    least = None if card is None else MINIMUM_CALIBRATION_SIDE
    yield _worst("calibration lines", ((entry.calibration_side, (least, None)) for entry in indicators))
    for name, (_, meaning) in MEANING.items():
        yield _worst(meaning, ((getattr(entry, name), _range(name, entry, card)) for entry in indicators))


def _range(name: str, entry: Indicators, card: ModelCard | None) -> _Range:
    return _NONE if card is None else card.domain[limit_name(name, entry.calibration_side)]


def _worst(name: str, values: Iterable[tuple[float, _Range]]) -> Figure:
    figures = [Figure(name=name, value=value, low=low, high=high) for value, (low, high) in values]
    return replace(max(figures, key=_severity), n_outside=sum(figure.outside for figure in figures))


def _severity(figure: Figure) -> tuple[bool, float]:
    """Outside before inside; then the value over its upper end, or the lower end over the value."""
    value, low, high = figure.value, figure.low, figure.high
    if low is not None and (high is None or value < low):
        return figure.outside, low / value if value > 0 else math.inf
    if math.isnan(value):
        return True, math.inf
    return figure.outside, value / high if high else value
