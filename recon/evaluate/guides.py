"""What the lesion term is worth: C put in the place of Net_c's map, and mu lowered in C without G_u.

Without the row of an equally large C elsewhere, a gain may be due to G_u's being one more body; without that
of mu alone, it may be due to the weight and not to G_u.
"""

from __future__ import annotations

import copy
import math
import zlib
from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn

from lfmri_node.recon.evaluate.cases import Case
from lfmri_node.recon.evaluate.detail import body_of
from lfmri_node.recon.method.cascade import HALF_DECADE, Stage
from lfmri_node.recon.train.loader import blurred
from lfmri_node.recon.train.networks import LfMri
from lfmri_node.recon.types import Bool, Real

LOWER = 0.25
"""Factor of mu where C is one, in `lowered`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Guide:
    """The outline of a case's lesion as a map of stride 4 would show it, or the same outline ``elsewhere``.

    f32 (r, p) in [0, 1]; zero where the case has no outline. What is drawn depends on the case's name alone.
    """

    elsewhere: bool

    def __call__(self, case: Case) -> Real:
        shape = (case.kspace.data.shape[1], case.kspace.data.shape[2])
        if case.lesion is None or case.truth is None:
            return np.zeros(shape, dtype=np.float32)
        rng = np.random.default_rng(zlib.crc32(f"{case.dataset}/{case.sample}".encode()))
        mask = case.lesion
        if self.elsewhere:
            mask = moved(mask, body_of(np.abs(case.truth).astype(np.float32)), rng)
        return blurred(mask, rng)


def moved(mask: Bool, body: Bool, rng: np.random.Generator) -> Bool:
    """``mask`` bool (r, p) with its middle at another place of ``body``, of which it covers none of its own.

    Where no place is left the one that overlaps least of those drawn is taken.
    """
    middle = np.round(np.argwhere(mask).mean(axis=0)).astype(int)
    places = np.argwhere(body & ~mask)
    if places.size == 0:
        places = np.argwhere(~mask)
    drawn = [np.roll(mask, places[rng.integers(len(places))] - middle, (0, 1)) for _ in range(16)]
    return min(drawn, key=lambda other: int(np.count_nonzero(other & mask)))


class _Unchanged(nn.Module):
    """In the place of G_u: what it is given."""

    def forward(self, image: Tensor, *_: Tensor, guide: Tensor) -> Tensor:
        return image


def lowered(network: LfMri) -> LfMri:
    """A copy in which mu is `LOWER` times as large where C is one, and G_u is the identity."""
    changed = copy.deepcopy(network)
    for module in changed.cascade.stages:
        stage = cast(Stage, module)
        stage.focus = _Unchanged()  # type: ignore[assignment]
        with torch.no_grad():
            stage.raw_delta.fill_(math.atanh(math.log(LOWER) / (2 * HALF_DECADE)))
            stage.delta_slopes.zero_()
    return changed
