"""The losses of a training: what they weigh, and what never reaches them."""

import dataclasses

import numpy as np
import pytest
import torch

from lfmri_node.recon.method.cascade import Cascade, CascadeConfig, LesionTerm, StageOutput
from lfmri_node.recon.method.denoiser import DenoiserConfig
from lfmri_node.recon.method.lesion import ClassifierConfig
from lfmri_node.recon.phantom.coils import loop_coils
from lfmri_node.recon.train.data import CLASSES, ImageSource
from lfmri_node.recon.train.examples import Simulated
from lfmri_node.recon.train.loader import Batch, assemble
from lfmri_node.recon.train.losses import LossWeights, total_loss
from lfmri_node.recon.train.samples import Sample, draw_sample
from lfmri_node.recon.types import LesionWeighting

TINY = CascadeConfig(
    n_stages=1,
    denoiser=DenoiserConfig(channels=(8, 8)),
    focus=DenoiserConfig(channels=(8, 8)),
    classifier=ClassifierConfig(channels=(8, 8), classes=tuple(CLASSES)),
)


@pytest.fixture(scope="module")
def sample() -> Sample:
    """A phantom with an inserted lesion."""
    rng = np.random.default_rng(3)
    coils, source = loop_coils(8, (32, 32), rng), ImageSource()
    drawn = (draw_sample(source, coils, rng, 4, 64) for _ in range(40))
    return next(s for s in drawn if s.lesion.any())


def batch_of(sample: Sample) -> Batch:
    example = Simulated(sample=sample, noisy=True).example(np.random.default_rng(0), None, points=False)
    return assemble([example])


def outputs_of(batch: Batch, config: CascadeConfig = TINY, **term: object) -> list[StageOutput]:
    torch.manual_seed(0)
    m = batch.measurement
    return Cascade(config).eval()(m.adjoint, m.operator, m.scale, LesionTerm(**term))


def test_the_place_of_a_lesion_never_reaches_a_batch_or_a_loss(sample):
    elsewhere = dataclasses.replace(sample, lesion=np.roll(sample.lesion, 24, axis=0))
    weights = LossWeights(lesion=1.0, classification=0.1)

    def losses(one: Sample) -> dict[str, float]:
        batch = batch_of(one)
        return {name: value.item() for name, value in total_loss(outputs_of(batch), batch, weights).items()}

    assert losses(sample) == losses(elsewhere)
    fields = [field.name for field in dataclasses.fields(batch_of(sample))]
    assert not any("lesion" in name or "box" in name or "mask" in name for name in fields)


def test_a_given_map_takes_the_place_of_the_activation_in_the_lesion_loss(sample):
    batch = batch_of(sample)
    outputs = outputs_of(batch)
    guide = torch.zeros(1, 1, *batch.target.shape[-2:])
    guide[..., 10:14, 12:20] = 0.5
    given = dataclasses.replace(batch, measurement=dataclasses.replace(batch.measurement, guide=guide))
    error = (torch.view_as_real(outputs[-1].image) - torch.view_as_real(batch.target)).abs()
    expected = 0.25 * error[:, 10:14, 12:20].sum().item() / error.numel()
    found = total_loss(outputs[-1:], given, LossWeights(stages=0.0, lesion=1.0))["lesion"].item()
    assert found == pytest.approx(expected, rel=1e-5)


def test_loss_weights_are_proportional_and_zero_turns_off(sample):
    batch = batch_of(sample)
    outputs = outputs_of(batch)
    off = total_loss(outputs, batch, LossWeights())
    one = total_loss(outputs, batch, LossWeights(lesion=1.0, classification=0.1))
    two = total_loss(outputs, batch, LossWeights(lesion=2.0, classification=0.2))
    assert off["lesion"] == off["classification"] == 0
    for name in ("lesion", "classification"):
        assert one[name] > 0
        assert two[name].item() == pytest.approx(2 * one[name].item(), rel=1e-5)
    assert one["loss"].item() == pytest.approx(
        sum(one[name].item() for name in ("image", "lesion", "classification")), rel=1e-5
    )


def test_only_the_last_stage_counts_where_the_others_weigh_nothing(sample):
    batch = batch_of(sample)
    outputs = outputs_of(batch, dataclasses.replace(TINY, n_stages=3), weighting=LesionWeighting.OFF)
    alone = total_loss(outputs[-1:], batch, LossWeights(stages=0.0))
    assert total_loss(outputs, batch, LossWeights(stages=0.0))["loss"] == alone["loss"]
    every = total_loss(outputs, batch, LossWeights(stages=1.0))
    each = sum(total_loss([output], batch, LossWeights())["loss"] for output in outputs)
    assert every["loss"].item() == pytest.approx(each.item(), rel=1e-5)


def test_the_truth_costs_nothing(sample):
    batch = batch_of(sample)
    perfect = [StageOutput(batch.target, None, None)]
    assert total_loss(perfect, batch, LossWeights(lesion=1.0, classification=1.0))["loss"] == 0
