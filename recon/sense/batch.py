"""Slices side by side on one device: what the solvers and the network work on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lfmri_node.recon.sense.operators import SenseOp
from lfmri_node.recon.types import CoilMaps, KSpace

NEGLIGIBLE = 1e-4
"""Of the sensitivity of a pixel: coils that add less are left out of ``A^H A``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Measured slices of one scan.

    Parameters
    ----------
    slices
        As they were read, in the memory of the host.
    encoding
        A = M F S of the slices.
    data
        c64 (b, c, r, p).
    support
        bool (b, r, p): where the coil maps are.
    """

    slices: tuple[KSpace, ...]
    encoding: SenseOp
    data: Tensor
    support: Tensor

    @classmethod
    def of(cls, slices: Sequence[KSpace], maps: Sequence[CoilMaps], device: torch.device) -> Batch:
        """The measured ``slices`` beside their maps, brought to ``device``."""
        sensitivities = stacked([entry.maps for entry in maps], device)
        sampled = stacked([kspace.sampled for kspace in slices], device)
        return cls(
            slices=tuple(slices),
            encoding=SenseOp(sensitivities, sampled, negligible=NEGLIGIBLE),
            data=stacked([kspace.data for kspace in slices], device),
            support=stacked([entry.support for entry in maps], device),
        )

    def adjoint(self) -> Tensor:
        """``A^H Y``, c64 (b, r, p)."""
        return self.encoding.adjoint(self.data)


def stacked(planes: Sequence[NDArray[Any]], device: torch.device) -> Tensor:
    """Arrays of the host beside each other on ``device``; one alone is not copied on the processor."""
    if len(planes) == 1:
        return torch.from_numpy(np.ascontiguousarray(planes[0]))[None].to(device)
    return torch.from_numpy(np.stack(planes)).to(device)
