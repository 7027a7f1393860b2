"""Centred orthonormal Fourier transforms and the multi-coil encoding operator A = M F S.

[paper] eq. (1): ``Y = A X + eps`` with coil sensitivities S, Fourier transform F, sampling M.
All tensors are complex64; images are (b, r, p), multi-coil data (b, c, r, p).
"""

from __future__ import annotations

import functools
from typing import cast

import torch
from torch import Tensor
from torch.nn import functional

_CACHED_SAMPLES = 1 << 18
"""2 MB of samples: what the intermediate results of `SenseOp.gram` may take."""


def fft_centred(x: Tensor, dims: tuple[int, ...] = (-2, -1)) -> Tensor:
    """Orthonormal FFT over ``dims`` with zero position and zero frequency at index ``n // 2``."""
    spectrum = torch.fft.fftn(torch.fft.ifftshift(x, dims), dim=dims, norm="ortho")
    return cast(Tensor, torch.fft.fftshift(spectrum, dims))


def ifft_centred(x: Tensor, dims: tuple[int, ...] = (-2, -1)) -> Tensor:
    """Inverse, and adjoint, of `fft_centred`."""
    image = torch.fft.ifftn(torch.fft.ifftshift(x, dims), dim=dims, norm="ortho")
    return cast(Tensor, torch.fft.fftshift(image, dims))


class SenseOp:
    """A = M F S of a batch of slices.

    Parameters
    ----------
    maps
        c64 (b, c, r, p), coil sensitivities.
    sampled
        bool or float (b, p) for whole phase-encode lines, (b, r, p) for points.
    negligible
        Of the sum of squares of the coils of a pixel, which is one, `gram` may leave so much out; see
        `fewer_coils`. Zero where the derivative of the maps is wanted.

    Notes
    -----
    Line sampling leaves the readout transform out of ``A^H A``: F_r is unitary and commutes with a
    mask that does not depend on the readout frequency. `gram` therefore transforms along the phase
    axis only. The maps are kept rolled by half their size, so that no transform inside `gram` has
    to shift its multi-coil operand. Where everything was sampled ``A^H A`` is diagonal: F is unitary.
    """

    def __init__(self, maps: Tensor, sampled: Tensor, *, negligible: float = 0.0) -> None:
        if maps.ndim != 4:
            raise ValueError(f"maps must be (b, c, r, p), got {tuple(maps.shape)}")
        lines = sampled.ndim == 2
        expected = (maps.shape[0], maps.shape[3]) if lines else (maps.shape[0], *maps.shape[2:])
        if tuple(sampled.shape) != expected:
            raise ValueError(f"sampled {tuple(sampled.shape)} does not fit maps {tuple(maps.shape)}")
        self.maps = maps
        self.mask = (sampled[:, None, None, :] if lines else sampled[:, None]).to(torch.float32)
        self._dims = (-1,) if lines else (-2, -1)
        self._maps_rolled = torch.fft.ifftshift(maps, self._dims)
        self._mask_rolled = torch.fft.ifftshift(self.mask, self._dims)
        self._sampled = sampled
        self._negligible = negligible if lines and maps.device.type == "cpu" else 0.0

    @functools.cached_property
    def _diagonal(self) -> Tensor | None:
        """``A^H A`` where it is diagonal; asked for by `gram` alone, since it reads a value of the mask."""
        if self._sampled.dtype != torch.bool or not bool(self._sampled.all()):
            return None
        return (self.maps.real.square() + self.maps.imag.square()).sum(1)

    def __call__(self, x: Tensor) -> Tensor:
        """k-space (b, c, r, p), zero where not sampled, of the image (b, r, p)."""
        return self.mask * fft_centred(self.maps * x[:, None])

    def adjoint(self, y: Tensor) -> Tensor:
        """Image (b, r, p): coil-combined zero-filled reconstruction of k-space (b, c, r, p)."""
        return (self.maps.conj() * ifft_centred(self.mask * y)).sum(1)

    def gram(self, x: Tensor) -> Tensor:
        """``A^H A x`` for the image (b, r, p).

        On the CPU a few coils at a time, as many as the cache holds: three to four times as fast at
        320 x 320 x 15.
        """
        if self._diagonal is not None:
            return self._diagonal * x
        if self._negligible > 0:
            return self._gram_by_rows(x)
        image = torch.fft.ifftshift(x, self._dims)[:, None]
        step = max(1, _CACHED_SAMPLES // x.numel()) if x.device.type == "cpu" else self.maps.shape[1]
        pieces = (self._gram_of_coils(maps, image) for maps in self._maps_rolled.split(step, dim=1))
        return cast(Tensor, torch.fft.fftshift(functools.reduce(torch.add, pieces), self._dims))

    def _gram_of_coils(self, maps: Tensor, image: Tensor) -> Tensor:
        spectrum = torch.fft.fftn(maps * image, dim=self._dims, norm="ortho") * self._mask_rolled
        coils: Tensor = torch.fft.ifftn(spectrum, dim=self._dims, norm="ortho")
        return (maps.conj() * coils).sum(1)

    @functools.cached_property
    def _fewer(self) -> tuple[Tensor, Tensor]:
        """`fewer_coils` of the maps, as rolled as they are, and their conjugates."""
        coils = fewer_coils(self._maps_rolled, self._negligible)
        return coils, coils.conj_physical()

    def _gram_by_rows(self, x: Tensor) -> Tensor:
        """`gram` of line sampling, as many rows at a time as the cache holds."""
        image, (coils, conjugates) = torch.fft.ifftshift(x, -1)[:, :, None], self._fewer
        step = max(1, _CACHED_SAMPLES // coils[:, 0].numel())
        rows = zip(*(part.split(step, dim=1) for part in (image, coils, conjugates)), strict=True)
        done = [self._gram_of_rows(*part) for part in rows]
        return cast(Tensor, torch.fft.fftshift(torch.cat(done, dim=1), -1))

    def _gram_of_rows(self, image: Tensor, coils: Tensor, conjugates: Tensor) -> Tensor:
        spectrum = torch.fft.fft(coils * image, norm="ortho").mul_(self._mask_rolled)
        return cast(Tensor, torch.fft.ifft(spectrum, norm="ortho").mul_(conjugates).sum(2))

    def gram_mask_gradient(self, left: Tensor, right: Tensor) -> Tensor:
        """Derivative of ``Re <left, A^H A right>`` by the mask, in its shape; images (b, r, p)."""
        spectra = [fft_centred(self.maps * x[:, None], self._dims) for x in (left, right)]
        return (spectra[0].conj() * spectra[1]).real.sum_to_size(self.mask.shape)


def fewer_coils(maps: Tensor, negligible: float) -> Tensor:
    """As few coils c64 (b, r, k, p) as ``A^H A`` of line sampling needs, of maps (b, c, r, p).

    Neither Fourier transform along phase nor mask know of coils or of other rows, so that the coils of each
    row may be turned by a unitary matrix of its own: ``A^H A`` stays the same. By the eigenvectors of the
    row's coil covariance the strongest combinations come first, and all that follow are left out where their
    sum of squares stays below ``negligible`` in every pixel; by no more does ``A^H A`` change. Source of the
    rotation: Zhang et al., Magn Reson Med 69 (2013) 571.
    """
    rows = maps.transpose(1, 2)
    _, vectors = torch.linalg.eigh(rows @ rows.mH)
    turned = vectors.mH @ rows  # the weakest first
    left_out = torch.view_as_real(turned).square().sum(-1).cumsum(2).amax((1, 3)) <= negligible
    fewest = left_out.sum(1).clamp_max(maps.shape[1] - 1).tolist()
    kept = [turned[i, :, n:] for i, n in enumerate(fewest)]
    most = max(coils.shape[1] for coils in kept)
    return torch.stack([functional.pad(coils, (0, 0, most - coils.shape[1], 0)) for coils in kept])
