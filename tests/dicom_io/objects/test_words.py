"""What every object tells its reader of the lesion map: gate, threshold, nothing marked, NOT VALIDATED."""

from dataclasses import replace

import pytest

from lfmri_node.dicom_io.objects.texts import NOTHING_MARKED, legend_lines, long_string, map_summary
from lfmri_node.dicom_io.objects.validate import check
from lfmri_node.recon.types import Convention, Reason, SequenceInfo

_SHAPE = (3, 17, 23)
_LIMITS = "gate 0.4, threshold 0.5"
_OF_THE_MAP = ("map", "segmentation", "fused", "report")


@pytest.fixture(scope="module", params=[(True, True), (True, False), (False, True), (False, False)])
def told(request, make_once):
    """A delivery, whether a voxel is marked in it, and whether its classifier is validated."""
    marked, validated = request.param
    lesion = make_once.lesion(_SHAPE, slices=(1,) if marked else (), validated=validated)
    folder = f"words-{marked}-{validated}"
    return make_once.deliver(make_once.trusted(lesion=lesion), folder=folder), marked, validated


def test_every_object_states_gate_and_threshold_and_whether_anything_was_marked(told):
    delivery, marked, validated = told
    assert delivery.roles == [
        "lf-mri",
        "reference",
        "difference",
        "map",
        *(["segmentation"] if marked else []),
        "fused",
        "report",
    ]
    for dataset in (d for d in delivery.read() if d.Modality != "SR"):
        for text in (dataset.ImageComments, dataset.DerivationDescription):
            assert _LIMITS in text
            assert (NOTHING_MARKED in text.lower()) is not marked
            assert ("NOT VALIDATED" in text) is not validated
        assert not dataset.DerivationDescription.endswith("...")


def test_every_object_is_legal(told):
    delivery, _, _ = told
    for path in delivery.files():
        assert check(path) == ()


def test_series_of_the_map_and_no_others_are_marked_not_validated(told):
    delivery, _, validated = told
    for role in delivery.roles:
        for dataset in delivery.read(role):
            marked_so = role in _OF_THE_MAP and not validated
            assert ("NOT VALIDATED" in dataset.SeriesDescription) is marked_so


def test_the_description_of_the_content_says_it_within_its_64_characters(told):
    delivery, marked, _ = told
    (activation,) = delivery.read("map")
    if not marked:
        assert activation.ContentDescription == "Nothing was marked; this does not exclude a lesion"
        return
    assert activation.ContentDescription == f"Class activation, {_LIMITS}"
    (segmentation,) = delivery.read("segmentation")
    assert segmentation.ContentDescription == f"Thresholded activation, {_LIMITS}"


def test_the_legend_tells_of_its_own_slice(make):
    lesion = make.lesion(_SHAPE, slices=(1,))
    with_mark, without = legend_lines(lesion, 1), legend_lines(lesion, 0)
    assert any(_LIMITS in line for line in with_mark)
    assert "Activation NOT VALIDATED" in with_mark
    assert without == [*with_mark[:-1], "Nothing was marked; this does not exclude a lesion"]
    assert with_mark[-1] == "Marked: what is outlined"
    assert "Activation NOT VALIDATED" not in legend_lines(make.lesion(_SHAPE, validated=True), 1)


def test_the_longest_legend_line_is_drawn_whole_beside_a_narrow_picture(make):
    """The margin grows with its words: the last columns of the longest line hold ink, none is cut."""
    lesion = make.lesion((1, 16, 16), slices=())
    (fused,) = make.deliver(make.trusted(make.geometry((1, 16, 16)), lesion=lesion)).read("fused")
    words = fused.pixel_array[48:].max(axis=(0, 2))
    last = max(i for i, value in enumerate(words) if value > 60)
    assert 150 < last < fused.Columns - 1


def test_an_activation_below_the_threshold_marks_nothing(make):
    lesion = make.lesion(_SHAPE, slices=())
    lesion.activation[1, 2, 3] = 0.49
    (activation,) = make.deliver(make.trusted(lesion=lesion)).read("map")
    assert activation.ContentDescription.lower() == NOTHING_MARKED


def test_without_a_map_nothing_is_said_of_one(make):
    (image, *_) = make.deliver(make.untrusted()).read()
    for text in (image.ImageComments, image.DerivationDescription):
        assert "gate" not in text
        assert NOTHING_MARKED not in text.lower()
    assert "No lesion map was made" in image.ImageComments
    assert "does not exclude a lesion" in image.ImageComments


@pytest.mark.parametrize(
    "convention",
    [
        Convention(caution="mirrored images were reported"),
        Convention(fft_sign=1, flip_phase=True, verified="2026-11-29"),
    ],
)
def test_every_object_says_how_it_was_turned_and_whether_that_was_verified(make, convention):
    trusted = make.trusted()
    trusted = replace(trusted, provenance=replace(trusted.provenance, convention=convention))
    delivery = make.deliver(trusted)
    assert len(delivery.roles) == 7
    for dataset in delivery.read():
        node = dataset.ContributingEquipmentSequence[1]
        assert convention.describe() in node.ContributionDescription
        for text in (dataset.get("ImageComments"), dataset.get("DerivationDescription")):
            assert dataset.Modality == "SR" or convention.describe() in text


def test_orientation_is_said_even_where_the_reasons_of_a_fallback_fill_the_description(make):
    reasons = [Reason(code=f"LF-QUA-{n}", message="noise " * 30, slices=()) for n in range(101, 113)]
    (image, *_) = make.deliver(make.untrusted(reasons=reasons)).read()
    assert image.DerivationDescription.endswith("...")
    for text in (image.ImageComments, image.ContributingEquipmentSequence[1].ContributionDescription):
        assert "not verified against the scanner's own images" in text


def test_the_summary_for_the_terminal(make):
    lesion = make.lesion(_SHAPE, slices=(1,))
    assert map_summary(lesion) == f"{lesion.mask.sum()} voxels marked; NOT VALIDATED"
    assert map_summary(make.lesion(_SHAPE, slices=(), validated=True)) == NOTHING_MARKED


@pytest.mark.parametrize("letter", ["ö", "脑", "😀"])
def test_a_long_name_in_another_script_is_cut_and_every_object_is_legal(make, letter):
    """dciodvfy, which the objects must pass, counts bytes."""
    sequence = SequenceInfo(protocol=letter * 70)
    for dataset in make.deliver(make.trusted(make.geometry((1, 9, 11)), sequence=sequence)).read():
        assert len(dataset.SeriesDescription.encode()) <= 64
        assert letter in dataset.SeriesDescription or "NOT VALIDATED" in dataset.SeriesDescription
    assert long_string(letter * 70).startswith(letter * 15)
    assert long_string(letter * 70).endswith("...")
