"""The wavelet transform against PyWavelets, the solver against closed forms and BART."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import pywt
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lfmri_node.recon.metrics import compare
from lfmri_node.recon.phantom.body import phantom_volume
from lfmri_node.recon.phantom.coils import loop_coils, measure, object_phase
from lfmri_node.recon.sense.classical import operator, wavelet
from lfmri_node.recon.sense.coilmaps import estimate
from lfmri_node.recon.sense.operators import SenseOp
from lfmri_node.recon.sense.sampling import random_lines
from lfmri_node.recon.sense.wavelets import LEVELS, analyse, shrink, synthesise, wavelet_sense
from lfmri_node.recon.types import CoilMaps, KSpace, Real

BLOCK = 2**LEVELS


def complex_normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, dtype=torch.complex64, generator=torch.Generator().manual_seed(seed))


def whole(shape: tuple[int, int], batch: int = 1) -> SenseOp:
    """One coil that sees everything alike, every line measured: A is unitary."""
    ones = torch.ones(batch, 1, *shape, dtype=torch.complex64)
    return SenseOp(ones, torch.ones(batch, shape[1], dtype=torch.bool))


@settings(max_examples=10, deadline=None)
@given(blocks=st.tuples(st.integers(1, 4), st.integers(1, 4)), levels=st.integers(1, LEVELS))
def test_the_transform_is_orthonormal(blocks, levels):
    image = complex_normal(2, blocks[0] * 2**levels, blocks[1] * 2**levels)
    coefficients = analyse(image, levels)
    torch.testing.assert_close(synthesise(coefficients), image, rtol=1e-4, atol=1e-4)
    energy = sum(float(part.square().sum()) for part in (coefficients.approximation, *coefficients.details))
    assert energy == pytest.approx(float(image.abs().square().sum()), rel=1e-4)


@settings(max_examples=10, deadline=None)
@given(
    shape=st.tuples(st.integers(1, 50), st.integers(1, 50)),
    shift=st.tuples(st.integers(0, BLOCK - 1), st.integers(0, BLOCK - 1)),
)
def test_a_weight_of_zero_leaves_images_of_any_size(shape, shift):
    image = complex_normal(1, *shape)
    torch.testing.assert_close(shrink(image, torch.zeros(1), shift), image, rtol=1e-4, atol=1e-4)


def by_pywavelets(image: np.ndarray) -> list[np.ndarray]:
    """One level, in the order and at the place of ours: PyWavelets begins one sample further right."""
    moved = np.roll(image, (-1, -1), (0, 1))
    low, (horizontal, vertical, diagonal) = pywt.dwt2(moved, "db2", "periodization")
    return [low, vertical, horizontal, diagonal]


def as_complex(coefficients: torch.Tensor) -> np.ndarray:
    """c64 (k, h, w) of f32 (2, k, h, w)."""
    return torch.complex(*coefficients).numpy()


def test_every_level_is_pywavelets():
    image = complex_normal(1, 48, 32)
    ours = analyse(image, 3)
    low = image[0].numpy()
    for details in ours.details:
        low, *bands = by_pywavelets(low)
        np.testing.assert_allclose(as_complex(details[0]), bands, atol=1e-5)
    np.testing.assert_allclose(as_complex(ours.approximation[0])[0], low, atol=1e-5)


def test_shrinking_is_pywavelets_soft_threshold():
    image = complex_normal(1, 32, 48)
    low, bands = pywt.dwt2(np.roll(image[0].numpy(), (-1, -1), (0, 1)), "db2", "periodization")
    kept = pywt.threshold(low, 0.8, "soft"), tuple(pywt.threshold(band, 0.8, "soft") for band in bands)
    expected = np.roll(pywt.idwt2(kept, "db2", "periodization"), (1, 1), (0, 1))
    ours = shrink(image, torch.tensor([0.8]), (0, 0), levels=1)[0].numpy()
    np.testing.assert_allclose(ours, expected, atol=1e-5)


def test_a_shift_displaces_the_grid_alone():
    image = complex_normal(1, 64, 48)
    moved = shrink(torch.roll(image, (3, 5), (1, 2)), torch.tensor([0.7]), (0, 0))
    expected = torch.roll(shrink(image, torch.tensor([0.7]), (3, 5)), (3, 5), (1, 2))
    torch.testing.assert_close(moved, expected, rtol=1e-4, atol=1e-4)


def test_a_flat_image_loses_the_weight_of_its_coarsest_coefficient():
    """All of a flat image c is in coefficients c 2^L, whatever the shift: c - weight / 2^L is left."""
    encoding, flat = whole((48, 32)), torch.full((1, 48, 32), 2.0 - 1.0j)
    left = wavelet_sense(encoding, flat, torch.tensor([4.0]), 30)
    expected = flat * (1 - 4.0 / BLOCK / abs(2.0 - 1.0j))
    torch.testing.assert_close(left, expected, rtol=1e-4, atol=1e-4)


def test_each_entry_of_a_batch_has_its_own_weight():
    image, weights = complex_normal(2, 30, 21), torch.tensor([0.1, 0.9])
    together = wavelet_sense(whole((30, 21), 2), image, weights, 5)
    for i in range(2):
        alone = wavelet_sense(whole((30, 21)), image[i : i + 1], weights[i : i + 1], 5)
        torch.testing.assert_close(together[i : i + 1], alone, rtol=1e-4, atol=1e-5)


@pytest.fixture(scope="module")
def scan() -> tuple[KSpace, CoilMaps, Real]:
    rng = np.random.default_rng(5)
    shape = (80, 73)
    image = phantom_volume(1, shape, rng)[0]
    lines = random_lines(73, 3.0, 0.2, np.random.RandomState(0))
    signal = (image * object_phase(shape, rng)).astype(np.complex64)
    kspace = measure(signal, loop_coils(6, shape, rng), lines, 0.01, rng)
    return kspace, estimate(kspace), image


def test_lines_and_the_same_points_agree(scan):
    kspace, maps, _ = scan
    sampled = np.broadcast_to(kspace.sampled, kspace.data.shape[1:]).copy()
    expected = wavelet(kspace, maps, n_iterations=10)
    found = wavelet(KSpace(data=kspace.data, sampled=sampled), maps, n_iterations=10)
    np.testing.assert_allclose(found, expected, atol=1e-4 * np.abs(expected).max())


def test_nothing_is_left_outside_the_support_and_a_repetition_is_equal(scan):
    kspace, maps, _ = scan
    image = wavelet(kspace, maps)
    assert not image[~maps.support].any()
    np.testing.assert_array_equal(wavelet(kspace, maps), image)


def test_a_good_start_needs_fewer_iterations(scan):
    kspace, maps, _ = scan
    encoding, solution = operator(kspace, maps), torch.from_numpy(wavelet(kspace, maps))[None]
    adjoint = encoding.adjoint(torch.from_numpy(kspace.data)[None])
    weight = 0.002 * adjoint.abs().amax((1, 2))

    def distance(start: torch.Tensor | None) -> float:
        return float((wavelet_sense(encoding, adjoint, weight, 5, start) - solution).norm())

    assert distance(solution) < 0.2 * distance(None)


def test_as_good_as_bart(scan, program: Callable[[str], Path], tmp_path: Path):
    bart = program("bart")
    kspace, maps, truth = scan
    for name, coils in (("kspace", kspace.data), ("maps", maps.maps)):
        array = coils.transpose(1, 2, 0)[:, :, None, :]
        (tmp_path / f"{name}.hdr").write_text("# Dimensions\n" + " ".join(map(str, array.shape)) + "\n")
        array.ravel(order="F").tofile(tmp_path / f"{name}.cfl")

    def theirs(lamda: float) -> np.ndarray:
        files = [str(tmp_path / name) for name in ("kspace", "maps", "image")]
        subprocess.run(
            [bart, "pics", "-S", "-i", "60", "-R", f"W:3:0:{lamda}", *files], check=True, capture_output=True
        )
        image = np.fromfile(tmp_path / "image.cfl", dtype=np.complex64).reshape(truth.shape, order="F")
        return image * maps.support

    def best(images: list[np.ndarray]) -> float:
        return max(compare(np.abs(image)[None], truth[None]).psnr_db for image in images)

    ours = best([wavelet(kspace, maps, lamda) for lamda in (0.001, 0.002, 0.004)])
    assert ours > best([theirs(lamda) for lamda in (0.002, 0.005, 0.01)]) - 0.5
