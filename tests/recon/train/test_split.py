"""One split of all patients, and what the data folder gives of each part."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from lfmri_node.recon.errors import LabError
from lfmri_node.recon.train.anatomies import load_label_maps
from lfmri_node.recon.train.split import LESIONED, SUBJECTS, Part, named, part_of
from lfmri_node.recon.train.strokes import load_strokes
from lfmri_node.recon.train.subjects import BODY, HEAD, KNEE, load_subjects


class TestParts:
    def test_every_subject_is_in_one_part(self):
        assert Counter(name for part in Part for name in named(part)) == Counter(list(SUBJECTS))
        assert all(part_of(name) is part for part in Part for name in named(part))

    def test_every_part_of_heads_has_subjects_that_can_be_negatives(self):
        for part in Part:
            assert set(named(part)) - LESIONED

    def test_the_patients_whose_k_space_was_measured_are_looked_at_last(self):
        assert {part_of(name) for name in ("F6A", "F6B", "F7A", "S6A")} == {Part.TEST}
        assert not any(name.startswith("raw_") for name in SUBJECTS)

    def test_a_lesion_is_known_of_the_patients_with_one(self):
        assert set(SUBJECTS) >= LESIONED
        assert "F6B" not in LESIONED
        for name in ("F6A", "F7A", "S6A", "brain_stroke", "arc_M2265", "glioma_6692", "ms_long_01"):
            assert name in LESIONED

    def test_strokes_are_split_seven_to_one_to_two(self):
        counts = Counter(part_of(f"soop-{number:04d}") for number in range(4000))
        assert counts[Part.TRAIN] / 4000 == pytest.approx(0.7, abs=0.03)
        assert counts[Part.TUNE] / 4000 == pytest.approx(0.1, abs=0.02)
        assert counts[Part.TEST] / 4000 == pytest.approx(0.2, abs=0.03)

    def test_the_part_of_a_stroke_never_changes(self):
        """Figures of one year must compare with those of the next: written down here, not computed."""
        patients = (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 1000, 1150)
        found = "".join(part_of(f"soop-{n:04d}")[:3] + " " for n in patients)
        assert found == "tra tun tra tra tra tes tra tun tra tra tra tra "

    def test_a_stranger_belongs_nowhere(self):
        with pytest.raises(KeyError):
            part_of("somebody")


def by_name(data: Path, part: Part) -> dict:
    return {subject.name: subject for subject in load_subjects(data, part)}


class TestSubjects:
    def test_training_and_testing_share_no_patient_and_no_image(self, stand_in):
        trained, tested = (load_subjects(stand_in, part) for part in (Part.TRAIN, Part.TEST))
        assert {subject.name for subject in trained} <= set(named(Part.TRAIN))
        assert {subject.name for subject in tested} <= set(named(Part.TEST))
        images = [{image.tobytes() for s in part for image in s.images} for part in (trained, tested)]
        assert images[0]
        assert images[1]
        assert not images[0] & images[1]

    def test_every_patient_of_a_shared_file_has_the_own_images_alone(self, stand_in):
        tested = by_name(stand_in, Part.TEST)
        with np.load(stand_in / "brain_3T_lesions.npz") as file:
            expected = sum(len(file[key]) for key in file.files if key.startswith("F6A"))
        assert {name: len(tested[name].images) for name in ("F6A", "F6B")} == {
            "F6A": expected,
            "F6B": expected,
        }
        assert (tested["F6A"].has_lesion, tested["F6B"].has_lesion) == (True, False)

    def test_kinds_and_scale(self, stand_in):
        found = by_name(stand_in, Part.TRAIN) | by_name(stand_in, Part.TEST)
        assert {name: found[name].kind for name in ("knee", "legs", "head_t1")} == {
            "knee": KNEE,
            "legs": BODY,
            "head_t1": HEAD,
        }
        for subject in found.values():
            assert all(image.dtype == np.float32 and image.min() >= 0 for image in subject.images)
            assert 0.8 < np.percentile(np.stack(subject.images), 99.5) < 1.2

    def test_an_offset_is_taken_away_and_empty_slices_are_left_out(self, tmp_path):
        volume = np.full((3, 40, 40), 100.0)
        volume[1, 10:30, 10:30] = 300.0
        volume[2, :2, :2] = 200.0  # a fraction of a hundredth
        np.savez(tmp_path / "head_t1.npz", images=volume)
        (subject,) = load_subjects(tmp_path, Part.TRAIN)
        (image,) = subject.images
        assert set(np.unique(image)) == {0.0, 1.0}

    def test_a_folder_without_images_is_refused(self, tmp_path):
        for part in Part:
            with pytest.raises(LabError, match="stand-in") as caught:
                load_subjects(tmp_path, part)
            assert caught.value.code == "LF-LAB-011"

    def test_of_the_real_data_every_subject_is_there(self, shared_data):
        data = shared_data("README.md").parent
        with_labels = {name for name in SUBJECTS if name.startswith("label_") or name.endswith("_labels")}
        for part in Part:
            found = by_name(data, part)
            assert set(found) == set(named(part)) - with_labels
            for name, subject in found.items():
                assert subject.images, name
                assert subject.has_lesion == (name in LESIONED)
                assert all(np.isfinite(image).all() and min(image.shape) >= 64 for image in subject.images)


def write_strokes(folder: Path, width: int = 21) -> np.ndarray:
    """Three patients, a training, a tuned and a tested one; the first has a lesion. Returns the masks."""
    masks = np.zeros((3, 18, width), dtype=bool)
    masks[0, 4:9, 15:21] = True
    (folder / "soop_flair").mkdir()
    np.savez(
        folder / "soop_flair" / "soop_axial.npz",
        images=np.arange(3 * 18 * width, dtype=np.uint8).reshape(masks.shape) % 128,
        masks=np.packbits(masks, axis=2),
        mask_width=width,
        cnr=[2.5, np.nan, np.nan],
        subject=[1, 2, 6],
    )
    return masks


class TestStrokes:
    def test_each_part_has_its_own_patients_with_mask_and_scale(self, tmp_path):
        masks = write_strokes(tmp_path)
        found = {part: load_strokes(tmp_path, part) for part in Part}
        assert [[s.subject for s in found[part]] for part in Part] == [
            ["soop-0001"],
            ["soop-0002"],
            ["soop-0006"],
        ]
        for part, mask in zip(Part, masks, strict=True):
            np.testing.assert_array_equal(found[part][0].mask, mask)
            assert 0 <= found[part][0].image.min() <= found[part][0].image.max() <= 1
        assert found[Part.TRAIN][0].cnr == 2.5

    def test_without_the_file_there_are_none(self, tmp_path):
        assert load_strokes(tmp_path, Part.TRAIN, coronal=True) == ()

    def test_of_the_real_data_no_patient_is_in_two_parts(self, shared_data):
        data = shared_data("README.md").parent
        patients = {
            part: {s.subject for c in (False, True) for s in load_strokes(data, part, coronal=c)}
            for part in Part
        }
        assert sum(map(len, patients.values())) == len(set.union(*patients.values())) > 1000
        stroke = next(s for s in load_strokes(data, Part.TUNE) if s.mask.sum() > 200)
        assert np.isfinite(stroke.cnr)


class TestLabelMaps:
    @pytest.fixture
    def data(self, tmp_path) -> Path:
        labels = np.zeros((2, 30, 28), dtype=np.uint8)
        labels[0, 5:25, 5:20], labels[1, 0, 0] = 7, 3  # the second slice is almost empty
        (tmp_path / "synthseg_labels").mkdir()
        (tmp_path / "pymskt_knee_label").mkdir()
        for name in ("label_01", "label_16"):
            planes = dict.fromkeys(("axial", "coronal", "sagittal"), labels)
            np.savez(tmp_path / "synthseg_labels" / f"{name}.npz", **planes)
        np.savez(tmp_path / "pymskt_knee_label" / "right_knee.npz", sagittal=labels)
        return tmp_path

    def test_each_part_has_its_own_and_joints_lack_their_surroundings(self, data):
        trained = {labels.name: labels for labels in load_label_maps(data, Part.TRAIN)}
        assert set(trained) == {"label_01", "knee_labels"}
        assert (trained["label_01"].bare, trained["knee_labels"].bare) == (False, True)
        assert [len(trained[name].slices) for name in ("label_01", "knee_labels")] == [3, 1]
        assert [labels.name for labels in load_label_maps(data, Part.TUNE)] == ["label_16"]
        assert load_label_maps(data, Part.TEST) == ()

    def test_of_the_real_data_all_are_there(self, shared_data):
        data = shared_data("README.md").parent
        for part in Part:
            wanted = {n for n in named(part) if n.startswith("label_") or n.endswith("_labels")}
            assert {labels.name for labels in load_label_maps(data, part) if labels.slices} == wanted
