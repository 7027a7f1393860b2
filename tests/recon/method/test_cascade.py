"""What makes the cascade LF-MRI: its defining behaviour, with SigPy and the normal equations as oracles."""

from dataclasses import replace

import numpy as np
import pytest
import sigpy
import sigpy.mri.linop
import torch

from lfmri_node.recon.method.cascade import Cascade, CascadeConfig, LesionTerm, Stage, data_consistency
from lfmri_node.recon.method.conditions import N_CONDITIONS
from lfmri_node.recon.method.denoiser import DenoiserConfig
from lfmri_node.recon.method.lesion import (
    ClassifierConfig,
    LesionClassifier,
    activation_map,
)
from lfmri_node.recon.sense.wavelets import wavelet_sense
from lfmri_node.recon.types import LesionWeighting

TINY = CascadeConfig(
    n_stages=2,
    denoiser=DenoiserConfig(channels=(8, 8)),
    focus=DenoiserConfig(channels=(8, 8)),
    classifier=ClassifierConfig(channels=(8, 8)),
)
OFF, UNIFORM = LesionTerm(LesionWeighting.OFF), LesionTerm(LesionWeighting.UNIFORM)
WEIGHTINGS = [LesionTerm(weighting) for weighting in LesionWeighting]


class Suspicion(torch.nn.Module):
    """A Net_c whose answer is known: the score of each slice, and one logit in every cell."""

    def __init__(self, *scores: float, everywhere: float = 2.0) -> None:
        super().__init__()
        self.scores, self.everywhere = torch.tensor(scores), everywhere

    def forward(self, magnitude: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        b, _, r, p = magnitude.shape
        return torch.logit(self.scores)[:, None], torch.full((b, 1, -(-r // 4), -(-p // 4)), self.everywhere)


def images_of(cascade, measured, term: LesionTerm | None = None) -> list[torch.Tensor]:
    return [o.image for o in cascade(measured.adjoint, measured.operator, measured.scale, term)]


class TestStage:
    """The equation that a stage ends by solving."""

    @pytest.mark.parametrize("seed", range(3))
    @pytest.mark.parametrize("points", [False, True])
    def test_solves_its_normal_equations(self, problem, randomised, seed, points):
        """(A^H A + mu1 (1 - C^2) + mu2 C^2) X = A^H Y + mu1 (1 - C^2) Z + mu2 C^2 L."""
        operator, image, kspace, adjoint, _ = problem(points=points)
        stage = randomised(Stage(replace(TINY, n_cg=60, initial_mu=0.3)))
        torch.manual_seed(seed)
        torch.nn.init.uniform_(stage.raw_delta, -0.8, 0.8)
        previous, start = torch.randn(2, *image.shape, dtype=torch.complex64)
        conditions, guide = torch.randn(2, N_CONDITIONS), torch.rand(2, 1, *image.shape[1:])
        guide[:, :, :8] = 0
        term = LesionTerm(given=guide)
        x = stage(previous, operator, adjoint, conditions, start, Suspicion(0.5, 0.5), term).image
        z = stage.denoise(previous, conditions, start)
        lesion = stage.focus(z, conditions, start, guide=guide)
        assert not torch.allclose(z, previous)
        assert not torch.allclose(lesion, z)
        inside = guide[:, 0] ** 2
        mu1 = stage.mu(conditions)
        mu2 = mu1 * torch.exp(stage.delta(conditions))
        left = operator.adjoint(operator(x)) + (mu1 * (1 - inside) + mu2 * inside) * x
        right = operator.adjoint(kspace) + mu1 * (1 - inside) * z + mu2 * inside * lesion
        torch.testing.assert_close(left, right, rtol=1e-3, atol=2e-4)

    def test_with_identity_networks_is_sigpys_proximal_least_squares(self, problem):
        """[our reading] argmin 1/2 |A X - Y|^2 + mu1/2 |X - X_prev|^2 (method: one stage)."""
        operator, image, kspace, adjoint, _ = problem(batch=1)
        stage = Stage(replace(TINY, n_cg=60, initial_mu=0.3))  # untrained: D_w and G_u are identities
        previous = image + 0.3 * torch.randn_like(image)
        unknown = torch.zeros(1, N_CONDITIONS)
        output = stage(previous, operator, adjoint, unknown, image, Suspicion(0.9), LesionTerm())
        weights = np.broadcast_to(operator.mask[0].numpy(), (4, 24, 20))
        oracle = sigpy.app.LinearLeastSquares(
            sigpy.mri.linop.Sense(operator.maps[0].numpy(), weights=weights),
            kspace[0].numpy(),
            lamda=0.3,
            z=previous[0].numpy(),
            max_iter=200,
            show_pbar=False,
        ).run()
        result = output.image[0].detach().numpy()
        np.testing.assert_allclose(result, oracle, atol=1e-4 * np.abs(oracle).max())

    def test_every_parameter_learns_and_the_classifier_does_not_pull_at_the_denoiser(
        self, problem, randomised
    ):
        operator, image, _, adjoint, _ = problem()
        stage, classifier = randomised(Stage(TINY)), randomised(LesionClassifier(TINY.classifier))
        conditions, guide = torch.randn(2, N_CONDITIONS), torch.rand(2, 1, 24, 20)
        term = LesionTerm(given=guide)
        output = stage(image, operator, adjoint, conditions, image, classifier, term)
        (output.image - image).abs().square().sum().backward()
        still = [name for name, p in stage.named_parameters() if p.grad is None or not p.grad.any()]
        assert still == []
        stage.zero_grad(set_to_none=True)
        output = stage(image, operator, adjoint, conditions, image, classifier, LesionTerm())
        output.slice_logits.sum().backward()
        assert all(p.grad is None for p in stage.parameters())
        assert any(p.grad is not None for p in classifier.parameters())


class ActsLate(torch.nn.Module):
    """Suspects a lesion at the middle from the ``first`` call on."""

    def __init__(self, first: int) -> None:
        super().__init__()
        self.first, self.n_calls = first, 0

    def forward(self, image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        logit = 4.0 if self.n_calls >= self.first else -9.0
        self.n_calls += 1
        logits = image.new_full((image.shape[0], 1), logit)
        return logits, image.new_full((image.shape[0], 1, 6, 5), logit)


class TestReference:
    """Image and reference in one go are to the bit what they are one after the other."""

    @pytest.mark.parametrize("first", [0, 1, 2, 3])
    def test_equals_two_reconstructions(self, problem, randomised, first):
        measured = problem()
        cascade = randomised(Cascade(replace(TINY, n_stages=3))).eval()
        cascade.classifier = ActsLate(first)
        term = LesionTerm(gate=0.5)
        given = (measured.adjoint, measured.operator, measured.scale)
        with torch.inference_mode():
            expected = cascade(*given, term)[-1]
            off = images_of(cascade, measured, OFF)[-1]
            cascade.classifier = ActsLate(first)
            unit = measured.scale.level[:, None, None]
            sense = unit * cascade.least_squares(measured.adjoint / unit, measured.operator)
            last, reference = cascade.with_reference(*given, term, sense)
        torch.testing.assert_close(last.image, expected.image, rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(reference, off, rtol=1e-5, atol=1e-6)
        assert torch.equal(last.image, reference) is (first == 3)
        assert torch.equal(last.slice_logits, expected.slice_logits)

    def test_off_gives_one_image_and_no_map(self, problem, randomised):
        measured = problem()
        cascade = randomised(Cascade(TINY)).eval()
        sense = cascade.least_squares(measured.adjoint, measured.operator)
        last, reference = cascade.with_reference(
            measured.adjoint, measured.operator, measured.scale, OFF, sense
        )
        assert torch.equal(last.image, reference)
        assert last.slice_logits is None
        assert last.activation is None


class TestStart:
    def test_is_a_short_wavelet_sense_from_cg_sense(self, problem):
        """With identity networks and an overwhelming mu a stage answers with what it was given."""
        measured = problem(batch=1)
        operator, adjoint = measured.operator, measured.adjoint
        cascade = Cascade(replace(TINY, n_stages=1, initial_mu=600.0)).eval()
        sense = data_consistency(operator, adjoint, torch.tensor(0.03), torch.zeros_like(adjoint), 5)
        threshold = 0.003 * measured.scale.level + 0.3 * measured.scale.noise
        expected = wavelet_sense(operator, adjoint, threshold, 10, sense)
        torch.testing.assert_close(images_of(cascade, measured, OFF)[0], expected, rtol=0, atol=0.01)
        without = Cascade(replace(TINY, n_stages=1, initial_mu=600.0, start_iterations=0)).eval()
        torch.testing.assert_close(images_of(without, measured, OFF)[0], sense, rtol=0, atol=0.01)
        assert not torch.allclose(sense, expected, atol=0.02)

    def test_what_is_known_of_the_noise_reaches_the_stages(self, problem, randomised):
        measured = problem()
        cascade = randomised(Cascade(replace(TINY, start_iterations=0)))
        louder = measured._replace(scale=measured.scale._replace(noise=4 * measured.scale.noise))
        assert not torch.allclose(images_of(cascade, measured)[-1], images_of(cascade, louder)[-1])


class TestLesionTerm:
    @pytest.mark.parametrize("demodulate", [False, True])
    def test_untrained_it_is_off_to_the_bit_at_every_stage(self, problem, randomised, demodulate):
        """G_u the identity and delta zero: what comes of it was learned."""
        measured = problem()
        bodies = DenoiserConfig(channels=(8, 8), demodulate=demodulate)
        torch.manual_seed(3)
        cascade = Cascade(replace(TINY, denoiser=bodies, focus=bodies))
        for stage in cascade.stages:
            randomised(stage.denoise)
        randomised(cascade.classifier)
        cascade.eval()
        off, focused, uniform = (
            cascade(measured.adjoint, measured.operator, measured.scale, term)
            for term in (OFF, LesionTerm(), UNIFORM)
        )
        assert focused[0].activation.max() > 0
        for stage in range(TINY.n_stages):
            assert torch.equal(focused[stage].image, off[stage].image)
            assert torch.equal(uniform[stage].image, off[stage].image)
        assert not torch.equal(off[0].image, off[1].image)

    def test_after_one_step_of_g_u_it_acts(self, problem, randomised):
        measured = problem()
        cascade = Cascade(TINY)
        for stage in cascade.stages:
            randomised(stage.denoise)
        cascade.classifier = Suspicion(0.8, 0.8)
        before = images_of(cascade, measured, OFF)[-1].detach()
        trained = [p for name, p in cascade.named_parameters() if ".focus." in name]
        optimiser = torch.optim.Adam(trained, lr=1e-2)
        (images_of(cascade, measured)[-1] - measured.image).abs().square().mean().backward()
        optimiser.step()
        off, focused, uniform = (images_of(cascade, measured, t)[-1] for t in (OFF, LesionTerm(), UNIFORM))
        assert torch.equal(off, before)
        assert not torch.equal(focused, off)
        assert not torch.equal(uniform, off)
        assert not torch.equal(uniform, focused)

    def test_uniform_weighting_does_not_depend_on_the_classifier(self, problem, randomised):
        measured = problem()
        cascade = randomised(Cascade(TINY))
        uniform, focused = [], []
        for score in (0.1, 0.9):
            cascade.classifier = Suspicion(score, score)
            uniform.append(images_of(cascade, measured, UNIFORM)[-1])
            focused.append(images_of(cascade, measured)[-1])
        assert torch.equal(*uniform)
        assert not torch.allclose(*focused, atol=1e-4)
        assert not torch.allclose(focused[1], uniform[1], atol=1e-4)

    def test_a_given_map_takes_the_place_of_the_classifiers(self, problem, randomised):
        measured = problem()
        cascade = randomised(Cascade(TINY))
        nothing, all_of_it = torch.zeros(2, 1, 24, 20), torch.ones(2, 1, 24, 20)
        off = images_of(cascade, measured, OFF)[-1]
        assert torch.equal(images_of(cascade, measured, LesionTerm(given=nothing))[-1], off)
        whole = images_of(cascade, measured, LesionTerm(given=all_of_it))[-1]
        assert torch.equal(whole, images_of(cascade, measured, UNIFORM)[-1])
        for term in (OFF, UNIFORM):  # what knows no map is trained and judged without one
            told = images_of(cascade, measured, term._replace(given=0.5 * all_of_it))[-1]
            assert torch.equal(told, images_of(cascade, measured, term)[-1])
        assert not torch.allclose(whole, off, atol=1e-4)

    def test_without_a_suspicion_it_is_off(self, problem, randomised):
        measured = problem()
        cascade = randomised(Cascade(TINY))
        cascade.classifier = Suspicion(0.5, 0.5, everywhere=-60.0)
        torch.testing.assert_close(images_of(cascade, measured)[-1], images_of(cascade, measured, OFF)[-1])

    def test_below_the_gate_a_slice_is_its_own_reference(self, problem, randomised):
        measured = problem()
        cascade = randomised(Cascade(TINY))
        cascade.classifier = Suspicion(0.3, 0.7)
        off = images_of(cascade, measured, OFF)
        for both in cascade(measured.adjoint, measured.operator, measured.scale, LesionTerm(gate=0.8)):
            assert both.slice_logits is not None
        assert torch.equal(both.image, off[-1])
        one_of_two = images_of(cascade, measured, LesionTerm(gate=0.5))
        for stage in range(TINY.n_stages):
            torch.testing.assert_close(one_of_two[stage][0], off[stage][0], rtol=1e-4, atol=1e-5)
            assert not torch.allclose(one_of_two[stage][1], off[stage][1], atol=1e-4)

    def test_acts_only_where_the_map_is(self, problem, randomised):
        """Of one stage, where everything but the lesion was measured or is zero: nothing else can move."""
        measured = problem()
        whole = measured._replace(
            operator=type(measured.operator)(0 * measured.operator.maps, torch.ones(2, 20))
        )
        whole = whole._replace(adjoint=torch.zeros_like(measured.adjoint))
        stage = randomised(Stage(replace(TINY, n_cg=30)))
        spot = torch.zeros(2, 1, 24, 20)
        spot[:, :, 10:14, 6:9] = 0.7
        unknown = torch.zeros(2, N_CONDITIONS)
        off, on = (
            stage(
                measured.image,
                whole.operator,
                whole.adjoint,
                unknown,
                measured.image,
                Suspicion(0.5, 0.5),
                term,
            ).image
            for term in (OFF, LesionTerm(given=spot))
        )
        changed = (on - off).abs() > 1e-4
        assert changed[:, 10:14, 6:9].all()
        assert changed.sum() == 2 * 4 * 3


class TestCascade:
    @pytest.mark.parametrize("term", WEIGHTINGS)
    def test_zero_data_give_a_zero_image(self, problem, randomised, term):
        nothing = problem().times(0.0)
        result = images_of(randomised(Cascade(TINY)), nothing, term)[-1]
        assert torch.all(torch.isfinite(torch.view_as_real(result)))
        assert result.abs().max() < 1e-4

    @pytest.mark.parametrize("term", WEIGHTINGS)
    def test_the_scale_of_the_data_is_the_scale_of_the_image(self, problem, randomised, term):
        cascade = randomised(Cascade(TINY))
        one = images_of(cascade, problem(), term)[-1]
        many = images_of(cascade, problem().times(1000.0), term)[-1]
        torch.testing.assert_close(many / 1000, one, rtol=2e-3, atol=2e-3)

    @pytest.mark.parametrize("term", WEIGHTINGS)
    def test_slices_of_a_batch_do_not_see_each_other(self, problem, randomised, term):
        cascade, measured = randomised(Cascade(TINY)), problem()
        together = images_of(cascade, measured, term)[-1]
        operator, scale = measured.operator, measured.scale
        alone = measured._replace(
            operator=type(operator)(operator.maps[1:], operator.mask[1:, 0, 0]),
            adjoint=measured.adjoint[1:],
            scale=type(scale)(*(value[1:] for value in scale)),
        )
        torch.testing.assert_close(images_of(cascade, alone, term)[-1], together[1:], rtol=1e-3, atol=1e-3)

    @pytest.mark.parametrize("term", WEIGHTINGS)
    @pytest.mark.parametrize("points", [False, True])
    def test_every_tensor_is_made_on_the_device_of_the_data(self, problem, randomised, term, points):
        """What names no device is made on the meta device here, and cannot be mixed with the data."""
        demodulated = DenoiserConfig(channels=(8, 8), demodulate=True)
        cascade = randomised(Cascade(replace(TINY, denoiser=demodulated, focus=demodulated)))
        measured = problem(points=points)
        expected = images_of(cascade, measured, term)[-1]
        with torch.device("meta"):
            assert torch.zeros(1).is_meta
            result = images_of(cascade, measured, term)[-1]
            result.abs().sum().backward()
        assert torch.equal(result, expected)


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

    def test_classifier_has_stride_four_and_ignores_the_scale_of_its_input(self, randomised):
        classifier = randomised(LesionClassifier(ClassifierConfig(channels=(8, 8))))
        magnitude = torch.rand(2, 1, 33, 30)
        scores, logit_map = classifier(magnitude)
        assert scores.shape == (2, 1)
        assert logit_map.shape == (2, 1, 9, 8)
        torch.testing.assert_close(classifier(7 * magnitude)[0], scores, rtol=1e-3, atol=1e-3)
