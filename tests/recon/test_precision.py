"""Convolutions in bfloat16: only where the processor has units and the image stays what it is."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from lfmri_node.recon.method.weights import Model, load_model
from lfmri_node.recon.precision import CLOSE, choose, compare
from lfmri_node.recon.processor import bfloat16_units
from lfmri_node.recon.settings import Precision


@pytest.fixture(scope="module")
def model() -> Model:
    return load_model()


def processor(folder: Path, flags: str) -> Path:
    path = folder / "cpuinfo"
    path.write_text(f"processor\t: 0\nflags\t\t: fpu {flags}\nbogomips\t: 1\n")
    return path


@pytest.mark.parametrize(
    ("flags", "units"),
    [("avx2", ()), ("avx512_bf16", ("avx512_bf16",)), ("avx512_bf16 amx_bf16", ("amx_bf16", "avx512_bf16"))],
)
def test_units_are_what_the_kernel_lists(tmp_path, flags, units):
    assert bfloat16_units(processor(tmp_path, flags)) == units


def test_a_processor_that_says_nothing_has_none(tmp_path):
    assert bfloat16_units(tmp_path / "missing") == ()


def test_without_units_nothing_is_narrowed(tmp_path, model):
    chosen = choose(model, Precision.AUTO, processor(tmp_path, "avx2"))
    assert chosen.model is model
    assert chosen.precision is Precision.FLOAT32
    assert "no units" in chosen.why


def test_what_is_asked_for_by_name_is_done(tmp_path, model):
    none = processor(tmp_path, "avx2")
    assert choose(model, Precision.FLOAT32, none).model is model
    forced = choose(model, Precision.BFLOAT16, none)
    assert forced.precision is Precision.BFLOAT16
    assert forced.model.sha256 == model.sha256


def test_only_convolutions_of_the_denoisers_are_narrowed(model):
    narrowed = model.narrowed().network
    bodies = [m for stage in narrowed.stages for body in (stage.denoise, stage.focus) for m in body.modules()]
    inside = {id(m) for m in bodies if isinstance(m, nn.Conv2d)}
    assert inside
    for module in narrowed.modules():
        wanted = torch.bfloat16 if id(module) in inside else torch.float32
        assert all(p.dtype is wanted for p in module.parameters(recurse=False))
    assert all(p.dtype is torch.float32 for p in model.network.parameters())


def test_the_image_of_the_check_changes_a_little_and_less_than_the_limit(model):
    share, change = compare(model, model.narrowed())
    assert share > 0
    assert 1e-5 < change < CLOSE


def test_weights_that_bfloat16_spoils_stay_in_float32(tmp_path, model):
    """A body whose last convolution has a part that bfloat16 loses against a large one."""
    with_units = processor(tmp_path, "amx_bf16")
    spoiled = replace(model.narrowed(), bfloat16=False)
    for stage in spoiled.network.stages:
        for body in (stage.denoise.body, stage.focus.body):
            for module in body.modules():
                if isinstance(module, nn.Conv2d):
                    module.to(torch.float32)
            body.out.weight.data *= 300.0
            body.out.bias.data += 1.0
    chosen = choose(spoiled, Precision.AUTO, with_units)
    assert chosen.precision is Precision.FLOAT32
    assert float(np.float32(chosen.why.split("by ")[1].rstrip("%"))) > 100 * CLOSE
