"""Pictures show what the volumes hold."""

from pathlib import Path

import numpy as np
from PIL import Image

from lfmri_node.dicom_io.objects.texts import NOTHING_MARKED
from lfmri_node.node.offline.pictures import choose_slices, overlay, panels_of, titles_of, write_pictures

N, Y, X = 6, 20, 24


def test_one_grey_scale_for_all_images(reconstruction) -> None:
    panels = panels_of(reconstruction(trusted=True), None)
    ratio = panels["fallback"].astype(float).mean() / panels["image"].astype(float).mean()
    assert abs(ratio - 0.8) < 0.02


def test_error_is_magnitude_difference_times_gain(reconstruction) -> None:
    made = reconstruction(trusted=True)
    truth = np.abs(made.image) * np.float32(0.98)
    panels = panels_of(made, truth)
    white = np.percentile(truth, 99.7)
    expected = np.clip(5 * 0.02 / 0.98 * truth / white, 0, 1) * 255
    assert np.abs(panels["error_image"][..., 0] - expected).max() <= 1.0


def test_overlay_colours_only_where_the_map_is_active(reconstruction) -> None:
    made = reconstruction(trusted=True)
    assert made.lesion is not None
    picture = overlay(np.full((N, Y, X), 0.5, dtype=np.float32), made.lesion)
    coloured = (picture != picture[..., :1]).any(axis=-1)
    np.testing.assert_array_equal(coloured, made.lesion.activation > 0)
    outline = (picture[4] == (255, 230, 0)).all(axis=-1)
    assert outline.sum() == 2 * 6 + 2 * 2  # the rim of a box of 4 x 6 voxels


def test_a_fallback_is_shown_once_and_without_a_map(reconstruction) -> None:
    assert list(panels_of(reconstruction(trusted=False), None)) == ["zero_filled", "fallback"]


def test_the_overview_takes_in_the_slice_with_the_lesion(reconstruction) -> None:
    assert 4 in choose_slices(reconstruction(trusted=True), 4)
    assert len(choose_slices(reconstruction(trusted=False), 4)) == 4


def test_files_and_their_sizes(tmp_path: Path, reconstruction) -> None:
    made = reconstruction(trusted=True)
    written = write_pictures(made, np.abs(made.image), tmp_path, captions={"image": "30.0 dB / 0.900"})
    assert [path.name for path in written] == [
        "truth.png",
        "zero-filled.png",
        "fallback.png",
        "reference.png",
        "lf-mri.png",
        "lesion-map.png",
        "error-fallback.png",
        "error-reference.png",
        "error-lf-mri.png",
        "slice.png",
        "overview.png",
    ]
    with Image.open(tmp_path / "lf-mri.png") as sheet:
        assert sheet.size == (3 * X + 2 * 4, 2 * Y + 4)
    with Image.open(tmp_path / "overview.png") as overview:
        assert overview.size[0] > 9 * 300
    with Image.open(tmp_path / "slice.png") as glance:
        assert 800 <= glance.size[0] <= 880


def test_the_heading_of_the_map_says_what_came_of_it(reconstruction) -> None:
    marked, empty = reconstruction(validated=True), reconstruction(marked=False)
    assert titles_of(marked)["lesion"] == "lesion map over LF-MRI: 24 voxels marked"
    assert titles_of(empty)["lesion"] == f"lesion map over LF-MRI: {NOTHING_MARKED}; NOT VALIDATED"
    assert titles_of(reconstruction(trusted=False))["fallback"] == "fallback (wavelet)"
