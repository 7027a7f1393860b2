"""What the service tells the network of a slice: as in training, from the data alone."""

import numpy as np
import pytest
import torch

from lfmri_node.recon.passes import scale_of
from lfmri_node.recon.phantom.body import phantom_volume
from lfmri_node.recon.phantom.coils import loop_coils, measure, object_phase
from lfmri_node.recon.sense.classical import cg_sense
from lfmri_node.recon.sense.coilmaps import estimate
from lfmri_node.recon.sense.sampling import centre_lines
from lfmri_node.recon.types import KSpace

SHAPE, NOISE = (128, 96), 0.01


@pytest.fixture(scope="module")
def kspace() -> KSpace:
    """Every third line of a phantom whose brightest tissue is about 1, and a centre."""
    rng = np.random.default_rng(5)
    image = phantom_volume(1, SHAPE, rng)[0]
    lines = centre_lines(SHAPE[1], 0.2)
    lines[::3] = True
    signal = (image / np.percentile(image, 99.5) * object_phase(SHAPE, rng)).astype(np.complex64)
    return measure(signal, loop_coils(6, SHAPE, rng), lines, NOISE, rng)


def numbers(kspace: KSpace) -> tuple[float, float, float]:
    least_squares = torch.from_numpy(cg_sense(kspace, estimate(kspace), 0.03, 5))[None]
    noise, level, energy = (value.tolist() for value in scale_of([kspace], least_squares))
    assert [len(noise), len(level), len(energy)] == [1, 1, 1]
    return noise[0], level[0], energy[0]


def test_noise_level_and_energy_are_those_of_the_measurement(kspace):
    noise, level, energy = numbers(kspace)
    assert noise == pytest.approx(NOISE, rel=0.25)
    assert level == pytest.approx(1.0, rel=0.2)
    assert energy == pytest.approx((np.abs(kspace.data) ** 2).sum(), rel=1e-4)


@pytest.mark.parametrize("factor", [1e-4, 1e3])
def test_follow_the_unit_of_the_data(kspace, factor):
    one, other = numbers(kspace), numbers(KSpace(data=factor * kspace.data, sampled=kspace.sampled))
    assert other == pytest.approx((factor * one[0], factor * one[1], factor**2 * one[2]), rel=1e-3)


def test_a_slice_without_signal_has_numbers_too(kspace):
    assert numbers(KSpace(data=np.zeros_like(kspace.data), sampled=kspace.sampled)) == (0.0, 0.0, 0.0)
