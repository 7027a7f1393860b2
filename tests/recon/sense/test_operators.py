"""Every operator is linear, its adjoint is its adjoint, and SigPy computes the same."""

import numpy as np
import pytest
import sigpy
import sigpy.mri.linop
import torch

from lfmri_node.recon.phantom.coils import loop_coils
from lfmri_node.recon.sense.operators import SenseOp, fewer_coils, fft_centred, ifft_centred

SHAPES = [(8, 10), (9, 10), (8, 7), (7, 9), (1, 6)]


def complex_normal(*shape: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, dtype=torch.complex64, generator=generator)


def encoding(shape: tuple[int, int], points: bool, n_coils: int = 3, batch: int = 2) -> SenseOp:
    generator = torch.Generator().manual_seed(1)
    mask = torch.rand(batch, *(shape if points else shape[1:]), generator=generator) > 0.4
    return SenseOp(complex_normal(batch, n_coils, *shape, seed=2), mask)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("points", [False, True])
class TestSenseOp:
    def test_adjoint(self, shape, points):
        operator = encoding(shape, points)
        x, y = complex_normal(2, *shape, seed=3), complex_normal(2, 3, *shape, seed=4)
        left = torch.vdot(operator(x).flatten(), y.flatten())
        right = torch.vdot(x.flatten(), operator.adjoint(y).flatten())
        torch.testing.assert_close(left, right, rtol=1e-4, atol=1e-4)

    def test_linear(self, shape, points):
        operator = encoding(shape, points)
        x, y = complex_normal(2, *shape, seed=3), complex_normal(2, *shape, seed=5)
        combined = operator((2 - 1j) * x + y)
        torch.testing.assert_close(combined, (2 - 1j) * operator(x) + operator(y), rtol=1e-4, atol=1e-4)

    def test_gram_is_adjoint_after_forward(self, shape, points):
        operator = encoding(shape, points)
        x = complex_normal(2, *shape, seed=3)
        torch.testing.assert_close(operator.gram(x), operator.adjoint(operator(x)), rtol=1e-4, atol=1e-4)

    def test_gram_of_everything_is_adjoint_after_forward_too(self, shape, points):
        some = encoding(shape, points)
        everything = torch.ones((2, *shape) if points else (2, shape[1]), dtype=torch.bool)
        operator, x = SenseOp(some.maps, everything), complex_normal(2, *shape, seed=3)
        torch.testing.assert_close(operator.gram(x), operator.adjoint(operator(x)), rtol=1e-4, atol=1e-4)

    def test_derivative_of_the_gram_by_the_mask(self, shape, points):
        operator = encoding(shape, points)
        left, right = complex_normal(2, *shape, seed=3), complex_normal(2, *shape, seed=4)
        mask = operator.mask[:, 0, 0] if not points else operator.mask[:, 0]
        mask = mask.clone().requires_grad_()
        torch.vdot(left.flatten(), SenseOp(operator.maps, mask).gram(right).flatten()).real.backward()
        gradient = operator.gram_mask_gradient(left, right)
        torch.testing.assert_close(gradient.reshape(mask.shape), mask.grad, rtol=1e-4, atol=1e-4)

    def test_unsampled_points_stay_zero(self, shape, points):
        operator = encoding(shape, points)
        y = operator(complex_normal(2, *shape, seed=3))
        assert torch.all(y[(operator.mask == 0).expand_as(y)] == 0)

    def test_equals_sigpy(self, shape, points):
        operator = encoding(shape, points, batch=1)
        weights = operator.mask[0].expand(3, *shape).numpy()
        oracle = sigpy.mri.linop.Sense(operator.maps[0].numpy(), weights=weights)
        x = complex_normal(1, *shape, seed=3)
        np.testing.assert_allclose(operator(x)[0].numpy(), oracle(x[0].numpy()), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("shape", SHAPES)
def test_transform_is_unitary_and_centred(shape):
    x = complex_normal(*shape)
    torch.testing.assert_close(ifft_centred(fft_centred(x)), x, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(fft_centred(x).numpy(), sigpy.fft(x.numpy()), rtol=1e-4, atol=1e-5)
    constant = fft_centred(torch.ones(shape, dtype=torch.complex64))
    peak = np.unravel_index(int(constant.abs().argmax()), shape)
    assert peak == (shape[0] // 2, shape[1] // 2)
    assert constant.abs().max().item() == pytest.approx(np.sqrt(shape[0] * shape[1]), rel=1e-5)


def test_a_mask_of_the_wrong_size_is_refused():
    with pytest.raises(ValueError, match="does not fit"):
        SenseOp(complex_normal(1, 2, 4, 6), torch.ones(1, 5))


@pytest.fixture(scope="module")
def maps() -> torch.Tensor:
    maps = loop_coils(12, (96, 92), np.random.default_rng(2))
    return torch.from_numpy(maps / np.linalg.norm(maps, axis=0)).to(torch.complex64)[None]


class TestFewerCoils:
    """Twelve loops whose maps are smooth: fewer combinations say all that the mask can tell apart."""

    @pytest.mark.parametrize("negligible", [1e-2, 1e-4, 1e-5])
    def test_no_pixel_loses_more_than_what_is_negligible(self, maps, negligible):
        coils = fewer_coils(maps, negligible)
        assert coils.shape[2] < 12
        seen = coils.abs().square().sum(2)
        assert 1 - seen.min() <= negligible + 1e-5
        one_more = coils[:, :, 1:].abs().square().sum(2)
        assert 1 - one_more.min() > negligible

    def test_the_gram_changes_by_no_more(self, maps):
        mask = torch.rand(1, 92, generator=torch.Generator().manual_seed(1)) > 0.6
        x = complex_normal(1, 96, 92, seed=3)
        exact = SenseOp(maps, mask).gram(x)
        for negligible in (1e-3, 1e-5):
            change = SenseOp(maps, mask, negligible=negligible).gram(x) - exact
            assert change.norm() <= (negligible + 1e-5) * x.norm()

    def test_slices_beside_each_other_keep_what_each_needs_alone(self, maps):
        few = torch.zeros_like(maps)
        few[:, :2] = maps[:, :2] / maps[:, :2].norm(dim=1, keepdim=True)
        both = fewer_coils(torch.cat((few, maps)), 1e-4)
        alone = fewer_coils(few, 1e-4)
        assert alone.shape[2] == 2
        torch.testing.assert_close(both[0, :, -2:].abs(), alone[0].abs(), rtol=1e-4, atol=1e-5)
        assert not both[0, :, :-2].any()

    def test_whole_slices_without_coil_maps_give_zero(self, maps):
        operator = SenseOp(torch.zeros_like(maps), torch.tensor([[True, False] * 46]), negligible=1e-4)
        assert not operator.gram(complex_normal(1, 96, 92)).any()
