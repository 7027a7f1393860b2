"""What makes the cascade LF-MRI: its defining behaviour, with SigPy and autograd as oracles."""

from dataclasses import replace

import numpy as np
import pytest
import sigpy
import sigpy.mri.linop
import torch
from scipy import ndimage

from lfmri_node.recon.cascade import Cascade, CascadeConfig, data_consistency
from lfmri_node.recon.denoiser import Denoiser, DenoiserConfig, smooth_phase
from lfmri_node.recon.lesion import (
    ClassifierConfig,
    LesionClassifier,
    activation_map,
)
from lfmri_node.recon.operators import SenseOp, fft_centred
from lfmri_node.recon.solvers import conjugate_gradient
from lfmri_node.recon.types import LesionWeighting

TINY = CascadeConfig(
    n_stages=2,
    denoiser=DenoiserConfig(channels=(8, 8)),
    classifier=ClassifierConfig(channels=(8, 8)),
)


def problem(shape: tuple[int, int] = (24, 20), batch: int = 2) -> tuple[SenseOp, torch.Tensor, torch.Tensor]:
    """Operator, image and k-space."""
    torch.manual_seed(0)
    maps = torch.randn(batch, 4, *shape, dtype=torch.complex64)
    maps = maps / torch.linalg.vector_norm(maps, dim=1, keepdim=True)
    operator = SenseOp(maps, torch.rand(batch, shape[1]) > 0.5)
    image = torch.randn(batch, *shape, dtype=torch.complex64)
    return operator, image, operator(image)


def randomised(model: torch.nn.Module) -> torch.nn.Module:
    """Weights of the output layers are zero at first: fill them, so that the bodies do something."""
    torch.manual_seed(1)
    for parameter in model.parameters():
        if torch.all(parameter == 0):
            torch.nn.init.normal_(parameter, std=0.05)
    return model.eval()


def test_with_identity_networks_a_stage_is_sigpys_proximal_least_squares():
    """[our reading] argmin 1/2 |A X - Y|^2 + mu1/2 |X - X_prev|^2 (method: one stage)."""
    operator, image, kspace = problem(batch=1)
    config = CascadeConfig(n_stages=1, n_cg=60, initial_mu=(0.3, 0.1), denoiser=TINY.denoiser)
    cascade = Cascade(config).eval()  # an untrained body adds exactly nothing: D_w is the identity
    adjoint, previous = operator.adjoint(kspace), image + 0.3 * torch.randn_like(image)
    stage = cascade.stages[0]
    output = stage(previous, operator, adjoint, cascade.classifier, LesionWeighting.OFF)
    result = output.image[0].detach().numpy()
    weights = np.broadcast_to(operator.mask[0].numpy(), (4, 24, 20))
    oracle = sigpy.app.LinearLeastSquares(
        sigpy.mri.linop.Sense(operator.maps[0].numpy(), weights=weights),
        kspace[0].numpy(),
        lamda=0.3,
        z=previous[0].numpy(),
        max_iter=200,
        show_pbar=False,
    ).run()
    np.testing.assert_allclose(result, oracle, atol=1e-4 * np.abs(oracle).max())


def test_data_consistency_lowers_the_residual():
    operator, image, kspace = problem()
    anchor = image + 0.5 * torch.randn_like(image)
    right = operator.adjoint(kspace) + 0.1 * anchor
    solved = data_consistency(operator, right, torch.tensor(0.1), anchor, 6)
    before = torch.linalg.vector_norm(operator(anchor) - kspace)
    after = torch.linalg.vector_norm(operator(solved) - kspace)
    assert after < 0.5 * before


def test_gradients_of_the_solve_equal_those_through_its_iterations():
    operator, image, _ = problem(shape=(8, 9), batch=1)
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


def test_a_mask_that_is_not_learned_costs_no_gradient():
    operator, image, _ = problem(shape=(8, 9), batch=1)
    right = image.clone().requires_grad_()
    solved = data_consistency(operator, right, torch.tensor(0.3), torch.zeros_like(image), 5)
    operator.gram_mask_gradient = None  # would be called
    solved.abs().sum().backward()
    assert right.grad is not None


@pytest.mark.parametrize("weighting", list(LesionWeighting))
def test_zero_data_give_a_zero_image(weighting):
    operator, image, _ = problem()
    cascade = randomised(Cascade(TINY))
    result = cascade(torch.zeros_like(image), operator, weighting)[-1].image
    assert torch.all(torch.isfinite(torch.view_as_real(result)))
    assert result.abs().max() < 1e-4


@pytest.mark.parametrize("weighting", list(LesionWeighting))
def test_the_scale_of_the_data_is_the_scale_of_the_image(weighting):
    operator, _, kspace = problem()
    cascade = randomised(Cascade(TINY))
    adjoint = operator.adjoint(kspace)
    one = cascade(adjoint, operator, weighting)[-1].image
    many = cascade(1000 * adjoint, operator, weighting)[-1].image
    torch.testing.assert_close(many / 1000, one, rtol=2e-3, atol=2e-3)


def test_the_lesion_term_acts_only_where_the_map_is():
    """Without data (A = 0) a stage ends at (mu1 Z + mu2 C^2 L) / (mu1 + mu2 C^2): Z where C is zero."""
    torch.manual_seed(0)
    anchor, lesion = torch.randn(2, 1, 6, 6, dtype=torch.complex64)
    operator = SenseOp(torch.zeros(1, 2, 6, 6, dtype=torch.complex64), torch.ones(1, 6))
    weight = torch.zeros(1, 6, 6)
    weight[0, 2, 3] = 0.4
    right = 0.2 * anchor + weight * lesion
    solved = data_consistency(operator, right, 0.2 + weight, anchor, 30)
    expected = anchor.clone()
    expected[0, 2, 3] = (0.2 * anchor[0, 2, 3] + 0.4 * lesion[0, 2, 3]) / 0.6
    torch.testing.assert_close(solved, expected, rtol=1e-3, atol=1e-4)


def test_below_the_gate_a_slice_is_its_own_reference():
    operator, _, kspace = problem()
    cascade = randomised(Cascade(TINY))
    adjoint = operator.adjoint(kspace)
    reference = cascade(adjoint, operator, LesionWeighting.OFF)[-1].image
    gated = cascade(adjoint, operator, LesionWeighting.FOCUSED, gate=1.0)[-1]
    assert torch.equal(gated.image, reference)
    assert gated.slice_logits is not None
    scores = torch.sigmoid(cascade(adjoint, operator)[0].slice_logits)[:, 0]
    between = scores.mean().item()
    one_of_two = cascade(adjoint, operator, LesionWeighting.FOCUSED, gate=between)[0].image
    quiet = int(scores.argmin())
    first = cascade(adjoint, operator, LesionWeighting.OFF)[0].image
    torch.testing.assert_close(one_of_two[quiet], first[quiet], rtol=1e-4, atol=1e-5)
    assert not torch.allclose(one_of_two[1 - quiet], first[1 - quiet], atol=1e-5)


@pytest.mark.parametrize("tied", [False, True])
def test_uniform_weighting_does_not_depend_on_the_classifier(tied):
    operator, _, kspace = problem()
    cascade = randomised(Cascade(replace(TINY, tied=tied)))
    adjoint = operator.adjoint(kspace)
    before = cascade(adjoint, operator, LesionWeighting.UNIFORM)[-1].image
    torch.nn.init.constant_(cascade.classifier.logits.bias, 5.0)
    after = cascade(adjoint, operator, LesionWeighting.UNIFORM)[-1].image
    assert torch.equal(before, after)
    focused = cascade(adjoint, operator, LesionWeighting.FOCUSED)[-1].image
    assert not torch.allclose(focused, after)


@pytest.mark.parametrize("tied", [False, True])
def test_without_a_suspicion_the_lesion_term_is_off(tied):
    operator, _, kspace = problem()
    cascade = randomised(Cascade(replace(TINY, tied=tied)))
    torch.nn.init.constant_(cascade.classifier.logits.bias, -100.0)
    adjoint = operator.adjoint(kspace)
    focused = cascade(adjoint, operator, LesionWeighting.FOCUSED)[-1].image
    torch.testing.assert_close(focused, cascade(adjoint, operator, LesionWeighting.OFF)[-1].image)


def test_a_tied_g_u_is_the_body_of_d_w_under_the_map():
    stage = randomised(Cascade(replace(TINY, tied=True))).stages[0]
    assert not list(stage.focus.parameters())
    image, guide = torch.randn(1, 24, 20, dtype=torch.complex64), torch.rand(1, 1, 24, 20)
    torch.testing.assert_close(stage.denoise(image), stage.denoise(image, torch.zeros_like(guide)))
    assert not torch.allclose(stage.denoise(image), stage.denoise(image, guide))


def test_smooth_phase_is_that_of_a_local_mean():
    """Two passes of a 9 x 9 mean over what lies inside the image, against SciPy."""
    image = torch.randn(1, 21, 18, dtype=torch.complex64)
    inside = ndimage.uniform_filter(np.ones(image.shape[1:]), 9, mode="constant")
    mean = image[0].numpy().astype(np.complex128)
    for _ in range(2):
        mean = ndimage.uniform_filter(mean, 9, mode="constant") / inside
    np.testing.assert_allclose(smooth_phase(image)[0].numpy(), mean / np.abs(mean), atol=1e-4)


@pytest.mark.parametrize("shape", [(16, 16), (17, 22), (15, 13)])
def test_denoiser_keeps_any_size_and_follows_scale_and_phase_of_its_input(shape):
    body = randomised(Denoiser(DenoiserConfig(channels=(8, 8, 8), demodulate=True), guided=False))
    image = torch.randn(1, *shape, dtype=torch.complex64)
    result = body(image)
    assert result.shape == image.shape
    assert not torch.allclose(result, image)
    turned = 50 * torch.exp(torch.tensor(2.1j))
    torch.testing.assert_close(body(turned * image) / turned, result, rtol=1e-3, atol=1e-3)


class TestActivationMap:
    def test_is_gated_by_the_score_of_the_slice(self):
        logit_map = torch.full((1, 1, 4, 4), 3.0)
        for score in (-4.0, 0.0, 4.0):
            activation = activation_map(torch.tensor([[score]]), logit_map, (16, 16))
            expected = torch.sigmoid(torch.tensor(score)) * torch.sigmoid(torch.tensor(3.0))
            torch.testing.assert_close(activation, expected.expand(1, 1, 16, 16))

    def test_is_never_stretched_to_its_own_range(self):
        faint = activation_map(
            torch.tensor([[-6.0]]), torch.linspace(-8, -4, 16).reshape(1, 1, 4, 4), (16, 16)
        )
        assert faint.max() < 1e-3

    @pytest.mark.parametrize("shape", [(32, 32), (31, 29)])
    def test_a_cell_stands_in_the_middle_of_its_four_by_four_pixels(self, shape):
        logit_map = torch.full((1, 1, 8, 8), -9.0)
        logit_map[..., 5, 2] = 9.0
        activation = activation_map(torch.tensor([[9.0]]), logit_map, shape)[0, 0]
        assert activation.shape == shape
        places = torch.argwhere(activation > 0.5).float()
        torch.testing.assert_close(places.mean(0), torch.tensor([4 * 5 + 1.5, 4 * 2 + 1.5]))

    def test_classifier_has_stride_four_and_ignores_the_scale_of_its_input(self):
        classifier = randomised(LesionClassifier(ClassifierConfig(channels=(8, 8))))
        magnitude = torch.rand(2, 1, 33, 30)
        scores, logit_map = classifier(magnitude)
        assert scores.shape == (2, 1)
        assert logit_map.shape == (2, 1, 9, 8)
        torch.testing.assert_close(classifier(7 * magnitude)[0], scores, rtol=1e-3, atol=1e-3)
