"""Cases: who may be in them, where their boxes lie, what their truth is."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from lfmri_node.recon.evaluate.extent import Extent
from lfmri_node.recon.evaluate.guides import Guide
from lfmri_node.recon.evaluate.learned import LearnedMethod, TruthMethod, measurement_of
from lfmri_node.recon.evaluate.lesion_metrics import slice_quality
from lfmri_node.recon.evaluate.measured import (
    BRAIN,
    BRAIN_EQUISPACED,
    LOW_FIELD,
    PROSPECTIVE,
    brain_source,
    other_measured_sources,
)
from lfmri_node.recon.evaluate.published import FASTMRI, SKM_TEA, case_of_slice, published_sources
from lfmri_node.recon.evaluate.real_lesions import GLIOMA, SCLEROSIS, STROKES, real_lesion_source, resampled
from lfmri_node.recon.evaluate.runner import make_sources
from lfmri_node.recon.evaluate.simulated import DISTURBED, HELD_OUT, UNSEEN, case_of, simulated_source
from lfmri_node.recon.method.cascade import Cascade, CascadeConfig, StageOutput
from lfmri_node.recon.passes import scale_of
from lfmri_node.recon.phantom.body import LESION_KINDS, UNSEEN_KIND
from lfmri_node.recon.phantom.coils import loop_coils
from lfmri_node.recon.sense.classical import cg_sense, operator, zero_filled
from lfmri_node.recon.sense.coilmaps import estimate
from lfmri_node.recon.train import skm_tea
from lfmri_node.recon.train.data import SIZE, ImageSource
from lfmri_node.recon.train.samples import draw_scan, true_image
from lfmri_node.recon.train.split import LESIONED, Part, part_of
from lfmri_node.recon.train.visibility import VISIBLE, contrast_to_noise


@pytest.fixture(scope="module")
def scan():
    """A phantom with a lesion."""
    coils = loop_coils(8, (64, 64), np.random.default_rng(0))
    drawn = (draw_scan(ImageSource(), coils, np.random.default_rng(i), acceleration=4.0) for i in range(20))
    return next(scan for scan in drawn if scan.entry.lesion is not None)


@pytest.fixture(scope="module")
def data() -> Path:
    folder = Path(__file__).parents[4] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("../shared/data is not beside the repository")
    return folder


def test_a_case_holds_the_scan_and_the_truth_without_noise(scan):
    case = case_of(scan, HELD_OUT, "0")
    maps = estimate(scan.kspace)
    np.testing.assert_array_equal(case.kspace.data, scan.kspace.data)
    np.testing.assert_array_equal(case.truth, true_image(scan, maps.maps))
    assert case.peak == pytest.approx(float(np.abs(case.truth).max()))
    inside = maps.support & (np.abs(scan.image) > 0.1)
    assert np.corrcoef(np.abs(case.truth)[inside], np.abs(scan.image)[inside])[0, 1] > 0.99


def test_a_network_is_told_what_the_service_tells(scan):
    case = case_of(scan, HELD_OUT, "0")
    ours = measurement_of(case)
    network = Cascade(CascadeConfig())
    encoding = operator(case.kspace, case.maps)
    adjoint = encoding.adjoint(torch.from_numpy(case.kspace.data)[None])
    expected = scale_of([case.kspace], network.least_squares(adjoint, encoding))
    assert all(torch.equal(one, other) for one, other in zip(ours.scale, expected, strict=True))
    np.testing.assert_allclose(ours.adjoint[0].numpy(), zero_filled(case.kspace, case.maps), atol=1e-5)
    assert ours.guide is None


def test_the_box_of_an_inserted_lesion_holds_its_outline(scan):
    case = case_of(scan, HELD_OUT, "0")
    (box,) = case.boxes
    outside = case.lesion.copy()
    outside[box.top : box.bottom, box.left : box.right] = False
    assert case.lesion.any()
    assert not outside.any()
    assert (case.label, case.lesion_kind) == (True, scan.entry.lesion.kind)


def test_other_lines_are_the_same_slice_and_noise(scan):
    case = case_of(scan, HELD_OUT, "0")
    lines = np.zeros(SIZE, dtype=bool)
    lines[::2] = lines[68:92] = True
    again = case.again(lines)
    both = lines & case.kspace.sampled
    np.testing.assert_array_equal(again.kspace.data[..., both], case.kspace.data[..., both])
    assert np.array_equal(again.kspace.sampled, lines)
    assert again.boxes == case.boxes


class Fixed(nn.Module):
    """Answers A^H Y and a level, a score, a map with one bright pixel; remembers what it was given."""

    def __init__(self, bright: tuple[int, int] = (3, 4), level: float = 0.0) -> None:
        super().__init__()
        self.bright, self.level = bright, level
        self.lines: list[np.ndarray] = []
        self.guides: list[torch.Tensor | None] = []

    def forward(self, measurement) -> list[StageOutput]:
        self.lines.append(measurement.sampled[0].numpy())
        self.guides.append(measurement.guide)
        activation = torch.zeros(1, 2, *measurement.adjoint.shape[1:])
        activation[0, 1, *self.bright] = 0.8
        return [StageOutput(measurement.adjoint + self.level, torch.tensor([[-1.0, 0.0]]), activation)]


def test_a_network_answers_with_the_class_of_highest_score(scan):
    case = case_of(scan, HELD_OUT, "0")
    row, column = np.argwhere(case.maps.support)[0]
    method = LearnedMethod(name="n", run="r", weights="w", network=Fixed((row, column)), has_map=True)
    answer = method.reconstruct(case)
    np.testing.assert_allclose(answer.image, zero_filled(case.kspace, case.maps), atol=1e-5)
    assert answer.score == pytest.approx(0.5)
    assert answer.activation[row, column] == pytest.approx(0.8)


def test_an_image_is_zero_where_no_coil_sees_anything(scan):
    case = case_of(scan, HELD_OUT, "0")
    answer = LearnedMethod(name="n", run="r", weights="w", network=Fixed(level=1.0)).reconstruct(case)
    assert not case.maps.support.all()
    assert not answer.image[~case.maps.support].any()


def test_a_guide_is_given_in_the_place_of_the_map(scan):
    case = case_of(scan, HELD_OUT, "0")
    network = Fixed()
    guide = Guide(elsewhere=False)
    LearnedMethod(name="n", run="r", weights="w", network=network, guide=guide).reconstruct(case)
    np.testing.assert_array_equal(network.guides[0][0, 0].numpy(), guide(case))


def test_a_network_that_learnt_its_lines_is_measured_on_them(scan):
    case = case_of(scan, HELD_OUT, "0")
    lines = np.zeros(SIZE, dtype=bool)
    lines[60:100] = True
    network = Fixed()
    method = LearnedMethod(name="n", run="r", weights="w", network=network, lines=lines, has_map=True)
    assert method.reconstruct(case).case.kspace.sampled.sum() == 40
    assert np.array_equal(network.lines[0], lines)
    assert not method.takes_point_masks


def test_the_truth_is_its_own_reconstruction(scan):
    case = case_of(scan, HELD_OUT, "0")
    assert np.array_equal(TruthMethod().reconstruct(case).image, case.truth)


def test_a_box_in_fractions_moves_with_its_image():
    """A bright rectangle in a plane of another size and shape: the box still holds it, tightly."""
    plane = np.zeros((521, 444), dtype=np.float32)
    plane[60:460, 50:400] = 0.3
    plane[200:260, 100:180] = 1.0
    fractions = (100 / 444, 200 / 521, 180 / 444, 260 / 521)
    outline = plane > 0.9
    image, moved, (box,) = resampled(plane, [fractions], outline)
    bright = np.argwhere(image > 0.65 * image.max())
    (top, left), (bottom, right) = bright.min(0), bright.max(0) + 1
    assert image.shape == (SIZE, SIZE)
    assert np.abs(np.array(box) - (top, left, bottom, right)).max() <= 1
    places = np.argwhere(moved)
    assert np.abs(np.array(box) - (*places.min(0), *(places.max(0) + 1))).max() <= 1


@pytest.mark.shared
def test_nobody_is_measured_who_was_trained_or_tuned_on(data):
    """Simulated slices, real lesions and the 0.055 T patients, who are those of the 3 T images."""
    own = simulated_source(data, 8, 0, 4.0)
    subjects = {own.load(sample).subject for sample in own.samples}
    assert not subjects & LESIONED  # their labels would not be known
    subjects |= {sample.split("/")[0] for sample in real_lesion_source(data, 400, 0, 4.0).samples}
    low_field = next(s for s in other_measured_sources(data) if s.dataset == LOW_FIELD)
    subjects |= {sample.split("_")[0] for sample in low_field.samples}
    assert {part_of(subject) for subject in subjects} == {Part.TEST}


@pytest.mark.shared
def test_the_regularisation_is_searched_on_tuning_subjects(data):
    searched = simulated_source(data, 1, 0, 8.0).search()
    assert {part_of(case.subject) for case in searched} == {Part.TUNE}


@pytest.mark.shared
def test_a_sample_depends_on_its_own_number_alone(data):
    few, many = (simulated_source(data, n, 0, 4.0) for n in (2, 9))
    np.testing.assert_array_equal(few.load("0001").kspace.data, many.load("0001").kspace.data)
    assert not np.array_equal(few.load("0001").kspace.data, few.load("0000").kspace.data)


@pytest.mark.shared
def test_the_unseen_kind_is_in_its_own_set_alone(data):
    unseen = simulated_source(data, 4, 0, 4.0, UNSEEN)
    kinds = {unseen.load(sample).lesion_kind for sample in unseen.samples}
    assert kinds <= {UNSEEN_KIND, ""}
    assert UNSEEN_KIND not in LESION_KINDS


@pytest.mark.shared
def test_real_outlines_lie_on_something_that_can_be_seen(data):
    source = real_lesion_source(data, 2, 0, 4.0)
    chosen = [next(name for name in source.samples if name.startswith(start)) for start in ("ms_", "glioma")]
    strokes = [name for name in source.samples if name.startswith("soop-")]
    assert len(strokes) == 3  # two with a stroke, one without
    cases = [source.load(name) for name in (*strokes, *chosen)]
    assert {case.group for case in cases} == {STROKES, SCLEROSIS, GLIOMA}
    assert sum(case.lesion is None for case in cases) == 1
    for case in cases:
        assert case.label == (case.lesion is not None)
        if case.lesion is None:
            continue
        assert (case.lesion_kind, bool(case.boxes)) == ("real", True)
        assert contrast_to_noise(np.abs(case.truth), case.lesion) > 0.7 * VISIBLE


@pytest.mark.shared
def test_a_real_lesion_with_a_box_is_brighter_or_darker_than_what_surrounds_it(data):
    """The boxes lie on something: in a FLAIR slice each box differs from the ring around it."""
    source = real_lesion_source(data, 0, 0, 4.0)
    case = source.load("F6A/FLAIR/1")
    image, (box, *_) = np.abs(case.truth), case.boxes
    inside = image[box.top : box.bottom, box.left : box.right]
    ring = image[box.top - 6 : box.bottom + 6, box.left - 6 : box.right + 6]
    outside = (ring.sum() - inside.sum()) / (ring.size - inside.size)
    assert abs(inside.mean() - outside) > 0.1 * outside
    assert (case.label, case.lesion_kind, case.subject) == (True, "real", "F6A")


@pytest.mark.shared
def test_equispaced_lines_have_as_many_masks_as_offsets(data):
    source = brain_source(data, BRAIN_EQUISPACED, 4.0, 30)
    masks = {sample: source.load(sample).kspace.sampled for sample in source.samples[:5]}
    assert len({mask.tobytes() for mask in masks.values()}) == 4
    assert len(source.samples) == 2 * 4
    outer = np.flatnonzero(masks[source.samples[0]])[:5]
    assert (np.diff(outer) == 4).all()


@pytest.mark.shared
def test_reference_figures_of_the_measured_brain(data):
    """SigPy's figures at 3 degrees, 4x, masks 0 to 2: zero-filled 24.6 / .660, CG-SENSE 27.2 / .599.

    Its CG-SENSE had maps all over the background; ours end with the object and do better.
    """
    source = brain_source(data, BRAIN, 4.0, 3)
    flip = source.samples[0].split("/")[0]
    found = {"zero-filled": [], "cg": []}
    for seed in range(3):
        case = source.load(f"{flip}/{seed}")
        truth = np.abs(case.truth)
        for name, image in (
            ("zero-filled", zero_filled(case.kspace, case.maps)),
            ("cg", cg_sense(case.kspace, case.maps, 0.01)),
        ):
            found[name].append(slice_quality(np.abs(image), truth, case.peak)[:2])
    assert np.mean(found["zero-filled"], axis=0) == pytest.approx((24.6, 0.660), abs=0.15)
    assert (np.mean(found["cg"], axis=0) > (27.2, 0.599)).all()


@pytest.mark.shared
def test_the_prospective_set_has_points_and_no_truth(data):
    source = next(s for s in other_measured_sources(data) if s.dataset == PROSPECTIVE)
    case = source.load(source.samples[0])
    assert source.point_mask
    assert case.truth is None
    assert case.kspace.sampled.shape == case.kspace.data.shape[1:]
    assert 7 < case.acceleration < 9


def test_fastmri_volumes_under_the_mask_of_their_name(write_fastmri, tmp_path):
    (tmp_path / "multicoil_val").mkdir()
    write_fastmri(tmp_path / "multicoil_val" / "file1000001.h5", shape=(2, 3, 64, 120), recon=32)
    (source,) = published_sources(tmp_path, 10, (4.0,))
    assert (source.dataset, source.samples) == (FASTMRI, ("file1000001/0", "file1000001/1"))
    cases = [source.load(sample) for sample in source.samples]
    assert np.array_equal(cases[0].kspace.sampled, cases[1].kspace.sampled)
    assert not cases[0].kspace.data[..., ~cases[0].kspace.sampled].any()
    assert cases[0].truth.shape == (32, 32)
    assert max(float(case.truth.max()) for case in cases) == pytest.approx(1.0)
    assert {case.volume for case in cases} == {"file1000001/0"}
    plane = np.arange(64 * 120).reshape(64, 120).astype(np.float32)
    assert cases[0].view(plane)[16, 16] == plane[32, 60]  # zero position stays zero position


def test_skm_tea_planes_under_their_poisson_masks(write_skm_tea, tmp_path):
    folder = tmp_path / "skm" / skm_tea.FOLDER
    folder.mkdir(parents=True)
    mask = np.random.default_rng(0).random((416, 16)) < 0.25
    mask[200:216, 4:12] = True
    write_skm_tea(folder / "MTR_001.h5", n_coils=3, masks={4: mask})
    (source,) = published_sources(tmp_path, 5, (4.0, 8.0))
    case = source.load(source.samples[0])
    assert (source.dataset, source.point_mask, case.group) == (SKM_TEA, True, "SKM-TEA")
    assert not case.kspace.data[:, ~case.kspace.sampled].any()


def test_all_of_an_skm_tea_plane_gives_its_target(write_skm_tea, tmp_path):
    path = write_skm_tea(tmp_path / "MTR_001.h5", n_coils=3)
    one = next(skm_tea.slices(path))
    case = case_of_slice(one, one.measured, SKM_TEA, 1.0, "MTR_001/0")
    np.testing.assert_allclose(zero_filled(case.kspace, case.maps), case.truth, atol=1e-4)


def test_without_data_there_are_no_published_sources(tmp_path):
    assert published_sources(tmp_path, 5, (4.0,)) == []


@pytest.mark.shared
def test_sources_cover_every_acceleration(data):
    sources = make_sources(data, Extent(n_slices=2, n_strokes=2, n_masks=1))
    for dataset in (HELD_OUT, DISTURBED, UNSEEN, "real-lesions", BRAIN):
        assert {s.acceleration for s in sources if s.dataset == dataset} == {4.0, 8.0}
    assert {s.dataset for s in sources} >= {BRAIN_EQUISPACED, LOW_FIELD, PROSPECTIVE}
