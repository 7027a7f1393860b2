"""What is shown of an activation: not in air, not below the floor."""

import numpy as np

from lfmri_node.recon.method.shown import ACTIVATION_FLOOR, body_mask, shown_activation
from lfmri_node.recon.phantom.body import phantom_volume

_SHAPE = (96, 80)


def noisy(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """A phantom with noise all over, and where it is."""
    rng = np.random.default_rng(seed)
    clean = phantom_volume(1, _SHAPE, rng)[0]
    clean = clean / np.percentile(clean, 99)
    noise = rng.normal(0, 0.02, (*_SHAPE, 2)) @ [1, 1j]
    return (clean + noise).astype(np.complex64), clean > 0.05


def test_the_body_is_the_phantom_to_within_its_edge():
    image, truth = noisy()
    body = body_mask(image)
    overlap = (body & truth).sum() / (body | truth).sum()
    assert overlap > 0.9


def test_a_dark_hole_inside_belongs_to_the_body():
    image, _ = noisy()
    y, x = (int(i) for i in np.argwhere(body_mask(image)).mean(axis=0))
    image[y - 3 : y + 4, x - 3 : x + 4] = 0
    assert body_mask(image)[y, x]


def test_an_image_of_zeros_has_no_body():
    assert not body_mask(np.zeros(_SHAPE, dtype=np.complex64)).any()


def test_air_and_small_values_are_shown_as_zero_and_the_rest_as_it_is():
    image, truth = noisy()
    rng = np.random.default_rng(1)
    activation = rng.uniform(0, 1, _SHAPE).astype(np.float32)
    shown = shown_activation(activation, image, np.ones(_SHAPE, dtype=bool))
    assert set(np.unique(shown[shown > 0])) <= set(np.unique(activation[activation >= ACTIVATION_FLOOR]))
    corner = np.zeros(_SHAPE, dtype=bool)
    corner[:4, :4] = True
    assert not (truth & corner).any()
    assert not shown[corner].any()
    inside = body_mask(image) & (activation >= ACTIVATION_FLOOR)
    assert np.array_equal(shown[inside], activation[inside])


def test_outside_the_support_of_the_maps_nothing_is_shown():
    image, _ = noisy()
    assert not shown_activation(np.ones(_SHAPE, np.float32), image, np.zeros(_SHAPE, dtype=bool)).any()
