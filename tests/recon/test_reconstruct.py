"""The one door: verdict, images, order of slices, scale; and the archive of its answer."""

import dataclasses
import json

import numpy as np
import pytest
import torch
from scipy import ndimage

from lfmri_node.recon.archive import load_reconstruction, save_reconstruction
from lfmri_node.recon.calibration import Calibration, calibrate
from lfmri_node.recon.errors import InvalidRawData
from lfmri_node.recon.method.weights import load_model
from lfmri_node.recon.mrd.geometry import apply_display
from lfmri_node.recon.passes import run_network
from lfmri_node.recon.phantom.body import phantom_volume
from lfmri_node.recon.phantom.coils import loop_coils, measure, object_phase
from lfmri_node.recon.reconstruct import reconstruct
from lfmri_node.recon.sense import classical as baseline
from lfmri_node.recon.sense.coilmaps import estimate
from lfmri_node.recon.sense.sampling import centre_lines
from lfmri_node.recon.types import (
    DisplayOrder,
    Geometry,
    KSpace,
    LesionWeighting,
    Method,
    RawScan,
    ReconSettings,
    ScanIdentity,
    SequenceInfo,
    Verdict,
)

SHAPE = (48, 40)
N_SLICES = 3
NONE = (-2.0, -1.0)
"""A range that no residual keeps."""


def planes(n_coils: int = 4) -> list[KSpace]:
    rng = np.random.default_rng(7)
    volume = phantom_volume(N_SLICES, SHAPE, rng)
    lines = centre_lines(SHAPE[1], 0.3)
    lines[::4] = True
    maps, phase = loop_coils(n_coils, SHAPE, rng), object_phase(SHAPE, rng)
    return [measure((image * phase).astype(np.complex64), maps, lines, 0.005, rng) for image in volume]


@pytest.fixture(scope="module")
def scan() -> RawScan:
    data = planes()
    return RawScan(
        load=lambda s: data[s],
        shape=(N_SLICES, 4, *SHAPE),
        geometry=Geometry(
            matrix=(N_SLICES, SHAPE[1], SHAPE[0]),
            spacing_mm=(5.0, 1.0, 1.0),
            thickness_mm=5.0,
            origin_mm=(0.0, 0.0, 0.0),
            axis_s=(0.0, 0.0, 1.0),
            axis_y=(0.0, 1.0, 0.0),
            axis_x=(1.0, 0.0, 0.0),
        ),
        display=DisplayOrder(crop=SHAPE, resample=SHAPE, permutation=(0, 2, 1), flip=(True, False, True)),
        sequence=SequenceInfo(protocol="test"),
        identity=ScanIdentity(),
        contrast=0,
        repetition=0,
        whitened=False,
        n_averages=1,
        source_sha256="0" * 64,
    )


def test_trusted_scan_has_everything(scan, write_model):
    model = load_model(write_model())
    done: list[tuple[int, int]] = []
    result = reconstruct(
        scan, model, ReconSettings(always_fallback=True), progress=lambda *step: done.append(step)
    )
    assert result.quality.verdict is Verdict.TRUSTED
    assert result.provenance.method is Method.LF_MRI
    assert result.provenance.weights_sha256 == model.sha256
    assert result.lesion is not None
    assert (result.lesion.operating_score, result.lesion.threshold) == (0.0, 0.2)
    assert not result.lesion.validated  # its card has no figures on real lesions
    assert result.lesion.activation.shape == result.image.shape == (N_SLICES, 40, 48)
    assert result.lesion.labels == ("bright lesion", "dark lesion")
    assert result.lesion.scores.shape == (N_SLICES, 2)
    assert result.reference is not None
    assert result.fallback is not None
    assert result.provenance.fallback in (Method.WAVELET, Method.CG_SENSE)
    assert done == [(1, 3), (2, 3), (3, 3)]


def test_the_map_is_zero_in_air_and_below_its_floor(scan, write_model):
    model = load_model(write_model())
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():  # a classifier that sees lesions, weak and strong, everywhere
        for parameter in model.network.classifier.parameters():
            parameter.add_(0.5 * torch.randn(parameter.shape, generator=generator))
    activation = reconstruct(scan, model, ReconSettings()).lesion.activation
    tissue = phantom_volume(N_SLICES, SHAPE, np.random.default_rng(7)) > 0.05
    shown = apply_display(tissue.astype(np.float32), scan.display) > 0
    near = ndimage.binary_dilation(shown, np.ones((1, 3, 3)), iterations=3)
    assert activation[shown].any()
    assert not near.all()
    assert not activation[~near].any(), "air"
    assert activation[activation > 0].min() >= np.float32(0.1), "the floor that conformance.md states"


def test_zero_filled_volume_is_the_adjoint_in_display_order(scan, write_model):
    result = reconstruct(scan, load_model(write_model()), ReconSettings(always_fallback=True))
    for s in range(N_SLICES):
        kspace = scan.load(N_SLICES - 1 - s)
        expected = baseline.zero_filled(kspace, estimate(kspace)).T[:, ::-1]
        np.testing.assert_allclose(result.zero_filled[s], expected, atol=1e-5)


def test_an_untrained_cascade_is_data_consistency_alone(scan, write_model):
    """D_w and G_u of an untrained model are identities, so reference and image fit the data better."""
    result = reconstruct(scan, load_model(write_model()), ReconSettings())
    zero_filled = reconstruct(scan, None, ReconSettings(method=Method.ZERO_FILLED))
    assert result.quality.data_residual < 0.6 * zero_filled.quality.data_residual


def test_lesion_term_off_delivers_the_reference_and_an_empty_map(scan, write_model):
    result = reconstruct(scan, load_model(write_model()), ReconSettings(lesion=LesionWeighting.OFF))
    np.testing.assert_array_equal(result.image, result.reference)
    assert not result.lesion.mask.any()


def test_the_lesion_term_changes_nothing_where_no_coil_map_reaches(scan, write_model):
    model = load_model(write_model())
    with torch.no_grad():
        for stage in model.network.stages:
            stage.raw_delta.fill_(0.5)
    kspace = scan.load(0)
    maps = estimate(kspace)
    result = run_network(model, kspace, maps, LesionWeighting.UNIFORM)
    changed = result.image != result.reference
    assert changed[maps.support].any()
    assert not changed[~maps.support].any()
    assert (~maps.support).any()


def test_outside_the_domain_the_fallback_is_delivered_with_its_reason(scan, write_model):
    model = load_model(write_model(noise=(0.0, 1e-6)))
    result = reconstruct(scan, model, ReconSettings(fallback=Method.CG_SENSE))
    assert result.quality.verdict is Verdict.FALLBACK
    assert [reason.code for reason in result.quality.reasons] == ["LF-QUA-111"]
    assert result.provenance.method is Method.CG_SENSE
    assert result.provenance.weights_sha256 is None
    assert result.lesion is None
    assert result.reference is None
    expected = baseline.cg_sense(scan.load(2), estimate(scan.load(2))).T[:, ::-1]
    np.testing.assert_allclose(result.image[0], expected, atol=1e-5)


def test_a_network_that_misses_the_data_falls_back(scan, write_model):
    model = load_model(write_model(network_residual=NONE, network_residual_few_lines=NONE))
    result = reconstruct(scan, model, ReconSettings())
    assert [reason.code for reason in result.quality.reasons] == ["LF-QUA-118"]
    assert result.provenance.method is result.provenance.fallback is Method.WAVELET
    assert "wavelet" in result.provenance.choice


def test_all_reasons_are_told_together(scan, write_model):
    """Of the acquisition, of the slices and of the network's image: one answer, not one reason a visit."""
    path = write_model(noise=(0.0, 1e-6), network_residual=NONE, network_residual_few_lines=NONE)
    card = path.with_suffix(".json")
    card.write_text(card.read_text().replace('"n_coils": [2, 32]', '"n_coils": [8, 32]'))
    result = reconstruct(scan, load_model(path), ReconSettings())
    codes = [reason.code for reason in result.quality.reasons]
    assert codes == ["LF-QUA-102", "LF-QUA-111", "LF-QUA-118"]


def test_a_slice_below_the_operating_score_shows_no_lesion(scan, write_model):
    path = write_model()
    card = path.with_suffix(".json")
    card.write_text(card.read_text().replace('"operating_score": 0.0', '"operating_score": 1.0'))
    result = reconstruct(scan, load_model(path), ReconSettings())
    assert not result.lesion.activation.any()
    np.testing.assert_array_equal(result.image, result.reference)


def test_calibration_survives_the_disk_and_gives_the_same_image(scan, write_model, tmp_path):
    model, settings = load_model(write_model()), ReconSettings(n_virtual_coils=3)
    calibration = calibrate(scan, settings)
    calibration.save(tmp_path / "calibration.npz")
    restored = Calibration.load(tmp_path / "calibration.npz")
    assert restored.indicators == calibration.indicators
    one = reconstruct(scan, model, settings, calibration=calibration)
    two = reconstruct(scan, model, settings, calibration=restored)
    np.testing.assert_array_equal(one.image, two.image)
    np.testing.assert_allclose(one.image, reconstruct(scan, model, settings).image, atol=1e-6)


def test_of_many_coils_twelve_virtual_ones_are_used(scan, write_model):
    """So that arrays of more coils than were ever trained on need no setting."""
    path = write_model()
    card = path.with_suffix(".json")
    card.write_text(card.read_text().replace('"n_coils": [2, 32]', '"n_coils": [2, 12]'))
    model, data = load_model(path), planes(16)
    many = dataclasses.replace(scan, load=lambda s: data[s], shape=(N_SLICES, 16, *SHAPE))
    assert calibrate(many).slices[0].maps.shape[0] == 12
    few, every = (reconstruct(many, model, ReconSettings(n_virtual_coils=n)) for n in (12, None))
    assert few.quality.verdict is Verdict.TRUSTED
    assert [reason.code for reason in every.quality.reasons] == ["LF-QUA-102"]


@pytest.mark.parametrize("trusted", [True, False])
def test_archive_round_trip(scan, write_model, tmp_path, trusted):
    result = reconstruct(scan, load_model(write_model()) if trusted else None, ReconSettings())
    save_reconstruction(result, tmp_path)
    restored = load_reconstruction(tmp_path)
    for field in dataclasses.fields(result):
        left, right = getattr(result, field.name), getattr(restored, field.name)
        if isinstance(left, np.ndarray):
            np.testing.assert_array_equal(left, right)
        elif field.name == "lesion" and left is not None:
            np.testing.assert_array_equal(left.activation, right.activation)
            for name in ("labels", "operating_score", "threshold", "validated"):
                assert getattr(left, name) == getattr(right, name)
        else:
            assert left == right


def test_figures_are_told_with_the_ranges_of_the_card(scan, write_model):
    model = load_model(write_model())
    result = reconstruct(scan, model, ReconSettings())
    ranges = {figure.name: (figure.low, figure.high) for figure in result.quality.figures}
    assert ranges["noise relative to signal"] == model.card.domain["noise"]
    assert ranges["acceleration"] == model.card.limits["acceleration"]
    assert "data residual of the network's image, beyond noise" in ranges
    without = reconstruct(scan, None, ReconSettings())
    assert {(figure.low, figure.high) for figure in without.quality.figures} == {(None, None)}


def test_what_was_kept_before_there_were_figures_is_read(scan, tmp_path):
    save_reconstruction(reconstruct(scan, None, ReconSettings()), tmp_path)
    facts = json.loads((tmp_path / "reconstruction.json").read_text())
    del facts["quality"]["figures"]
    (tmp_path / "reconstruction.json").write_text(json.dumps(facts))
    assert load_reconstruction(tmp_path).quality.figures == ()


def test_a_damaged_archive_is_a_clear_error(tmp_path):
    (tmp_path / "reconstruction.json").write_text("{")
    with pytest.raises(InvalidRawData, match="LF-RAW-090"):
        load_reconstruction(tmp_path)
