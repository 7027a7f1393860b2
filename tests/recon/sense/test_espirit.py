"""ESPIRiT is SigPy's to rounding, everywhere on the grid: also where coils see next to nothing."""

import numpy as np
import pytest
from sigpy.mri.app import EspiritCalib

from lfmri_node.recon.phantom.body import phantom_volume
from lfmri_node.recon.phantom.coils import loop_coils, measure, object_phase
from lfmri_node.recon.sense.coilmaps import calibration_data
from lfmri_node.recon.sense.espirit import espirit
from lfmri_node.recon.sense.sampling import centre_lines
from lfmri_node.recon.types import Complex, Real


def square(side: int, n_coils: int, shape: tuple[int, int] = (120, 96)) -> Complex:
    """A calibration square of a phantom that fills a part of its field of view."""
    rng = np.random.default_rng(5)
    image = (phantom_volume(3, shape, rng)[0] * object_phase(shape, rng)).astype(np.complex64)
    lines = centre_lines(shape[1], side / shape[1])
    return calibration_data(measure(image, loop_coils(n_coils, shape, rng), lines, 0.002, rng))


def sigpys(data: Complex, grid: tuple[int, int], kernel: int) -> tuple[Complex, Real]:
    before = [n // 2 - m // 2 for n, m in zip(grid, data.shape[1:], strict=True)]
    after = [n - m - b for n, m, b in zip(grid, data.shape[1:], before, strict=True)]
    padded = np.pad(data / np.abs(data).max(), [(0, 0), *zip(before, after, strict=True)])
    app = EspiritCalib(
        padded,
        calib_width=data.shape[1],
        kernel_width=kernel,
        crop=0,
        output_eigenvalue=True,
        show_pbar=False,
    )
    maps, eigenvalue = app.run()
    return maps, np.abs(eigenvalue).reshape(grid)


@pytest.mark.parametrize(("side", "n_coils", "kernel"), [(24, 8, 6), (24, 20, 6), (17, 5, 6), (9, 4, 4)])
def test_equals_sigpys(side, n_coils, kernel):
    data, grid = square(side, n_coils), (48, 45)
    maps, eigenvalue = espirit(data, grid, kernel)
    theirs, oracle = sigpys(data, grid, kernel)
    assert oracle.min() < 0.5 < oracle.max()  # inside and outside
    np.testing.assert_allclose(eigenvalue, oracle, atol=1e-4)
    inside = oracle > 0.8
    turned = maps * np.exp(1j * np.angle((maps.conj() * theirs).sum(0)))
    assert np.linalg.norm((turned - theirs)[:, inside]) < 1e-3 * np.linalg.norm(theirs[:, inside])


def test_coils_that_see_nothing_give_zeros_and_no_nan():
    data = square(24, 4)
    data[1:3] = 0
    maps, eigenvalue = espirit(data, (48, 48), 6)
    assert np.isfinite(maps).all()
    assert np.isfinite(eigenvalue).all()
    assert np.abs(maps[1:3]).max() < 1e-6
