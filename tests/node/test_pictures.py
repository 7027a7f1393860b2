"""Pictures show what the volumes hold."""

from pathlib import Path

import numpy as np
from PIL import Image

from lfmri_node.node.pictures import choose_slices, overlay, panels_of, write_pictures
from lfmri_node.recon.types import (
    Geometry,
    LesionMap,
    Method,
    Provenance,
    Quality,
    Reason,
    Reconstruction,
    SequenceInfo,
    Verdict,
)

N, Y, X = 6, 20, 24


def reconstruction(*, trusted: bool) -> Reconstruction:
    rng = np.random.default_rng(0)
    image = (rng.uniform(0.2, 1.0, (N, Y, X)) * np.exp(1j)).astype(np.complex64)
    activation = np.zeros((N, Y, X), dtype=np.float32)
    activation[4, 5:9, 6:12] = 0.9
    scores = np.zeros((N, 1), dtype=np.float32)
    scores[4] = 0.95
    lesion = LesionMap(
        activation=activation, scores=scores, labels=("lesion",), threshold=0.5, validated=False
    )
    return Reconstruction(
        image=image,
        reference=image * np.float32(0.9) if trusted else None,
        fallback=image * np.float32(0.8),
        zero_filled=image * np.float32(0.5),
        geometry=Geometry(
            matrix=(N, Y, X),
            spacing_mm=(5.0, 1.0, 1.0),
            thickness_mm=5.0,
            origin_mm=(0.0, 0.0, 0.0),
            axis_s=(0.0, 0.0, 1.0),
            axis_y=(0.0, 1.0, 0.0),
            axis_x=(1.0, 0.0, 0.0),
        ),
        sequence=SequenceInfo(),
        lesion=lesion if trusted else None,
        quality=Quality(
            verdict=Verdict.TRUSTED if trusted else Verdict.FALLBACK,
            acceleration=4.0,
            data_residual=0.01,
            reasons=() if trusted else (Reason(code="LF-QUA-001", message="m"),),
        ),
        provenance=Provenance(
            method=Method.LF_MRI if trusted else Method.WAVELET,
            fallback=Method.WAVELET,
            software_version="0",
            source_sha256="0" * 64,
            settings="method=lf-mri;lesion=focused;fallback=wavelet;coils=all",
        ),
    )


def test_one_grey_scale_for_all_images() -> None:
    panels = panels_of(reconstruction(trusted=True), None)
    ratio = panels["fallback"].astype(float).mean() / panels["image"].astype(float).mean()
    assert abs(ratio - 0.8) < 0.02


def test_error_is_magnitude_difference_times_gain() -> None:
    made = reconstruction(trusted=True)
    truth = np.abs(made.image) * np.float32(0.98)
    panels = panels_of(made, truth)
    white = np.percentile(truth, 99.7)
    expected = np.clip(5 * 0.02 / 0.98 * truth / white, 0, 1) * 255
    assert np.abs(panels["error_image"][..., 0] - expected).max() <= 1.0


def test_overlay_colours_only_where_the_map_is_active() -> None:
    made = reconstruction(trusted=True)
    assert made.lesion is not None
    picture = overlay(np.full((N, Y, X), 0.5, dtype=np.float32), made.lesion)
    coloured = (picture != picture[..., :1]).any(axis=-1)
    np.testing.assert_array_equal(coloured, made.lesion.activation > 0)
    outline = (picture[4] == (255, 230, 0)).all(axis=-1)
    assert outline.sum() == 2 * 6 + 2 * 2  # the rim of a box of 4 x 6 voxels


def test_a_fallback_is_shown_once_and_without_a_map() -> None:
    assert list(panels_of(reconstruction(trusted=False), None)) == ["zero_filled", "fallback"]


def test_the_overview_takes_in_the_slice_with_the_lesion() -> None:
    assert 4 in choose_slices(reconstruction(trusted=True), 4)
    assert len(choose_slices(reconstruction(trusted=False), 4)) == 4


def test_files_and_their_sizes(tmp_path: Path) -> None:
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
        "overview.png",
    ]
    with Image.open(tmp_path / "lf-mri.png") as sheet:
        assert sheet.size == (3 * X + 2 * 4, 2 * Y + 4)
    with Image.open(tmp_path / "overview.png") as overview:
        assert overview.size[0] > 9 * 300
