"""The shipped weights as runs: what is written is what is shipped."""

import numpy as np
import pytest
import torch

from lfmri_node.recon.errors import LabError
from lfmri_node.recon.method.weights import load_model
from lfmri_node.recon.train.networks import scale_mu
from lfmri_node.recon.train.runs import load_run
from lfmri_node.recon.train.unpack import unpack


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    unpack(None, folder)
    return folder


def test_net_c_is_that_of_the_node(runs):
    shipped = load_model().network.classifier.state_dict()
    unpacked = load_run(runs / "net-c").network.state_dict()
    assert shipped.keys() == unpacked.keys()
    assert all(torch.equal(shipped[name], unpacked[name]) for name in shipped)


def test_d_w_is_that_of_the_node_before_mu_was_chosen(runs):
    model = load_model()
    network = load_run(runs / "shipped-denoiser").network
    factor = model.card.record["recipe"]["mu_factor"]
    before = [float(stage.raw_mu) for stage in network.cascade.stages]
    scale_mu(network, factor)
    own = network.cascade.state_dict()
    shipped = model.network.state_dict()
    assert all(abs(float(s.raw_mu) - b) > 0.1 for s, b in zip(model.network.stages, before, strict=True))
    for name, value in own.items():
        np.testing.assert_allclose(value, shipped[name], rtol=1e-5, atol=1e-6, err_msg=name)


def test_a_run_that_is_there_is_not_overwritten(runs):
    with pytest.raises(LabError) as refused:
        unpack(None, runs)
    assert refused.value.code == "LF-LAB-032"
