"""What a stage is told of a measurement, and the bounds within which its weights follow."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lfmri_node.recon.method.cascade import CascadeConfig, Stage
from lfmri_node.recon.method.conditions import N_CONDITIONS, Scale, describe
from lfmri_node.recon.method.denoiser import DenoiserConfig
from lfmri_node.recon.method.lesion import ClassifierConfig
from lfmri_node.recon.phantom.body import phantom_volume
from lfmri_node.recon.phantom.coils import line_errors, loop_coils, measure, object_phase
from lfmri_node.recon.sense.operators import SenseOp
from lfmri_node.recon.sense.solvers import conjugate_gradient

ACCELERATION, NOISE, COILS, DISAGREEMENT = range(N_CONDITIONS)
LIMIT = 1.5


def every(step: int, n: int = 64) -> torch.Tensor:
    lines = torch.zeros(1, n)
    lines[:, ::step] = 1
    return lines


def described(
    sampled: torch.Tensor, n_coils: int = 8, noise: float = 0.02, level: float = 2.0
) -> torch.Tensor:
    """Conditions of a random image that nothing disturbs."""
    torch.manual_seed(0)
    shape = (48, 64)
    maps = torch.randn(1, n_coils, *shape, dtype=torch.complex64)
    operator = SenseOp(maps / torch.linalg.vector_norm(maps, dim=1, keepdim=True), sampled)
    image = torch.randn(1, *shape, dtype=torch.complex64)
    kspace = operator(image)
    scale = Scale(torch.tensor([noise]), torch.tensor([level]), kspace.abs().square().sum()[None])
    return describe(image, operator.adjoint(kspace), operator, scale)[0]


class TestDescribe:
    @pytest.mark.parametrize(("step", "octaves"), [(2, -1), (4, 0), (8, 1)])
    def test_acceleration_in_octaves_around_four(self, step, octaves):
        assert described(every(step))[ACCELERATION] == pytest.approx(octaves, abs=1e-5)

    @pytest.mark.parametrize(("step", "octaves"), [(1, -1), (2, 0), (4, 1)])
    def test_points_count_as_lines_do(self, step, octaves):
        points = torch.zeros(1, 48, 64)
        points[:, ::2, ::step] = 1
        assert described(points)[ACCELERATION] == pytest.approx(octaves, abs=1e-5)

    @pytest.mark.parametrize(("noise", "decades"), [(0.002, -1), (0.02, 0), (0.1, math.log10(5))])
    def test_noise_in_decades_around_a_hundredth_of_the_brightest_tissue(self, noise, decades):
        assert described(every(4), noise=noise)[NOISE] == pytest.approx(decades, abs=1e-5)

    @pytest.mark.parametrize(("n_coils", "octaves"), [(4, -1), (8, 0), (16, 1)])
    def test_coils_in_octaves_around_eight(self, n_coils, octaves):
        assert described(every(4), n_coils)[COILS] == pytest.approx(octaves, abs=1e-5)

    def test_each_number_is_clamped(self):
        sparse = described(every(64), n_coils=1, noise=2.0)
        assert sparse[ACCELERATION] == LIMIT
        assert sparse[NOISE] == LIMIT
        assert sparse[COILS] == -LIMIT
        assert described(every(1), noise=0.0)[NOISE] == -LIMIT

    def test_nothing_measured_is_finite(self, problem):
        nothing = problem().times(0.0)
        found = describe(nothing.image, nothing.adjoint, nothing.operator, nothing.scale)
        assert found.shape == (2, N_CONDITIONS)
        assert found.abs().max() <= LIMIT

    @pytest.mark.parametrize("factor", [1e-6, 1e-2, 1e3])
    @pytest.mark.parametrize("points", [False, True])
    def test_is_free_of_the_scale_of_the_data(self, problem, factor, points):
        one = problem(points=points)
        other = one.times(factor)
        found = [describe(0.9 * m.image, m.adjoint, m.operator, m.scale) for m in (one, other)]
        torch.testing.assert_close(*found, rtol=0, atol=1e-3)

    def test_each_slice_of_a_batch_has_its_own(self, problem):
        measured = problem()
        scale = measured.scale._replace(noise=torch.tensor([0.02, 0.2]))
        found = describe(measured.image, measured.adjoint, measured.operator, scale)
        assert found[1, NOISE] - found[0, NOISE] == pytest.approx(1.0, abs=1e-5)


class TestDisagreement:
    SHAPE = (64, 64)

    def of(self, seed: int, strength: float) -> tuple[float, float]:
        """Of a noisy measurement with line errors times ``strength``: found, and by definition."""
        rng = np.random.default_rng(seed)
        maps = loop_coils(8, self.SHAPE, rng)
        image = (phantom_volume(1, self.SHAPE, rng)[0] * object_phase(self.SHAPE, rng)).astype(np.complex64)
        sampled = np.zeros(64, dtype=bool)
        sampled[::2] = sampled[24:40] = True
        error = line_errors(64, np.random.default_rng(self.disturbed()))
        factor = np.exp(strength * np.log(error)).astype(np.complex64)
        kspace = measure(image, maps, sampled, 0.01, rng, line_factor=factor)
        operator = SenseOp(torch.from_numpy(maps)[None], torch.from_numpy(sampled)[None])
        data = torch.from_numpy(kspace.data)[None]
        scale = Scale(torch.tensor([0.01]), torch.tensor([1.0]), data.abs().square().sum()[None])
        adjoint = operator.adjoint(data)
        solved = conjugate_gradient(operator.gram, adjoint, torch.zeros_like(adjoint), 40)
        misfit = (operator(solved) - data).abs().square().sum().item()
        by_definition = 0.25 * math.log2(misfit / (data[0, :, :, sampled].numel() * 0.01**2))
        return describe(solved, adjoint, operator, scale)[0, DISAGREEMENT].item(), by_definition

    @staticmethod
    def disturbed() -> int:
        """A seed whose line errors are not among the three of ten that have none."""
        return next(s for s in range(20) if not np.all(line_errors(64, np.random.default_rng(s)) == 1))

    @pytest.mark.parametrize("seed", range(3))
    def test_noise_alone_gives_about_zero(self, seed):
        """The image takes up 64 x 64 of the eight coils' samples: a little below zero."""
        found, by_definition = self.of(seed, 0.0)
        assert found == pytest.approx(by_definition, abs=0.01)
        assert found == pytest.approx(0.0, abs=0.12)

    @pytest.mark.parametrize("seed", range(3))
    def test_grows_with_what_makes_the_lines_disagree(self, seed):
        found = [self.of(seed, strength) for strength in (0.0, 1.0, 2.0, 4.0)]
        values = [value for value, _ in found]
        assert values == sorted(values)
        assert values[-1] - values[0] > 0.1
        assert all(
            value == pytest.approx(min(LIMIT, by_definition), abs=0.01) for value, by_definition in found
        )


def stage_of(raw_mu: float, raw_delta: float, slopes: list[float]) -> Stage:
    config = CascadeConfig(
        denoiser=DenoiserConfig(channels=(4,)),
        focus=DenoiserConfig(channels=(4,)),
        classifier=ClassifierConfig(channels=(8, 8)),
    )
    stage = Stage(config).requires_grad_(False)
    stage.raw_mu.fill_(raw_mu)
    stage.raw_delta.fill_(raw_delta)
    stage.mu_slopes.copy_(torch.tensor(slopes))
    stage.delta_slopes.copy_(torch.tensor(slopes))
    return stage


numbers = st.floats(-1e4, 1e4, width=32)
vectors = st.lists(numbers, min_size=N_CONDITIONS, max_size=N_CONDITIONS)


class TestWeightsOfAStage:
    @settings(deadline=None, max_examples=60)
    @given(raw_mu=st.floats(-15, 15, width=32), raw_delta=numbers, slopes=vectors, conditions=vectors)
    def test_stay_within_their_bounds_whatever_was_learned_and_measured(
        self, raw_mu, raw_delta, slopes, conditions
    ):
        """mu1 within half a decade of its own number either way, mu2 within a decade of mu1."""
        stage = stage_of(raw_mu, raw_delta, slopes)
        own = math.log1p(math.exp(raw_mu))
        told = torch.tensor([conditions])
        assert abs(math.log10(stage.mu(told).item() / own)) <= 0.5 + 1e-4
        assert abs(stage.delta(told).item()) <= math.log(10) + 1e-4

    def test_reach_their_bounds(self):
        stage = stage_of(0.0, 0.0, [1e3, 0.0, 0.0, 0.0])
        either_way = torch.tensor([[-1.0, 0, 0, 0], [1.0, 0, 0, 0]])
        decades = torch.log10(stage.mu(either_way) / math.log(2)).flatten()
        torch.testing.assert_close(decades, torch.tensor([-0.5, 0.5]))
        ends = torch.tensor([-math.log(10), math.log(10)])
        torch.testing.assert_close(stage.delta(either_way).flatten(), ends)

    @settings(deadline=None, max_examples=60)
    @given(conditions=vectors)
    def test_untrained_depend_on_nothing(self, conditions):
        config = CascadeConfig(
            initial_mu=0.25,
            denoiser=DenoiserConfig(channels=(4,)),
            focus=DenoiserConfig(channels=(4,)),
            classifier=ClassifierConfig(channels=(8, 8)),
        )
        stage, told = Stage(config), torch.tensor([conditions])
        assert stage.mu(told).item() == pytest.approx(0.25, rel=1e-5)
        assert stage.delta(told).item() == 0.0

    def test_each_slice_of_a_batch_follows_its_own_measurement(self):
        stage = stage_of(0.0, 0.1, [0.3, -0.2, 0.1, 0.4])
        told = torch.randn(3, N_CONDITIONS)
        for weight in (stage.mu, stage.delta):
            together = weight(told)
            assert together.shape == (3, 1, 1)
            torch.testing.assert_close(together, torch.cat([weight(one[None]) for one in told]))
