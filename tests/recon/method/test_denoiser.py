"""The body of D_w and G_u: what it may depend on and what it keeps, with SciPy as oracle of the phase."""

import numpy as np
import pytest
import torch
from scipy import ndimage

from lfmri_node.recon.method.conditions import N_CONDITIONS
from lfmri_node.recon.method.denoiser import Block, Denoiser, DenoiserConfig, smooth_phase

UNKNOWN = torch.zeros(1, N_CONDITIONS)
PLAIN = DenoiserConfig(channels=(8, 8, 8))
DEMODULATED = DenoiserConfig(channels=(8, 8, 8), demodulate=True)


def noise(*shape: int) -> torch.Tensor:
    torch.manual_seed(2)
    return torch.randn(*shape, dtype=torch.complex64)


class TestSmoothPhase:
    @pytest.mark.parametrize("shape", [(21, 18), (9, 9), (5, 7), (4, 30), (3, 1), (1, 1)])
    def test_is_that_of_two_local_sums(self, shape):
        """A 9 x 9 window twice, nothing beyond the edges: SciPy in double precision."""
        image = noise(2, *shape)
        found = smooth_phase(image)
        assert found.shape == image.shape
        for one, phase in zip(image.numpy().astype(np.complex128), found.numpy(), strict=True):
            for _ in range(2):
                one = 81 * ndimage.uniform_filter(one, 9, mode="constant")
            np.testing.assert_allclose(np.abs(phase), 1.0, rtol=1e-5)
            error = np.abs(phase - one / np.abs(one)) * np.abs(one)  # weak sums have no phase to speak of
            assert error.max() < 1e-4 * np.abs(one).max()

    def test_a_smooth_phase_is_found_inside_the_object(self):
        rows = torch.linspace(-1, 1, 64)[:, None]
        columns = torch.linspace(-1, 1, 48)
        phase = torch.exp(1j * (1.5 * rows + 0.8 * columns**2 + 2.0))[None].to(torch.complex64)
        magnitude = 1.0 + torch.rand(1, 64, 48)
        error = torch.angle(smooth_phase(magnitude * phase) * phase.conj())[:, 8:-8, 8:-8]
        assert error.abs().max() < 0.15

    def test_nothing_stays_nothing_and_no_gradient_passes(self):
        assert torch.all(torch.isfinite(torch.view_as_real(smooth_phase(torch.zeros(1, 12, 12) + 0j))))
        assert not smooth_phase(noise(1, 12, 12).requires_grad_()).requires_grad


class TestBlock:
    def test_the_conditions_begin_without_effect_and_act_once_learned(self):
        torch.manual_seed(0)
        block, x = Block(3, 6), torch.randn(2, 3, 12, 10)
        told = torch.randn(2, N_CONDITIONS)
        assert torch.equal(block(x, told), block(x, torch.zeros_like(told)))
        torch.nn.init.normal_(block.modulation.weight)
        assert not torch.allclose(block(x, told), block(x, torch.zeros_like(told)))
        each = torch.cat([block(x[i : i + 1], told[i : i + 1]) for i in range(2)])
        torch.testing.assert_close(block(x, told), each)

    def test_gain_and_bias_are_linear_in_the_conditions(self):
        """Where the bias is large silu is the identity, and shows gain and bias themselves."""
        torch.manual_seed(0)
        block, x = Block(3, 2).requires_grad_(False), torch.randn(1, 3, 12, 10)
        told = torch.tensor([[1.0, 0.0, 0.0, 0.0]])
        block.modulation.weight[:, 0] = torch.tensor([0.5, -0.25, 40.0, 60.0])  # gains, then biases
        expected = block.first(x) * torch.tensor([1.5, 0.75])[:, None, None]
        expected = expected + torch.tensor([40.0, 60.0])[:, None, None]
        torch.testing.assert_close(block(x, told), expected)


class TestDenoiser:
    @pytest.mark.parametrize("config", [PLAIN, DEMODULATED])
    def test_untrained_is_the_identity_to_the_bit(self, config):
        image = noise(2, 17, 22)
        body = Denoiser(config, n_images=2, guided=True)
        result = body(image, torch.randn(2, N_CONDITIONS), noise(2, 17, 22), guide=torch.rand(2, 1, 17, 22))
        assert torch.equal(result, image)

    @pytest.mark.parametrize("shape", [(16, 16), (17, 22), (15, 13)])
    def test_keeps_any_size_and_follows_scale_and_phase_of_its_input(self, shape, randomised):
        body = randomised(Denoiser(DEMODULATED, n_images=2, guided=False))
        image, other = noise(1, *shape), noise(1, *shape).flip(-1)
        result = body(image, UNKNOWN, other)
        assert result.shape == image.shape
        assert not torch.allclose(result, image)
        for unit in (50, 1e-5):  # the magnitudes of fastMRI
            turned = unit * torch.exp(torch.tensor(2.1j))
            again = body(turned * image, UNKNOWN, turned * other) / turned
            torch.testing.assert_close(again, result, rtol=1e-3, atol=1e-3)

    def test_what_does_not_demodulate_follows_the_scale_alone(self, randomised):
        body = randomised(Denoiser(PLAIN, n_images=1, guided=False))
        image = noise(1, 16, 16)
        torch.testing.assert_close(body(50 * image, UNKNOWN) / 50, body(image, UNKNOWN), rtol=1e-3, atol=1e-3)
        assert not torch.allclose(body(1j * image, UNKNOWN) / 1j, body(image, UNKNOWN), atol=1e-3)

    def test_sees_the_further_image_the_map_and_the_conditions(self, randomised):
        body = randomised(Denoiser(DEMODULATED, n_images=2, guided=True))
        image, other, guide = noise(1, 16, 16), noise(1, 16, 16).flip(-1), torch.rand(1, 1, 16, 16)
        result = body(image, UNKNOWN, other, guide=guide)
        for changed in (
            body(image, UNKNOWN, 2 * other, guide=guide),
            body(image, UNKNOWN, other, guide=0 * guide),
            body(image, UNKNOWN + 1, other, guide=guide),
        ):
            assert not torch.allclose(changed, result, atol=1e-4)
