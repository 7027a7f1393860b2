"""How often the demonstration's lesions are marked: the counting, and the figures in the shipped card."""

from dataclasses import replace

import numpy as np
import pytest

from lfmri_node.node.demo.demo import how_often
from lfmri_node.recon.evaluate.demo_study import Shown, count_marks, shown, summary, typical
from lfmri_node.recon.method.modelcard import read_card, shipped_weights
from lfmri_node.recon.method.weights import load_model


def test_marks_are_counted_slice_by_slice() -> None:
    mask, lesions = np.zeros((2, 3, 40, 40), dtype=bool)
    lesions[0, 10:14, 10:14] = lesions[1, 10:14, 10:14] = True
    mask[0, 17, 12] = True  # 4 px below the lesion: on it
    mask[0, 18, 20] = mask[0, 19, 21] = True  # one region by its corner, too far away
    mask[1, 18, 12] = True  # 5 px
    mask[2, 12, 12] = True  # right place, wrong slice
    assert count_marks(mask, lesions) == {"lesions": 2, "found": 1, "false_marks": 3}


def test_the_typical_one_is_nearest_to_the_medians() -> None:
    one = Shown(seed=0, trusted=True, lesions=2, found=1, false_marks=1, gain_db=0.5)
    several = [
        replace(one, seed=1, found=2),
        replace(one, seed=2, false_marks=9),
        replace(one, seed=3, gain_db=2.0),
        replace(one, seed=4, gain_db=0.6),
        replace(one, seed=5, found=0, gain_db=-1.0),
    ]
    assert typical(several).seed == summary(several)["typical_seed"] == 4
    assert typical([one, one]) == one


def test_the_demonstration_shows_a_map_that_marks_something() -> None:
    none = Shown(seed=0, trusted=True, lesions=2, found=0, false_marks=0, gain_db=0.5)
    several = [none, replace(none, seed=1), replace(none, seed=2, false_marks=1)]
    assert typical(several).seed == 2
    assert summary(several)["unmarked"] == 2
    assert typical([none]) == none


def test_the_card_says_what_the_demonstration_shows() -> None:
    card = read_card(shipped_weights())
    found = card.record["demonstration"]
    each = [Shown(**one) for one in found["each"]]
    assert found == summary(each) | {"each": found["each"]}
    assert len(each) >= 30
    usual = next(one for one in each if one.seed == found["typical_seed"])
    again = shown(usual.seed, load_model(shipped_weights()))
    assert replace(again, gain_db=usual.gain_db) == usual
    assert again.gain_db == pytest.approx(usual.gain_db, abs=0.02)
    assert f"{found['found']} of their {found['lesions']} slices" in how_often(found)
