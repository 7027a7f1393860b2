"""The solve that ends every stage, and its gradients, with autograd and finite differences as oracles."""

import pytest
import torch

from lfmri_node.recon.method.cascade import data_consistency
from lfmri_node.recon.sense.operators import SenseOp, fft_centred
from lfmri_node.recon.sense.solvers import conjugate_gradient


def test_lowers_the_residual(problem):
    operator, image, kspace, *_ = problem()
    anchor = image + 0.5 * torch.randn_like(image)
    right = operator.adjoint(kspace) + 0.1 * anchor
    solved = data_consistency(operator, right, torch.tensor(0.1), anchor, 6)
    before = torch.linalg.vector_norm(operator(anchor) - kspace)
    after = torch.linalg.vector_norm(operator(solved) - kspace)
    assert after < 0.5 * before


def test_gradients_of_the_solve_equal_those_through_its_iterations(problem):
    operator, image, *_ = problem(shape=(8, 9), batch=1)
    target = torch.randn_like(image)

    def gradients(solve) -> tuple[torch.Tensor, torch.Tensor]:
        right = image.clone().requires_grad_()
        weight = torch.full((1, 8, 9), 0.4).requires_grad_()
        (solve(right, weight) - target).abs().square().sum().backward()
        return right.grad, weight.grad

    implicit = gradients(lambda b, w: data_consistency(operator, b, w, torch.zeros_like(b), 80))
    unrolled = gradients(
        lambda b, w: conjugate_gradient(lambda x: operator.gram(x) + w * x, b, torch.zeros_like(b), 80)
    )
    for left, right in zip(implicit, unrolled, strict=True):
        torch.testing.assert_close(left, right, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("points", [False, True])
def test_the_gradient_of_the_mask_equals_that_through_the_iterations_and_finite_differences(points):
    torch.manual_seed(0)
    shape, n = (6, 7), 60
    maps = torch.randn(2, 3, *shape, dtype=torch.complex64)
    maps = maps / torch.linalg.vector_norm(maps, dim=1, keepdim=True)
    image, target = torch.randn(2, 2, *shape, dtype=torch.complex64)
    kspace = fft_centred(maps * image[:, None])
    given = torch.rand(2, *(shape if points else shape[1:])).round()  # lines that are off have gradients too

    def loss(mask, solve):
        operator = SenseOp(maps, mask)
        right = operator.adjoint(kspace) + 0.3 * target
        return (solve(operator, right) - target).abs().square().sum()

    def implicit(operator, right):
        return data_consistency(operator, right, torch.tensor(0.3), torch.zeros_like(right), n)

    def unrolled(operator, right):
        return conjugate_gradient(
            lambda x: operator.gram(x) + 0.3 * x, right, torch.zeros_like(right), n, tolerance=1e-6
        )

    gradients = []
    for solve in (implicit, unrolled):
        mask = given.clone().requires_grad_()
        loss(mask, solve).backward()
        gradients.append(mask.grad)
    torch.testing.assert_close(gradients[0], gradients[1], rtol=1e-3, atol=1e-3)
    step = 1e-2
    for index in torch.nonzero(given >= 0)[::5]:
        moved = [given.clone(), given.clone()]
        moved[0][tuple(index)] += step
        moved[1][tuple(index)] -= step
        difference = (loss(moved[0], implicit) - loss(moved[1], implicit)) / (2 * step)
        torch.testing.assert_close(gradients[0][tuple(index)], difference, rtol=2e-2, atol=5e-3)


def test_a_mask_that_is_not_learned_costs_no_gradient(problem):
    operator, image, *_ = problem(shape=(8, 9), batch=1)
    right = image.clone().requires_grad_()
    solved = data_consistency(operator, right, torch.tensor(0.3), torch.zeros_like(image), 5)
    operator.gram_mask_gradient = None  # would be called
    solved.abs().sum().backward()
    assert right.grad is not None
