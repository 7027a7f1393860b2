"""Baselines against SigPy."""

import numpy as np
import pytest
import sigpy.mri.app
import sigpy.mri.linop

from lfmri_node.recon.metrics import compare
from lfmri_node.recon.phantom.body import phantom_volume
from lfmri_node.recon.phantom.coils import loop_coils, measure, object_phase
from lfmri_node.recon.sense.classical import cg_sense, l1_wavelet, zero_filled
from lfmri_node.recon.sense.coilmaps import estimate
from lfmri_node.recon.sense.sampling import centre_lines
from lfmri_node.recon.types import CoilMaps, KSpace


@pytest.fixture(scope="module")
def scan() -> tuple[KSpace, CoilMaps, np.ndarray]:
    rng = np.random.default_rng(5)
    shape = (72, 64)
    image = phantom_volume(1, shape, rng)[0]
    lines = centre_lines(64, 16 / 64)
    lines[::3] = True
    maps = loop_coils(6, shape, rng)
    kspace = measure((image * object_phase(shape, rng)).astype(np.complex64), maps, lines, 0.01, rng)
    return kspace, estimate(kspace), image


def test_zero_filled_is_sigpys_adjoint(scan):
    kspace, maps, _ = scan
    weights = np.broadcast_to(kspace.sampled, kspace.data.shape)
    oracle = sigpy.mri.linop.Sense(maps.maps, weights=weights).H(kspace.data)
    np.testing.assert_allclose(zero_filled(kspace, maps), oracle, atol=1e-5)


def test_cg_sense_is_sigpys(scan):
    kspace, maps, _ = scan
    oracle = sigpy.mri.app.SenseRecon(
        kspace.data,
        maps.maps,
        lamda=0.01,
        weights=np.broadcast_to(kspace.sampled, kspace.data.shape).astype(np.float32),
        max_iter=100,
        show_pbar=False,
    ).run()
    ours = cg_sense(kspace, maps, lamda=0.01, n_iterations=100)
    np.testing.assert_allclose(ours, oracle, atol=2e-3 * np.abs(oracle).max())


def test_each_baseline_is_better_than_the_one_before(scan):
    kspace, maps, truth = scan
    figures = [
        compare(np.abs(image)[None], truth[None]).psnr_db
        for image in (zero_filled(kspace, maps), cg_sense(kspace, maps), l1_wavelet(kspace, maps))
    ]
    assert figures == sorted(figures)


def test_the_scale_of_the_data_is_the_scale_of_the_image(scan):
    kspace, maps, _ = scan
    louder = KSpace(data=(1e-4 * kspace.data).astype(np.complex64), sampled=kspace.sampled)
    for method in (zero_filled, cg_sense, l1_wavelet):
        expected = method(kspace, maps)
        np.testing.assert_allclose(
            1e4 * method(louder, maps), expected, atol=5e-3 * np.abs(expected).max(), err_msg=method.__name__
        )


def test_no_signal_gives_zero(scan):
    kspace, maps, _ = scan
    silent = KSpace(data=np.zeros_like(kspace.data), sampled=kspace.sampled)
    for method in (zero_filled, cg_sense, l1_wavelet):
        assert not method(silent, maps).any()
