"""Net_c: where tissue is, what its score and its map are, what it is trained on, and how it is judged."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from lfmri_node.recon.evaluate.net_c import Answer, answer, group_figures, judge, lines, mean_offset
from lfmri_node.recon.method.lesion import (
    OUTSIDE,
    STRIDE,
    CellClassifier,
    ClassifierConfig,
    LesionClassifier,
    Tissue,
    activation_map,
    pool_logits,
    tissue,
)
from lfmri_node.recon.phantom.body import LESION_KINDS
from lfmri_node.recon.train.data import REAL, class_labels
from lfmri_node.recon.train.images import SIDE, DrawnPairs, ImageDraw, ImageDraws, degrade, vary
from lfmri_node.recon.train.lesion_images import PairSource, pair_source, remove_stroke, transplant
from lfmri_node.recon.train.losses import N_RAISED, label_loss, pair_loss
from lfmri_node.recon.train.split import Part
from lfmri_node.recon.train.stand_in import write_stand_in
from lfmri_node.recon.train.strokes import Stroke, load_strokes
from lfmri_node.recon.train.tasks import shared_tissue
from lfmri_node.recon.train.visibility import VISIBLE, contrast_to_noise

TURNS = [lambda a, k=k: torch.rot90(a, k, (-2, -1)) for k in range(4)]
ORIENTATIONS = [*TURNS, *(lambda a, t=t: t(a).flip(-2) for t in TURNS)]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("stand-in")
    write_stand_in(folder)
    return folder


@pytest.fixture(scope="module")
def pairs(data: Path) -> PairSource:
    return pair_source(data, LESION_KINDS, 0)


def disc(side: int = 96, radius: float = 30.0, centre: tuple[float, float] | None = None) -> np.ndarray:
    rows, columns = np.indices((side, side))
    middle = centre or ((side - 1) / 2, (side - 1) / 2)
    return np.hypot(rows - middle[0], columns - middle[1]) <= radius


def as_tensor(image: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(image, dtype=np.float32))[None, None]


class BrightSpots(CellClassifier):
    """A network without weights: a cell's logit rises with its mean brightness, however it is turned."""

    def logit_map(self, image: Tensor) -> Tensor:
        rows, columns = image.shape[-2:]
        padded = functional.pad(image, (0, -columns % STRIDE, 0, -rows % STRIDE))
        return 20 * (functional.avg_pool2d(padded, STRIDE) - 1.7)


class TestTissue:
    @pytest.mark.parametrize("radius", [14, 24, 30])
    @pytest.mark.parametrize("noise", [0.0, 0.02, 0.05])
    def test_is_the_body_and_its_median_however_much_air_there_is(self, radius, noise):
        rng = np.random.default_rng(0)
        body = disc(radius=radius)
        image = np.hypot(7.0 * body + 7 * noise * rng.standard_normal(body.shape), 0)
        found = tissue(as_tensor(image))
        assert found.level.item() == pytest.approx(7.0, rel=0.05)
        cells = np.kron(found.cells[0, 0], np.ones((4, 4), bool))
        assert cells[body].all()
        assert not cells[~disc(radius=radius + 12)].any()

    def test_a_bright_rim_or_a_lesion_does_not_move_the_level(self):
        image = disc(radius=40) * 1.0
        plain = tissue(as_tensor(image)).level
        image[disc(radius=40) & ~disc(radius=37)] = 5.0
        image[disc(radius=8)] = 3.0
        torch.testing.assert_close(tissue(as_tensor(image)).level, plain, rtol=0.02, atol=0)

    def test_a_dark_lesion_inside_belongs_to_it(self):
        image = disc(radius=40) * 1.0
        image[disc(radius=9)] = 0.05
        assert tissue(as_tensor(image)).cells[0, 0, 10:14, 10:14].all()

    def test_an_empty_image_has_none_and_gives_finite_scores(self):
        empty = torch.zeros(1, 1, 32, 32)
        assert not tissue(empty).cells.any()
        scores, logit_map = LesionClassifier(ClassifierConfig(channels=(4, 4))).eval()(empty)
        assert (logit_map == OUTSIDE).all()
        assert scores.max() < -10

    def test_each_image_of_a_batch_has_its_own(self):
        one, other = as_tensor(disc(radius=20)), as_tensor(5.0 * disc(radius=40))
        both = tissue(torch.cat((one, other)))
        assert torch.equal(both.level, torch.cat((tissue(one).level, tissue(other).level)))
        assert torch.equal(both.cells, torch.cat((tissue(one).cells, tissue(other).cells)))


class TestLesionClassifier:
    def test_knows_no_scale_but_the_one_it_is_given(self):
        torch.manual_seed(0)
        network = LesionClassifier(ClassifierConfig(channels=(4, 8, 8))).eval()
        image = as_tensor(disc() * np.random.default_rng(0).uniform(0.5, 1.5, (96, 96)))
        expected = network(image)[1]
        torch.testing.assert_close(network(300 * image)[1], expected, rtol=1e-3, atol=1e-3)
        found = tissue(image)
        torch.testing.assert_close(network(image, found)[1], expected)
        assert not torch.allclose(network(image, Tissue(found.cells, 2 * found.level))[1], expected)

    def test_marks_nothing_outside_the_tissue(self):
        network = LesionClassifier(ClassifierConfig(channels=(4, 8))).eval()
        scores, logit_map = network(as_tensor(disc(radius=20)))
        assert (logit_map[~tissue(as_tensor(disc(radius=20))).cells] == OUTSIDE).all()
        activation = activation_map(scores, logit_map, (96, 96))[0, 0].detach().numpy()
        assert activation[~disc(radius=36)].max() < 1e-6

    def test_the_score_is_that_of_one_cell_alone_and_rises_with_every_other(self):
        logit_map = torch.full((1, 1, 8, 8), OUTSIDE)
        logit_map[..., 3, 4] = 2.0
        assert pool_logits(logit_map).item() == pytest.approx(2.0, abs=1e-4)
        logit_map[..., 3, 5] = 2.0
        assert pool_logits(logit_map).item() == pytest.approx(2.0 + np.log(2), abs=1e-4)

    @pytest.mark.parametrize("orient", ORIENTATIONS)
    def test_with_kernels_that_know_no_direction_it_commutes_with_every_flip_and_quarter_turn(self, orient):
        """So the cells of all levels of the pyramid stand exactly in the middle of their pixels."""
        torch.manual_seed(1)
        network = LesionClassifier(ClassifierConfig(channels=(4, 6, 8, 8))).eval()
        for layer in network.modules():
            if isinstance(layer, nn.Conv2d) and layer.kernel_size != (1, 1):
                turned = torch.stack([o(layer.weight.data) for o in ORIENTATIONS]).mean(0)
                layer.weight.data = turned
        first = network.features[0][1][0]  # its inputs are the four pixels of a block: alike for all of them
        first.weight.data = first.weight.data.mean(1, keepdim=True).expand(-1, 4, -1, -1).clone()
        image = torch.rand(1, 1, 64, 64) + 0.5
        torch.testing.assert_close(network(orient(image))[1], orient(network(image)[1]), rtol=1e-3, atol=1e-4)


class TestVisibility:
    def test_is_contrast_over_the_spread_of_the_ring(self):
        rng = np.random.default_rng(3)
        image = 1.0 + 0.1 * rng.standard_normal((96, 96)).astype(np.float32)
        lesion = disc(radius=8)
        for contrast in (0.3, -0.3):
            changed = image + contrast * lesion
            assert contrast_to_noise(changed, lesion) == pytest.approx(3.0, rel=0.2)
            assert contrast_to_noise(changed, lesion, noise=0.1) == pytest.approx(3.0 / np.sqrt(2), rel=0.2)
        assert contrast_to_noise(image, lesion) < 0.5

    def test_a_ring_of_one_value_makes_not_everything_visible(self):
        lesion = disc(radius=8)
        assert (
            contrast_to_noise(1.0 + 0.005 * lesion, lesion)
            < VISIBLE
            < contrast_to_noise(1 + 0.1 * lesion, lesion)
        )


def brain(lesion: np.ndarray | None = None, level: float = 1.6) -> np.ndarray:
    rng = np.random.default_rng(5)
    image = 0.5 * disc(radius=40) * (1 + 0.05 * rng.standard_normal((96, 96)))
    if lesion is not None:
        image = np.where(lesion, level * image, image)
    return image.astype(np.float32)


class TestPairs:
    LESION = disc(radius=6, centre=(50, 65))

    def test_a_removed_stroke_cannot_be_seen_any_more_and_all_else_stays(self):
        image = brain(self.LESION)
        filled = remove_stroke(image, self.LESION)
        assert contrast_to_noise(image, self.LESION) > 5
        assert contrast_to_noise(filled, self.LESION) < VISIBLE
        far = ~disc(radius=16, centre=(50, 65))
        np.testing.assert_allclose(filled[far], image[far], atol=1e-6)

    def test_a_stroke_with_one_across_from_it_is_not_removed(self):
        both = self.LESION | self.LESION[:, ::-1]
        assert remove_stroke(brain(both), both) is None

    def test_a_transplanted_stroke_can_be_seen_at_one_place_of_the_tissue(self):
        donor = Stroke(subject="soop-0001", image=brain(self.LESION), mask=self.LESION, cnr=5.0)
        made = [transplant(donor, brain(), np.random.default_rng(seed)) for seed in range(20)]
        seen = [image for image in made if image is not None]
        assert seen
        for image in seen:
            changed = np.abs(image - brain()) > 0.15
            assert changed.sum() > 0.5 * self.LESION.sum()
            assert disc(radius=42)[changed].all()
            assert image.max() <= 1.0

    def test_every_pair_has_a_lesion_that_can_be_seen_or_is_left_out(self):
        strokes = (
            Stroke(subject="soop-0001", image=brain(self.LESION, 1.02), mask=self.LESION, cnr=0.4),
            Stroke(subject="soop-0002", image=brain(), mask=np.zeros((96, 96), bool), cnr=float("nan")),
        )
        source = PairSource(strokes, [brain()], LESION_KINDS)
        rng = np.random.default_rng(0)
        for _ in range(12):  # the only stroke is too faint: inserted lesions alone
            pair = source.draw(rng)
            assert pair.same
            assert np.abs(pair.lesioned - pair.other).max() > 0.05

    def test_strokes_of_the_training_patients_alone_are_drawn(self, data, pairs):
        known = {s.image.tobytes() for part in Part for s in load_strokes(data, part)}
        trained = {s.image.tobytes() for s in load_strokes(data, Part.TRAIN)}
        rng = np.random.default_rng(0)
        shown = {
            image.tobytes() for _ in range(60) for p in [pairs.draw(rng)] for image in (p.lesioned, p.other)
        }
        assert shown & trained
        assert not shown & (known - trained)


class TestBatches:
    def test_rows_are_with_a_lesion_and_without_and_one_anatomy_is_varied_alike(self, pairs):
        batch = DrawnPairs(pairs, 0.5)[ImageDraw(seed=(0,), ease=0.0, n=24)]
        assert batch.images.shape == (24, 1, SIDE, SIDE)
        assert batch.labels[1::2].sum() == 0
        assert (batch.labels[0::2].sum(1) == 1).all()
        assert batch.same.any()
        for same, (lesioned, other) in zip(
            batch.same, batch.images[:, 0].reshape(12, 2, SIDE, SIDE), strict=True
        ):
            likeness = np.corrcoef(lesioned.flatten(), other.flatten())[0, 1]
            assert likeness > 0.9 or not same

    def test_two_images_of_one_anatomy_have_the_tissue_of_the_one_without_the_lesion(self, pairs):
        batch = DrawnPairs(pairs, 0.5)[ImageDraw(seed=(0,), ease=0.0, n=12)]
        own, shared = tissue(batch.images), shared_tissue(batch)
        for i, same in enumerate(batch.same.tolist()):
            assert torch.equal(shared.level[2 * i], own.level[2 * i + same])
            assert torch.equal(shared.cells[2 * i], own.cells[2 * i + same])
            assert torch.equal(shared.level[2 * i + 1], own.level[2 * i + 1])

    def test_a_batch_depends_on_its_seed_alone(self, data, pairs):
        first, again = (DrawnPairs(source, 0.5) for source in (pairs, pair_source(data, LESION_KINDS, 0)))
        draw = ImageDraw(seed=(3, 1), ease=0.2, n=6)
        assert torch.equal(first[draw].images, again[draw].images)
        assert not torch.equal(first[ImageDraw(seed=(3, 2), ease=0.2, n=6)].images, again[draw].images)

    def test_the_judge_sees_the_same_images_undegraded(self, pairs):
        draw = ImageDraw(seed=(3,), ease=0.0, n=12)
        whole, degraded = (DrawnPairs(pairs, share)[draw] for share in (0.0, 1.0))
        assert torch.equal(whole.labels, degraded.labels)
        error = (whole.images - degraded.images).abs()
        assert (error > 0).float().mean() > 0.9
        assert error.mean() < 0.05

    def test_variations_prefer_no_direction(self):
        """A mark right of the middle comes to stand on all four sides."""
        image = disc(side=96, radius=40) * 0.4 + 0.6 * disc(side=96, radius=4, centre=(47.5, 75.0))
        sides = np.zeros(4)
        for seed in range(80):
            moved = vary(image[None], np.random.default_rng(seed))[0]
            row, column = np.unravel_index(moved.argmax(), moved.shape) - np.array(
                np.nonzero(moved > 0.1)
            ).mean(1)
            sides[
                0 if abs(row) < abs(column) and column > 0 else 1 if abs(row) < abs(column) else 2 + (row > 0)
            ] += 1
        assert sides.min() >= 10

    def test_degraded_images_keep_their_mean_and_lose_only_what_was_not_measured(self):
        image = np.pad(np.ones((80, 80), np.float32), 40)
        made = [degrade(image, np.random.default_rng(seed)) for seed in range(30)]
        assert all(not np.array_equal(one, image) for one in made)
        assert all(abs(float(one[50:110, 50:110].mean()) - 1) < 0.1 for one in made)

    def test_the_curriculum_eases_to_the_real_lesions(self):
        eases = [draw.ease for draw in ImageDraws(4, 0, 60, 1.0, range(100), 10)]
        assert eases[0] == 1.0
        assert eases == sorted(eases, reverse=True)
        assert all(ease == 0.0 for ease in eases[60:])

    def test_every_kind_has_one_class(self):
        assert all(sum(class_labels(kind)) == 1 for kind in (*LESION_KINDS, REAL))
        assert sum(class_labels("")) == 0


class TestLosses:
    LABELS = torch.tensor([[1.0, 0.0, 0.0], [0.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 0.0]])
    SAME = torch.tensor([True, True])

    def maps_of(self, logits: Tensor) -> Tensor:
        """Logit maps that are the logits given in as many cells as a lesion raises at least."""
        maps = torch.full((*logits.shape, 3, 3), -30.0)
        maps[:, :, 1, :N_RAISED] = logits[..., None]
        return maps

    def test_right_answers_cost_nothing_and_knowing_nothing_costs_log_two(self):
        right = 40 * self.LABELS - 20
        assert label_loss(right, self.LABELS) == pytest.approx(0, abs=1e-6)
        assert pair_loss(self.maps_of(right), self.LABELS, self.SAME) == pytest.approx(0, abs=1e-6)
        assert label_loss(0 * right, self.LABELS).item() == pytest.approx(np.log(2))
        assert pair_loss(self.maps_of(0 * right), self.LABELS, self.SAME).item() == pytest.approx(np.log(2))

    def test_an_image_with_a_lesion_is_not_asked_for_its_other_classes(self):
        logits = torch.zeros(4, 3, requires_grad=True)
        maps = self.maps_of(logits)
        (label_loss(logits, self.LABELS) + pair_loss(maps, self.LABELS, self.SAME)).backward()
        assert logits.grad[0, 0] < 0 < logits.grad[1, 0]
        assert logits.grad[0, 1:].abs().max() == 0
        assert logits.grad[1].min() > 0

    def test_anatomy_that_both_images_share_hides_no_lesion(self):
        """Cells that look like a lesion in both cost nothing and take no gradient from the lesion."""
        maps = torch.zeros(4, 3, 3, 3)
        maps[..., 0, :] = 50.0
        maps[0, 0, 1, :] = maps[2, 1, 1, :] = 5.0
        maps.requires_grad_()
        loss = pair_loss(maps, self.LABELS, self.SAME)
        assert loss.item() == pytest.approx(np.log1p(np.exp(-5.0)))
        loss.backward()
        assert maps.grad[0, 0, 1, 2] < 0 < maps.grad[1, 0, 1, 2]
        assert maps.grad[..., 0, 0].abs().max() == 0

    def test_two_anatomies_are_not_compared(self):
        maps = torch.randn(4, 3, 3, 3)
        one = pair_loss(maps, self.LABELS, torch.tensor([True, False]))
        torch.testing.assert_close(one, pair_loss(maps[:2], self.LABELS[:2], torch.tensor([True])))
        assert pair_loss(maps, self.LABELS, torch.tensor([False, False])) == 0

    def test_rows_that_do_not_count_change_nothing(self):
        logits = torch.randn(4, 3)
        counted = torch.tensor([[1.0], [1.0], [0.0], [0.0]])
        torch.testing.assert_close(
            label_loss(logits, self.LABELS, counted), label_loss(logits[:2], self.LABELS[:2])
        )


class TestJudging:
    def test_a_network_that_finds_what_is_there_points_at_it_and_its_map_prefers_no_direction(self):
        found = mean_offset(BrightSpots(), 6, 0)
        assert found["n"] == 48
        assert found["found"] >= 8
        assert abs(found["rows"]) < 0.05
        assert abs(found["columns"]) < 0.05

    def test_an_offset_of_the_map_is_seen(self):
        class Beside(BrightSpots):
            def forward(self, magnitude: Tensor, found: Tissue | None = None) -> tuple[Tensor, Tensor]:
                return super().forward(magnitude.roll(4, 3), found)

        found = mean_offset(Beside(), 12, 0)
        assert found["columns"] == pytest.approx(4, abs=1.5)
        assert abs(found["rows"]) < 1

    def test_a_network_that_answers_beside_what_it_sees_has_no_side(self):

        class Lopsided(BrightSpots):
            def logit_map(self, image: Tensor) -> Tensor:
                return super().logit_map(image.roll(4, 3))

        found = mean_offset(Lopsided(), 12, 0)
        assert abs(found["columns"]) < 1
        assert abs(found["rows"]) < 1

    def test_the_chance_of_pointing_is_the_lesion_and_four_pixels_over_the_tissue(self):
        image, lesion = 1.0 * disc(side=160, radius=60), disc(side=160, radius=10)
        image[lesion] = 3.0
        score, hit, chance = answer(BrightSpots(), image, lesion)
        assert (score > 0, hit) == (True, True)
        assert chance == pytest.approx(14**2 / 66**2, rel=0.1)  # the tissue is grown by a cell
        assert answer(BrightSpots(), 1.0 * disc(side=160, radius=60), None)[0] < 0

    def test_figures_are_those_of_their_group_against_all_negatives(self):
        answers = [
            *(
                Answer(patient=f"a{i}", score=float(i), hit=i > 4, chance=0.1, groups=("all",))
                for i in range(10)
            ),
            *(Answer(patient=f"b{i}", score=4.5) for i in range(10)),
            Answer(patient="c", score=9.0, hit=True, chance=0.2, groups=("rare",)),
        ]
        found = group_figures(answers)
        assert found["all"]["image_auc"]["value"] == pytest.approx(0.5)
        assert found["all"]["pointing"]["value"] == pytest.approx(0.5)
        assert found["all"]["pointing"]["low"] < 0.5 < found["all"]["pointing"]["high"]
        assert (found["all"]["n"], found["all"]["n_negative"]) == (10, 10)
        assert found["rare"]["image_auc"]["value"] == 1.0
        assert found["rare"]["chance"] == pytest.approx(0.2)

    def test_slices_of_one_patient_are_resampled_together(self):
        def interval(patients: int) -> float:
            answers = [
                Answer(patient=str(i % patients), score=0.0, hit=i % patients < patients / 2, groups=("all",))
                for i in range(64)
            ]
            found = group_figures(answers)["all"]["pointing"]
            return found["high"] - found["low"]

        assert interval(8) > 1.5 * interval(64)

    def test_is_told_as_json_and_as_text(self, data):
        judged = judge(BrightSpots(), data, Part.TEST, 12, 0)
        assert json.loads(json.dumps(judged)) == judged
        assert set(judged) == {"strokes", "inserted", "offset"}
        for source in ("strokes", "inserted"):
            assert set(judged[source]) == {"fully sampled", "degraded"}
            assert "all" in judged[source]["degraded"]
        for figures in judged["strokes"]["fully sampled"].values():
            assert 0 <= figures["image_auc"]["low"] <= figures["image_auc"]["high"] <= 1
        text = lines(judged)
        assert any("strokes, degraded, all" in line for line in text)
        assert "offset" in text[-1]
