"""Conjugate gradient against a dense solve."""

import numpy as np
import torch

from lfmri_node.recon.sense.solvers import conjugate_gradient


def system(n: int = 12, batch: int = 3) -> tuple[torch.Tensor, torch.Tensor]:
    rng = np.random.default_rng(0)
    root = rng.standard_normal((batch, n, n)) + 1j * rng.standard_normal((batch, n, n))
    matrix = root @ root.conj().transpose(0, 2, 1) + 2 * np.eye(n)
    right = rng.standard_normal((batch, n)) + 1j * rng.standard_normal((batch, n))
    return torch.from_numpy(matrix.astype(np.complex64)), torch.from_numpy(right.astype(np.complex64))


def test_equals_dense_solution():
    matrix, right = system()
    image = right.reshape(3, 4, 3)

    def normal(x: torch.Tensor) -> torch.Tensor:
        return (matrix @ x.reshape(3, 12, 1)).reshape(3, 4, 3)

    solution = conjugate_gradient(normal, image, torch.zeros_like(image), 60)
    expected = np.linalg.solve(matrix.numpy(), right.numpy()[..., None])[..., 0]
    np.testing.assert_allclose(solution.reshape(3, 12).numpy(), expected, rtol=2e-3, atol=2e-4)


def test_stops_at_the_tolerance():
    matrix, right = system()
    calls = 0

    def normal(x: torch.Tensor) -> torch.Tensor:
        nonlocal calls
        calls += 1
        return (matrix @ x.reshape(3, 12, 1)).reshape(3, 4, 3)

    image = right.reshape(3, 4, 3)
    solution = conjugate_gradient(normal, image, torch.zeros_like(image), 1000, tolerance=1e-2)
    residual = torch.linalg.vector_norm(image - normal(solution), dim=(1, 2))
    assert torch.all(residual <= 1.5e-2 * torch.linalg.vector_norm(image, dim=(1, 2)))
    assert calls < 100


def test_from_nothing_is_from_zeros_to_the_bit_with_one_call_less():
    matrix, right = system()
    image = right.reshape(3, 4, 3)
    calls = []

    def normal(x: torch.Tensor) -> torch.Tensor:
        calls.append(x)
        return (matrix @ x.reshape(3, 12, 1)).reshape(3, 4, 3)

    expected = conjugate_gradient(normal, image, torch.zeros_like(image), 7)
    n_calls = len(calls)
    assert torch.equal(conjugate_gradient(normal, image, None, 7), expected)
    assert len(calls) - n_calls == n_calls - 1 == 7


def test_zero_right_hand_side_gives_zero_and_no_nan():
    zero = torch.zeros(2, 5, 5, dtype=torch.complex64)
    solution = conjugate_gradient(lambda x: 2 * x, zero, zero, 10)
    assert torch.equal(solution, zero)
