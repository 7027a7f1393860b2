"""Images of the training: painted label maps, augmentation, the mix of the sources, real lesions."""

from collections import Counter

import numpy as np
import pytest
from scipy import ndimage

from lfmri_node.recon.train.anatomies import LabelMap, paint
from lfmri_node.recon.train.data import (
    LABELS,
    PHANTOM,
    REAL,
    STROKES,
    ImageSource,
    augment,
    real_lesion,
    retone,
    source_of,
)
from lfmri_node.recon.train.split import LESIONED, Part, named
from lfmri_node.recon.train.strokes import Stroke
from lfmri_node.recon.train.subjects import BODY, HEAD, KNEE, Subject

BODY_IMAGE = np.pad(np.full((40, 30), 0.6, np.float32), ((20, 20), (10, 24)))
BODY_IMAGE[30:40, 20:28] = 1.0


def subject(name: str, kind: str = HEAD, *, has_lesion: bool = False) -> Subject:
    return Subject(name=name, images=(BODY_IMAGE,), kind=kind, has_lesion=has_lesion)


def stroke(name: str, *, found: bool) -> Stroke:
    mask = np.zeros(BODY_IMAGE.shape, dtype=bool)
    mask[30:40, 20:28] = found
    return Stroke(subject=name, image=BODY_IMAGE, mask=mask, cnr=3.0 if found else np.nan)


class TestPaint:
    LABELS = np.zeros((60, 50), dtype=np.uint8)
    LABELS[10:50, 10:40] = 1
    LABELS[20:35, 15:30] = 5

    @pytest.mark.parametrize("seed", range(20))
    def test_background_is_zero_and_intensities_stay_in_range(self, seed):
        image = paint(self.LABELS, np.random.default_rng(seed), bare=False)
        assert image.dtype == np.float32
        assert image.shape == self.LABELS.shape
        outside = ~ndimage.binary_dilation(self.LABELS > 0, iterations=4)
        assert np.abs(image[outside]).max() < 1e-6
        assert image.min() >= 0
        assert image.max() < 1.5

    def test_every_label_has_an_intensity_of_its_own_and_every_painting_others(self):
        inside = [ndimage.binary_erosion(label == self.LABELS, iterations=3) for label in (1, 5)]
        painted = [paint(self.LABELS, np.random.default_rng(seed), bare=False) for seed in range(20)]
        levels = np.array([[image[where].mean() for where in inside] for image in painted])
        assert (np.abs(levels[:, 0] - levels[:, 1]) > 0.02).mean() > 0.8
        assert np.ptp(levels[:, 0]) > 0.5
        spread = [image[where].std() / image[where].mean() for image in painted for where in inside]
        assert max(spread) < 0.25

    def test_a_bare_map_is_put_into_soft_tissue(self):
        images = [paint(self.LABELS, np.random.default_rng(seed), bare=True) for seed in range(10)]
        for image in images:
            grown = ndimage.binary_dilation(self.LABELS > 0, iterations=1)
            assert (image > 0).sum() > 1.1 * (self.LABELS > 0).sum()
            assert (image[grown] > 0).all()
            assert image[0, 0] == image[-1, -1] == 0


class TestAugment:
    @pytest.mark.parametrize("size", [96, 160])
    @pytest.mark.parametrize("finest", [0.8, 1.25])
    def test_the_mask_lands_on_what_it_outlines(self, size, finest):
        """Two islands of one brightness, one of them masked: it is the one that the moved mask covers."""
        image = np.zeros((150, 120), np.float32)
        image[20:60, 20:50] = image[95:130, 70:100] = 1.0
        mask = np.zeros(image.shape, dtype=bool)
        mask[20:60, 20:50] = True
        places = []
        for seed in range(12):
            warped, moved = augment(image, np.random.default_rng(seed), size, mask, finest=finest)
            bright = warped > 0.5 * np.median(warped[moved])
            islands, n = ndimage.label(ndimage.binary_opening(bright, iterations=2))
            assert n == 2
            own = islands == np.bincount(islands[moved], minlength=3)[1:].argmax() + 1
            assert (own & moved).sum() / (own | moved).sum() > 0.8
            places.append(ndimage.center_of_mass(moved))
        assert np.ptp(places, axis=0).min() > 0.2 * size

    @pytest.mark.parametrize("seed", range(8))
    def test_keeps_the_brightest_tissue_at_one_and_the_air_dark(self, seed):
        warped, moved = augment(BODY_IMAGE, np.random.default_rng(seed), 128)
        assert moved is None
        assert warped.shape == (128, 128)
        assert warped.dtype == np.float32
        assert warped.min() >= 0
        assert np.percentile(warped, 99.5) == pytest.approx(1.0)
        assert warped[0].max() < 0.05

    def test_turns_and_flips_prefer_no_direction(self):
        """The marked corner of a body ends in every quarter of the image about as often."""
        marked = np.zeros(BODY_IMAGE.shape, dtype=bool)
        marked[22:32, 12:22] = True
        quarters: Counter = Counter()
        for seed in range(200):
            _, moved = augment(BODY_IMAGE, np.random.default_rng(seed), 48, marked)
            row, column = ndimage.center_of_mass(moved)
            quarters[row > 23.5, column > 23.5] += 1
        assert len(quarters) == 4
        assert min(quarters.values()) > 25

    def test_a_resampled_image_lies_below_its_resolution(self):
        """However large the matrix, a body of real pixels is made smaller by a fifth at least."""
        for seed in range(10):
            warped, _ = augment(BODY_IMAGE, np.random.default_rng(seed), 256)
            assert (warped > 0.05).sum() < 0.8**2 * (BODY_IMAGE > 0).sum() * 1.25

    def test_another_tone_keeps_zero_at_zero(self):
        ramp = np.linspace(0, 1, 101, dtype=np.float32)
        tones = [retone(ramp, np.random.default_rng(seed)) for seed in range(40)]
        assert all(tone[0] == 0 and tone.min() >= 0 and tone.max() <= 1 for tone in tones)
        rising = np.mean([(np.diff(tone) >= 0).all() for tone in tones])
        assert 0.6 < rising < 1.0


class TestMix:
    EVERYTHING = (
        (subject("a"), subject("b", KNEE), subject("c", BODY)),
        (LabelMap(name="d", slices=(TestPaint.LABELS,), bare=False),),
        (stroke("soop-0001", found=True),),
    )

    def shares(self, source: ImageSource, n: int = 500) -> dict[str, float]:
        rng = np.random.default_rng(0)
        counts = Counter(source.draw(rng, 24).subject for _ in range(n))
        return {name: count / n for name, count in counts.items()}

    def test_every_source_has_its_share(self):
        mix = {HEAD: 0.3, KNEE: 0.2, BODY: 0.1, LABELS: 0.2, STROKES: 0.15, PHANTOM: 0.05}
        found = self.shares(ImageSource(*self.EVERYTHING, mix=mix))
        expected = {"a": 0.3, "b": 0.2, "c": 0.1, "d": 0.2, "soop-0001": 0.15, PHANTOM: 0.05}
        assert found == pytest.approx(expected, abs=0.06)

    def test_what_is_not_there_leaves_its_share_to_the_others(self):
        mix = {HEAD: 0.3, KNEE: 0.4, LABELS: 0.2, PHANTOM: 0.1}
        found = self.shares(ImageSource((subject("a"),), mix=mix))
        assert found == pytest.approx({"a": 0.75, PHANTOM: 0.25}, abs=0.06)

    def test_a_share_of_nothing_is_never_drawn(self):
        mix = {HEAD: 1.0, KNEE: 0.0, PHANTOM: 0.0}
        assert set(self.shares(ImageSource(*self.EVERYTHING, mix=mix), 60)) == {"a"}

    def test_subjects_are_alike_however_many_images_they_have(self):
        many = Subject(name="many", images=(BODY_IMAGE,) * 9, kind=HEAD, has_lesion=False)
        found = self.shares(ImageSource((subject("one"), many), mix={HEAD: 1.0}))
        assert found == pytest.approx({"one": 0.5, "many": 0.5}, abs=0.07)


class TestLabels:
    def test_a_subject_with_a_real_lesion_is_never_a_negative(self):
        source = ImageSource((subject("a", has_lesion=True),), mix={HEAD: 1.0})
        rng = np.random.default_rng(0)
        drawn = [source.draw_labelled(rng, size=64) for _ in range(20)]
        assert all(entry.label and entry.lesion is None for entry in drawn)

    def test_of_the_data_every_negative_is_of_a_subject_without_a_lesion(self, stand_in):
        source, rng = source_of(stand_in, Part.TRAIN), np.random.default_rng(1)
        drawn = [source.draw_labelled(rng, size=64) for _ in range(120)]
        negatives = {entry.subject for entry in drawn if not entry.label}
        assert negatives
        assert not negatives & LESIONED
        strangers = {entry.subject for entry in drawn} - {PHANTOM, *named(Part.TRAIN)}
        assert all(name.startswith("soop-") for name in strangers)

    def test_half_of_the_healthy_get_a_lesion_and_its_place(self):
        source, rng = ImageSource((subject("a"),), mix={HEAD: 1.0}), np.random.default_rng(2)
        drawn = [source.draw_labelled(rng, kinds=("bright",), size=64) for _ in range(120)]
        assert np.mean([entry.label for entry in drawn]) == pytest.approx(0.5, abs=0.15)
        for entry in drawn:
            assert entry.label == (entry.lesion is not None)
            assert entry.lesion is None or (entry.lesion.kind == "bright" and entry.lesion.mask.any())

    def test_a_stroke_brings_its_own_lesion_and_one_without_may_get_another(self):
        rng = np.random.default_rng(3)
        source = ImageSource(strokes=(stroke("soop-0001", found=True),), mix={STROKES: 1.0})
        for _ in range(10):
            entry = source.draw_labelled(rng, size=96)
            assert entry.label
            assert entry.lesion.kind == REAL
            inside, near = entry.lesion.mask, ndimage.binary_dilation(entry.lesion.mask, iterations=6)
            assert entry.lesion.mask.sum() > 10
            assert inside[entry.lesion.centre]
            assert near.sum() > inside.sum()
        source = ImageSource(strokes=(stroke("soop-0003", found=False),), mix={STROKES: 1.0})
        drawn = [source.draw_labelled(rng, size=96) for _ in range(30)]
        assert {entry.label for entry in drawn} == {True, False}
        assert all(entry.lesion is None or entry.lesion.kind != REAL for entry in drawn)

    def test_a_real_lesion_has_the_centre_and_the_area_of_its_mask(self):
        rows, columns = np.indices((60, 70))
        lesion = real_lesion(np.hypot(rows - 20, columns - 41) <= 9.0)
        assert lesion.centre == (20, 41)
        assert lesion.radii == pytest.approx((9.0, 9.0), abs=0.15)
