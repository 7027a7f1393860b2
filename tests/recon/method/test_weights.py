"""Weights are loaded by SHA-256 and nothing else is accepted."""

import json
import math
import subprocess
import sys
from pathlib import Path

import pytest

from lfmri_node.recon.errors import InvalidModel
from lfmri_node.recon.method.cascade import CascadeConfig
from lfmri_node.recon.method.denoiser import DenoiserConfig
from lfmri_node.recon.method.modelcard import DOMAIN, read_card, weights_identity
from lfmri_node.recon.method.weights import config_from_card, config_to_card, load_model
from lfmri_node.recon.trust.verdict import MEANING, limit_name


def edit_card(path: Path, **changes: object) -> None:
    card = path.with_suffix(".json")
    card.write_text(json.dumps(json.loads(card.read_text()) | changes))


def test_loads_what_was_written(write_model):
    path = write_model()
    model = load_model(path)
    assert (model.name, model.sha256) == weights_identity(path)
    assert not any(p.requires_grad for p in model.network.parameters())


def test_architecture_survives_the_card():
    config = CascadeConfig(
        n_stages=5,
        n_cg=3,
        initial_mu=0.2,
        start_mu=0.05,
        start_iterations=7,
        denoiser=DenoiserConfig(channels=(4, 8), demodulate=True),
        focus=DenoiserConfig(channels=(6,)),
    )
    assert config_from_card(json.loads(json.dumps(config_to_card(config)))) == config


AIMS = {"real_image_auc": 0.90, "real_pointing_game": 0.80, "real_pointing_chance": 0.1}


def edit_lesion(path: Path, **figures: float) -> Path:
    edit_card(path, lesion=json.loads(path.with_suffix(".json").read_text())["lesion"] | figures)
    return path


def test_validated_means_the_aims_on_real_lesions(write_model):
    assert read_card(edit_lesion(write_model(), **AIMS)).lesion_map_validated


@pytest.mark.parametrize(
    ("figure", "value"),
    [
        ("real_image_auc", 0.899),
        ("real_pointing_game", 0.799),
        ("real_pointing_chance", 0.8),  # a peak anywhere would hit as often
        ("real_image_auc", math.nan),
        ("real_pointing_chance", math.nan),
    ],
)
def test_one_figure_short_of_its_aim_is_not_validated(write_model, figure, value):
    assert not read_card(edit_lesion(write_model(), **AIMS | {figure: value})).lesion_map_validated


@pytest.mark.parametrize("missing", AIMS)
def test_a_missing_figure_is_not_validated(write_model, missing):
    figures = {name: value for name, value in AIMS.items() if name != missing}
    assert not read_card(edit_lesion(write_model(), **figures)).lesion_map_validated


def test_an_older_card_with_inserted_lesions_alone_loads_and_is_not_validated(write_model):
    path = write_model(image_auc=1.0)
    assert not load_model(path).card.lesion_map_validated


def test_no_weights(tmp_path: Path):
    with pytest.raises(InvalidModel, match="LF-MOD-001"):
        load_model(tmp_path / "missing.safetensors")


def test_no_card(write_model):
    path = write_model()
    path.with_suffix(".json").unlink()
    with pytest.raises(InvalidModel, match="LF-MOD-002"):
        load_model(path)


def test_broken_card(write_model):
    path = write_model()
    edit_card(path, domain={"noise": 3})
    with pytest.raises(InvalidModel, match="LF-MOD-003"):
        load_model(path)


@pytest.mark.parametrize(
    ("part", "name"),
    [
        *(("domain", name) for name in DOMAIN),
        ("limits", "acceleration"),
        ("limits", "n_coils"),
        ("limits", "size"),
        ("lesion", "operating_score"),
        ("lesion", "threshold"),
    ],
)
def test_a_card_that_lacks_what_the_node_needs_is_refused_before_the_first_scan(write_model, part, name):
    path = write_model()
    entries = json.loads(path.with_suffix(".json").read_text())[part]
    edit_card(path, **{part: {key: value for key, value in entries.items() if key != name}})
    with pytest.raises(InvalidModel, match=f"lacks {name}") as refused:
        read_card(path)
    assert refused.value.code == "LF-MOD-003"


def test_the_gate_asks_a_card_for_no_range_beyond_those_that_it_must_have():
    asked = {limit_name(name, side) for name in (*MEANING, "network_residual") for side in (8.0, 24.0)}
    assert asked == set(DOMAIN)


def test_one_changed_byte(write_model):
    path = write_model()
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(InvalidModel, match="LF-MOD-004"):
        load_model(path)


def test_another_hash_than_the_site_expects(write_model):
    with pytest.raises(InvalidModel, match="LF-MOD-004"):
        load_model(write_model(), sha256="0" * 64)


def test_another_architecture(write_model):
    path = write_model()
    edit_card(path, architecture=config_to_card(CascadeConfig(n_stages=4)))
    with pytest.raises(InvalidModel, match="LF-MOD-005"):
        load_model(path)


def test_the_identity_of_weights_needs_no_torch(write_model):
    path = write_model()
    code = (
        "import sys, pathlib; from lfmri_node.recon.method.modelcard import weights_identity;"
        f"weights_identity(pathlib.Path({str(path)!r}));"
        "sys.exit(any(m in sys.modules for m in ('torch', 'sigpy')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
