"""Weights with another Net_c, and their card."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch

from lfmri_node.recon.errors import LabError
from lfmri_node.recon.method.modelcard import shipped_weights
from lfmri_node.recon.method.weights import load_model
from lfmri_node.recon.train.card import Sizes, exchange_net_c
from lfmri_node.recon.train.card_text import card_text
from lfmri_node.recon.train.classifiers import build_classifier
from lfmri_node.recon.train.networks import NET_C
from lfmri_node.recon.train.recipes import find
from lfmri_node.recon.train.runs import Run
from lfmri_node.recon.train.stand_in import write_stand_in

FEW = Sizes(lesion=4, real=2)


def net_c(family: str) -> Run:
    torch.manual_seed(1)
    network = build_classifier(family, NET_C)
    network.eval().requires_grad_(False)
    return Run(
        name="net-c-s9",
        recipe=find("net-c"),
        network=network,
        seconds=1.0,
        wait_s=0.0,
        n_parameters=1,
        n_trained=1,
    )


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    write_stand_in(folder, 0)
    return folder


def test_only_net_c_and_what_is_said_of_lesions_change(data, tmp_path):
    before, facts = load_model(), load_model().card.record["training"]
    chosen = net_c("compact")
    weights = exchange_net_c(shipped_weights(), chosen, data, facts, tmp_path, "other", 0, FEW)
    after = load_model(weights)
    own, kept = after.network.state_dict(), before.network.state_dict()
    trained = chosen.network.state_dict()
    assert own.keys() == kept.keys()
    for name, value in own.items():
        expected = trained[name.removeprefix("classifier.")] if name.startswith("classifier.") else kept[name]
        assert torch.equal(value, expected), name
    assert after.card.domain == before.card.domain
    assert after.card.limits == before.card.limits
    assert after.card.record["verdicts"] == before.card.record["verdicts"]
    assert after.card.sha256 != before.card.sha256
    assert after.card.lesion["real_n_images"] > 0
    assert np.isfinite(after.card.lesion["operating_score"])
    assert f"SHA-256 of `other.safetensors`: `{after.card.sha256}`" in weights.with_suffix(".md").read_text()


def test_the_card_that_people_read_is_that_of_the_shipped_numbers_and_names_every_property():
    numbers = json.loads(shipped_weights().with_suffix(".json").read_text(encoding="utf-8"))
    text = shipped_weights().with_suffix(".md").read_text(encoding="utf-8")
    assert text == card_text(numbers)
    rows = re.findall(r"^\| (\w+) \| [^|]+ \((LF-QUA-\d+)\) \|", text, re.MULTILINE)
    assert {name for name, _ in rows} == {*numbers["limits"], *numbers["domain"]}
    errors = (Path(__file__).parents[3] / "deploy" / "docs" / "errors.md").read_text(encoding="utf-8")
    assert all(f"| {code} |" in errors for _, code in rows)


def test_a_net_c_of_another_family_is_refused(data, tmp_path):
    with pytest.raises(LabError) as refused:
        exchange_net_c(shipped_weights(), net_c("resnet"), data, {}, tmp_path, "other", 0, FEW)
    assert refused.value.code == "LF-LAB-007"
