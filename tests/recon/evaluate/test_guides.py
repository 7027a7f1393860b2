"""Another C in the place of Net_c's map, another mu: what changes and what must not."""

import copy
import dataclasses

import numpy as np
import pytest
import torch

from lfmri_node.recon.errors import LabError
from lfmri_node.recon.evaluate.cases import Case
from lfmri_node.recon.evaluate.detail import body_of
from lfmri_node.recon.evaluate.guides import LOWER, Guide, lowered, moved
from lfmri_node.recon.evaluate.learned import LearnedMethod
from lfmri_node.recon.evaluate.scan_mu import scan_mu
from lfmri_node.recon.evaluate.simulated import HELD_OUT, case_of
from lfmri_node.recon.method.cascade import CascadeConfig
from lfmri_node.recon.method.denoiser import DenoiserConfig
from lfmri_node.recon.phantom.coils import loop_coils
from lfmri_node.recon.train.data import ImageSource
from lfmri_node.recon.train.networks import NET_C, LfMri, scale_mu
from lfmri_node.recon.train.recipes import find
from lfmri_node.recon.train.runs import Run
from lfmri_node.recon.train.samples import draw_scan
from lfmri_node.recon.types import LesionWeighting

SIDE = 96


@pytest.fixture(scope="module")
def case() -> Case:
    coils = loop_coils(8, (64, 64), np.random.default_rng(0))
    drawn = (
        draw_scan(ImageSource(), coils, np.random.default_rng(i), acceleration=4.0, n_coils=4, size=SIDE)
        for i in range(20)
    )
    return case_of(next(scan for scan in drawn if scan.entry.lesion is not None), HELD_OUT, "0")


@pytest.fixture(scope="module")
def network() -> LfMri:
    """Two stages in which every part does something."""
    torch.manual_seed(0)
    body = DenoiserConfig(channels=(8, 8))
    config = CascadeConfig(n_stages=2, start_iterations=2, denoiser=body, focus=body, classifier=NET_C)
    made = LfMri(config, LesionWeighting.FOCUSED, "compact")
    for name, parameter in made.named_parameters():
        if name.startswith("cascade.stages") and torch.all(parameter == 0):
            torch.nn.init.normal_(parameter, std=0.05)
    return made.eval().requires_grad_(False)


def image_of(network: LfMri, case: Case, guide: Guide | None = None) -> np.ndarray:
    return LearnedMethod(name="", run="", weights="", network=network, guide=guide).reconstruct(case).image


def test_the_outline_as_c_lies_on_the_lesion_and_the_other_is_as_large_and_elsewhere(case):
    own, other = Guide(elsewhere=False)(case), Guide(elsewhere=True)(case)
    assert own[case.lesion].mean() > 2 * own[~case.lesion].max() / 3
    assert own[case.lesion].sum() > 5 * other[case.lesion].sum()
    assert other.sum() == pytest.approx(own.sum(), rel=0.4)  # each blurred by a draw of its own
    for guide in (own, other):
        assert guide.dtype == np.float32
        assert 0 <= guide.min() <= guide.max() <= 1
    np.testing.assert_array_equal(other, Guide(elsewhere=True)(case))
    assert not Guide(elsewhere=False)(dataclasses.replace(case, lesion=None)).any()


def test_a_moved_outline_keeps_its_pixels_and_its_middle_lies_in_the_body(case):
    body = body_of(np.abs(case.truth))
    for seed in range(5):
        other = moved(case.lesion, body, np.random.default_rng(seed))
        assert other.sum() == case.lesion.sum()
        assert not (other & case.lesion).any()
        row, column = np.round(np.argwhere(other).mean(axis=0)).astype(int)
        assert body[row, column]


def test_a_c_of_zero_is_the_lesion_term_off(case, network):
    nowhere = image_of(network, dataclasses.replace(case, lesion=None), Guide(elsewhere=False))
    off = LfMri(network.cascade.config, LesionWeighting.OFF, "compact").eval()
    off.load_state_dict(network.state_dict(), strict=False)
    np.testing.assert_array_equal(nowhere, image_of(off, case))
    assert not np.array_equal(image_of(network, case, Guide(elsewhere=False)), nowhere)


def test_lowered_mu_changes_the_weight_in_c_and_leaves_g_u_out(case, network):
    """mu2 = mu1 / 4 in every stage whatever the measurement; the rest is untouched, the original too."""
    before = {name: value.clone() for name, value in network.state_dict().items()}
    changed = lowered(network)
    conditions = torch.randn(3, 4)
    for stage in changed.cascade.stages:
        torch.testing.assert_close(torch.exp(stage.delta(conditions)), torch.full((3, 1, 1), LOWER))
        image = torch.randn(1, 8, 8, dtype=torch.complex64)
        assert torch.equal(stage.focus(image, conditions[:1], image, guide=torch.ones(1, 1, 8, 8)), image)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    given = Guide(elsewhere=False)
    assert not np.array_equal(image_of(changed, case, given), image_of(network, case, given))


@pytest.mark.parametrize("factor", [0.25, 1.0, 4.0])
def test_scaled_mu_is_mu_times_the_factor_under_every_condition(network, factor):
    changed, conditions = copy.deepcopy(network), torch.randn(3, 4)
    scale_mu(changed, factor)
    for ours, theirs in zip(changed.cascade.stages, network.cascade.stages, strict=True):
        torch.testing.assert_close(ours.mu(conditions), factor * theirs.mu(conditions))
        torch.testing.assert_close(ours.delta(conditions), theirs.delta(conditions))


def test_only_lf_mri_has_a_mu_to_scan(tmp_path):
    recipe = find("u-net")
    run = Run(
        name="u-net",
        recipe=recipe,
        network=torch.nn.Identity(),
        seconds=0.0,
        wait_s=0.0,
        n_parameters=0,
        n_trained=0,
    )
    with pytest.raises(LabError) as refused:
        scan_mu(run, tmp_path, 1, 0)
    assert refused.value.code == "LF-LAB-025"
