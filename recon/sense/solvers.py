"""Batched conjugate gradient for Hermitian positive definite systems."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

_TINY = 1e-30


def _dot(a: Tensor, b: Tensor) -> Tensor:
    """Real inner product of each batch entry, shaped (b, 1, 1)."""
    return torch.sum(torch.view_as_real(a) * torch.view_as_real(b), dim=(-3, -2, -1))[:, None, None]


def conjugate_gradient(
    normal: Callable[[Tensor], Tensor],
    right: Tensor,
    start: Tensor | None,
    n_iterations: int,
    tolerance: float = 0.0,
) -> Tensor:
    """Solve ``normal(x) = right`` for a batch of images.

    Parameters
    ----------
    normal
        Hermitian positive definite operator on c64 (b, r, p).
    right, start
        c64 (b, r, p): right-hand side, first guess; None for zeros, which cost no ``normal``.
    n_iterations
        Upper limit of steps; the count is fixed during training so that every stage unrolls alike.
    tolerance
        Stop when every residual is below ``tolerance * norm(right)``; 0 runs all steps.

    Returns
    -------
    c64 (b, r, p). Differentiable through every step. A batch entry whose residual is zero stays
    where it is (its step length is 0 / tiny = 0), so zero data give a zero image and no NaN.

    Source: Hestenes and Stiefel, J. Res. Natl. Bur. Stand. 49 (1952) 409.
    """
    x = torch.zeros_like(right) if start is None else start
    residual = right if start is None else right - normal(x)
    direction = residual
    energy = _dot(residual, residual)
    limit = (tolerance**2) * _dot(right, right)
    for _ in range(n_iterations):
        if tolerance > 0 and bool(torch.all(energy <= limit)):
            break
        image = normal(direction)
        step = energy / _dot(direction, image).clamp_min(_TINY)
        x = x + step * direction
        residual = residual - step * image
        new_energy = _dot(residual, residual)
        direction = residual + (new_energy / energy.clamp_min(_TINY)) * direction
        energy = new_energy
    return x
