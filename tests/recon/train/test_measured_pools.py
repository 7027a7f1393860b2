"""Training on the user's own k-space: samples are the measured slices, masks ask for no padding."""

import json
from pathlib import Path

import h5py
import numpy as np
import pytest
from typer.testing import CliRunner

from lfmri_node.recon import lab
from lfmri_node.recon.errors import LabError
from lfmri_node.recon.phantom.body import phantom_volume
from lfmri_node.recon.phantom.coils import loop_coils
from lfmri_node.recon.train.loader import collate
from lfmri_node.recon.train.measured_pools import FastMriPool, SkmTeaPool, centred
from lfmri_node.recon.train.runs import load_run

N_R, N_P, RECON, FIRST, LAST = 128, 96, 64, 6, 91
"""Columns 6 to 91 are measured: 42 before the centre 48, 44 from there on."""


@pytest.fixture
def folder(write_fastmri, tmp_path) -> Path:
    """One training volume of two slices: a phantom in the middle of a readout oversampled twice."""
    path = tmp_path / "knee" / "multicoil_train" / "file1.h5"
    write_fastmri(path, shape=(2, 4, N_R, N_P), recon=RECON, limits=(48 - FIRST, LAST - FIRST))
    rng = np.random.default_rng(0)
    body = np.zeros((2, N_R, N_P), dtype=np.float32)
    body[:, 32:96, 8:88] = phantom_volume(2, (64, 80), rng)
    axes = (-2, -1)
    coils = body[:, None] * loop_coils(4, (N_R, N_P), rng) * 3e-5
    kspace = np.fft.fftshift(np.fft.fft2(np.fft.ifftshift(coils, axes), norm="ortho"), axes)
    with h5py.File(path, "r+") as file:
        kspace[..., :FIRST] = kspace[..., LAST + 1 :] = 0
        file["kspace"][:] = kspace
        file.attrs["max"] = float(3e-5 * body.max())
    return tmp_path


def test_a_sample_is_the_measured_slice_cut_to_the_object(folder):
    pool = FastMriPool(folder, 2, 0)
    assert len(pool) == 2
    sample = pool[0]
    assert sample.kspace.shape == (4, RECON, 2 * (48 - FIRST))
    example = sample.example(np.random.default_rng(0), None, points=False)
    assert 0.5 < np.abs(example.target).max() < 1.5
    images = np.fft.ifftshift(sample.kspace, (-2, -1))
    images = np.fft.fftshift(np.fft.ifft2(images, norm="ortho"), (-2, -1))
    combined = np.sqrt((np.abs(images) ** 2).sum(0))
    inside = combined > 0.2
    np.testing.assert_allclose(np.abs(example.target)[inside], combined[inside], rtol=0.1)
    assert example.lesion_kind == ""
    assert example.label  # nobody looked, so it is no negative
    assert not example.counted


def test_masks_ask_for_measured_columns_alone(folder):
    with h5py.File(folder / "knee" / "multicoil_train" / "file1.h5") as file:
        kspace = file["kspace"][0]
    measured = np.zeros(N_P, dtype=bool)
    measured[FIRST : LAST + 1] = True
    cut = centred(kspace, measured)
    assert np.abs(cut).sum(axis=(0, 1)).min() > 0
    np.testing.assert_array_equal(cut[..., cut.shape[2] // 2], kspace[..., N_P // 2])


def test_a_folder_without_volumes_is_refused(tmp_path):
    with pytest.raises(LabError) as caught:
        FastMriPool(tmp_path, 2, 0)
    assert caught.value.code == "LF-LAB-009"


def test_a_recipe_trains_on_them_and_says_so(folder):
    runs = folder / "runs"
    arguments = ["train", "u-net", "--data", str(folder), "--runs", str(runs), "--source", "fastmri"]
    result = CliRunner().invoke(lab.app, [*arguments, "--max-steps", "4", "--threads", "1"])
    assert result.exit_code == 0, result.output
    assert load_run(runs / "u-net").recipe.source == "fastmri"
    assert not (runs / "pools").exists()


KY, KZ, ACQUIRED_KZ = 432, 112, 32


@pytest.fixture
def knees(write_skm_tea, tmp_path) -> Path:
    """A training scan of two planes, each a phantom, and a test scan beside it; annotations of both."""
    for name in ("MTR_001", "MTR_002"):
        path = write_skm_tea(
            tmp_path / "files_recon_calib-24" / f"{name}.h5",
            matrix=(2, KY, KZ),
            acquired=(416, ACQUIRED_KZ),
            n_coils=4,
        )
        rng = np.random.default_rng(0)
        axes = (-2, -1)
        maps = loop_coils(4, (KY, KZ), rng)
        body = np.zeros((2, KY, KZ), dtype=np.float32)
        body[:, 100:332, 16:96] = 500 * phantom_volume(2, (232, 80), rng)
        spectrum = np.fft.fft2(np.fft.ifftshift(body[:, None] * maps, axes), norm="ortho")
        kspace = np.fft.fftshift(spectrum, axes)
        with h5py.File(path, "r+") as file:
            acquired = np.abs(file["kspace"][0, :, :, 0, 0]) > 0
            file["kspace"][:, :, :, 0] = np.moveaxis(kspace * acquired, 1, -1).astype(np.complex64)
            file["target"][..., 0, 0] = body.astype(np.complex64)
    for split, name in (("train", "MTR_001"), ("test", "MTR_002")):
        table = {
            "images": [
                {"id": 1, "scan_id": name, "subject_id": 1, "matrix_shape": [2, KY, KZ], "inspected": True}
            ],
            **{"annotations": [], "categories": [], "tissues": []},
        }
        (tmp_path / "annotations").mkdir(exist_ok=True)
        (tmp_path / "annotations" / f"{split}.json").write_text(json.dumps(table))
    return tmp_path


def test_a_plane_is_sampled_at_points_inside_what_was_acquired(knees):
    pool = SkmTeaPool(knees, 10, 0)
    assert len(pool) == 2  # planes of the training scan; the test scan stays out
    for index, acceleration in ((0, 4.0), (1, 8.0)):
        sample = pool[index]
        example = sample.example(np.random.default_rng(0), 64, points=False)
        assert example.sampled.shape == example.target.shape == (KY, KZ)
        acquired = np.abs(sample.kspace[0]) > 0
        assert not (example.sampled & ~acquired).any()
        assert 416 * ACQUIRED_KZ / example.sampled.sum() == pytest.approx(acceleration, rel=0.05)
        assert 0.5 < np.abs(example.target).max() < 1.5
        assert example.sampled[KY // 2 - 12 : KY // 2 + 12, KZ // 2 - 12 : KZ // 2 + 12].all()


def test_a_batch_of_points_is_flipped_and_left_whole(knees):
    """Whatever the flips of its seed: as many points, data at all of them and nowhere else."""
    sample = SkmTeaPool(knees, 2, 0)[0]
    turned = set()
    for seed in range(6):
        batch = collate([sample], (0, seed), n_rows=64)
        m = batch.measurement
        assert batch.target.shape == (1, KY, KZ)
        assert m.sampled.sum() == sample.mask.sum()
        assert (m.kspace * ~m.sampled[:, None]).abs().max() == 0
        assert ((m.kspace.abs() > 0).any(1) == m.sampled).all()
        turned.add(m.sampled.numpy().tobytes())
    assert len(turned) > 1


def test_skm_tea_without_annotations_is_refused(knees):
    (knees / "annotations" / "train.json").unlink()
    with pytest.raises(LabError) as caught:
        SkmTeaPool(knees, 2, 0)
    assert caught.value.code == "LF-LAB-009"


def test_a_recipe_trains_on_skm_tea(knees):
    runs = knees / "runs"
    arguments = ["train", "lf-off", "--data", str(knees), "--runs", str(runs), "--source", "skm-tea"]
    result = CliRunner().invoke(lab.app, [*arguments, "--max-steps", "4", "--threads", "1"])
    assert result.exit_code == 0, result.output
    assert load_run(runs / "lf-off").recipe.source == "skm-tea"
