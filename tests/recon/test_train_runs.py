"""Runs: a killed training ends like one that was left alone; recipes compare like with like."""

import dataclasses
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner

from lfmri_node.recon import lab
from lfmri_node.recon.errors import LabError
from lfmri_node.recon.train.card import Sizes, export
from lfmri_node.recon.train.networks import LfMri, build_network, count_parameters, start_stages
from lfmri_node.recon.train.recipes import NETWORKS, Recipe, all_recipes, find
from lfmri_node.recon.train.runs import Machine, finished, load_run, train
from lfmri_node.recon.train.stand_in import write_stand_in
from lfmri_node.recon.types import LesionWeighting
from lfmri_node.recon.weights import load_model

QUIET = Machine(threads=1, progress=False)
SMALL = {"n_stages": 1, "n_rows": 16, "n_samples": 3, "steps": 6, "epoch_steps": 2}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("stand-in")
    write_stand_in(folder)
    return folder


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory, data: Path) -> Path:
    """A pre-trained Net_c and a cascade on it, both tiny."""
    folder = tmp_path_factory.mktemp("runs")
    train(dataclasses.replace(find("net-c-f0"), steps=4, batch=2), data, folder, QUIET)
    train(small("lf-mri-f0"), data, folder, QUIET)
    return folder


def small(name: str) -> Recipe:
    channels = (8,) if name.startswith("ista") else (4, 8)
    return dataclasses.replace(find(name), channels=channels, **SMALL)


@pytest.mark.parametrize("table", range(1, 10))
def test_every_table_of_the_paper_has_recipes(table):
    assert any(table in recipe.tables for recipe in all_recipes().values())


def test_networks_of_a_comparison_differ_by_less_than_a_tenth_in_parameters_and_in_nothing_else():
    compared = [recipe for recipe in all_recipes().values() if 1 in recipe.tables and recipe.fold == 0]
    assert {recipe.network for recipe in compared} == set(NETWORKS)
    counts = {recipe.name: count_parameters(build_network(recipe)) for recipe in compared}
    assert max(counts.values()) < 1.1 * min(counts.values()), counts
    for field in ("steps", "batch", "n_samples", "n_rows", "seed", "learning_rate", "kinds", "sampling"):
        assert len({getattr(recipe, field) for recipe in compared}) == 1, field


def test_a_recipe_survives_its_file():
    for recipe in all_recipes().values():
        assert Recipe.from_json(json.loads(json.dumps(recipe.to_json()))) == recipe


@pytest.mark.parametrize("change", [{"colour": 1}, {"losses": {"image": 1}}, {"lesion": "sometimes"}])
def test_a_recipe_of_another_version_is_refused(change):
    with pytest.raises(LabError) as caught:
        Recipe.from_json(find("u-net-f0").to_json() | change)
    assert caught.value.code == "LF-LAB-003"


@pytest.mark.parametrize(
    "name", ["u-net-f0", "ista-net-f0", "modl-f0", "varnet-f0", "lf-off-f0", "lf-mri-learned-f0"]
)
def test_every_kind_of_recipe_trains_and_is_read_back(name, data, runs):
    recipe = small(name)
    folder = train(recipe, data, runs, QUIET)
    run = load_run(folder)
    assert run.recipe == recipe
    assert run.n_parameters == count_parameters(run.network)
    before = build_network(recipe).state_dict()
    torch.manual_seed(recipe.seed)
    assert any(not torch.equal(value, before[key]) for key, value in run.network.state_dict().items())
    assert (folder / "curves.png").stat().st_size > 1000
    assert [line.split(",")[0] for line in (folder / "metrics.csv").read_text().splitlines()] == [
        "step",
        "2",
        "4",
        "6",
    ]
    assert (name == "lf-mri-learned-f0") == (folder / "mask.txt").exists()


def test_net_c_stays_as_it_was_pre_trained_unless_its_loss_counts(data, runs):
    pre = load_file(runs / "net-c-f0" / "weights.safetensors")
    frozen = load_run(runs / "lf-mri-f0").network.cascade.classifier.state_dict()
    assert all(torch.equal(frozen[name], value) for name, value in pre.items())
    joint = load_run(train(small("lf-mri-joint-f0"), data, runs, QUIET)).network.cascade.classifier
    assert not torch.equal(joint.logits.weight, pre["logits.weight"])


def test_only_the_focus_trains_where_the_recipe_says_so(data, runs):
    folder = train(small("lf-off-f1"), data, runs, QUIET)
    recipe = dataclasses.replace(
        small("lf-mri-f1"),
        name="focus",
        tied=False,
        start_from=folder.name,
        classifier_from="net-c-f0",
        only_focus=True,
    )
    given = load_file(folder / "weights.safetensors")
    trained = load_run(train(recipe, data, runs, QUIET)).network.state_dict()
    for name, value in given.items():
        if name.endswith("raw_mu"):  # mu1 stays, mu2 is the weight of the lesion term
            assert trained[name][0] == value[0]
            assert trained[name][1] != value[1]
        else:
            assert torch.equal(trained[name], value), name
    assert trained["cascade.stages.0.focus.body.out.weight"].abs().max() > 0


def test_two_processes_train_one_network(data, runs):
    """Lightning's DDP starts the command again for the second process, so this needs a command."""
    command = [str(Path(sys.executable).with_name("lfmri-lab")), "train", "net-c-f2", "lf-mri-f2"]
    options = ["--data", str(data), "--runs", str(runs), "--devices", "2", "--threads", "1"]
    sizes = ["--max-steps", "4", "--limit", "3"]
    done = subprocess.run([*command, *options, *sizes], capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    assert "MEMBER: 2/2" in done.stderr
    for name in ("net-c-f2", "lf-mri-f2"):
        assert load_run(runs / name).recipe.steps == 4


def test_a_run_is_not_overwritten_by_another_recipe_of_its_name(data, runs):
    with pytest.raises(LabError) as caught:
        train(dataclasses.replace(small("lf-mri-f0"), seed=5), data, runs, QUIET)
    assert caught.value.code == "LF-LAB-002"


def test_a_recipe_needs_what_it_builds_on(data, tmp_path):
    with pytest.raises(LabError) as caught:
        train(small("lf-mri-f0"), data, tmp_path, QUIET)
    assert (caught.value.code, "net-c-f0" in caught.value.hint) == ("LF-LAB-005", True)


def test_the_last_stage_given_serves_the_stages_beyond_it():
    torch.manual_seed(0)
    short = LfMri(build_network(small("lf-off-f0")).cascade.config, LesionWeighting.OFF, "compact")
    longer = build_network(dataclasses.replace(small("lf-off-f0"), n_stages=3))
    torch.nn.init.normal_(short.cascade.stages[0].denoise.body.out.weight)
    start_stages(longer, short.state_dict())
    for stage in longer.cascade.stages:
        assert torch.equal(stage.denoise.body.out.weight, short.cascade.stages[0].denoise.body.out.weight)
    with pytest.raises(LabError) as caught:
        start_stages(build_network(small("lf-mri-f0")), short.state_dict())  # tied: D_w sees a map
    assert caught.value.code == "LF-LAB-008"


TRAIN = """
import json, sys
from pathlib import Path
from lfmri_node.recon.train import runs
from lfmri_node.recon.train.recipes import Recipe
recipe = Recipe.from_json(json.loads(sys.argv[1]))
runs.train(recipe, Path(sys.argv[2]), Path(sys.argv[3]), runs.Machine(threads=1, progress=False))
"""


def test_a_training_killed_after_a_checkpoint_ends_with_the_same_weights(data, tmp_path):
    recipe = dataclasses.replace(small("lf-off-f0"), steps=40, epoch_steps=4)

    def begin(name: str) -> subprocess.Popen:
        command = [sys.executable, "-c", TRAIN, json.dumps(recipe.to_json()), str(data), str(tmp_path / name)]
        return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    whole, killed = begin("whole"), begin("killed")
    checkpoint = tmp_path / "killed" / recipe.name / "last.ckpt"
    while not checkpoint.exists():
        assert killed.poll() is None
        os.sched_yield()
    killed.send_signal(signal.SIGKILL)
    assert killed.wait() == -signal.SIGKILL
    assert 0 < torch.load(checkpoint, weights_only=True)["global_step"] < 40
    assert begin("killed").wait() == whole.wait() == 0
    runs = [tmp_path / name / recipe.name for name in ("whole", "killed")]
    before, after = (load_file(folder / "weights.safetensors") for folder in runs)
    assert all(torch.equal(before[name], after[name]) for name in before)
    steps = [line.split(",")[0] for line in (runs[1] / "metrics.csv").read_text().splitlines()[1:]]
    assert steps == [str(step) for step in range(4, 41, 4)]


def test_exported_weights_load_in_the_node_with_a_card_that_was_measured(data, runs, tmp_path):
    training = {
        "sources": [],
        "simulation": "",
        "steps": [],
        "tried": [],
        "limits": [],
        "lesion_kinds": "bright",
    }
    run = load_run(runs / "lf-mri-f0")
    weights = export(run, data, training, tmp_path, "toy", 0, Sizes(domain=3, lesion=8, table=1))
    model = load_model(weights)
    state = run.network.cascade.state_dict()
    assert all(torch.equal(value, state[name]) for name, value in model.network.state_dict().items())
    assert model.card.domain["noise"][0] < model.card.domain["noise"][1]
    assert "toy" in weights.with_suffix(".md").read_text()
    held_out = json.loads(weights.with_suffix(".json").read_text())["record"]["lesion_held_out"]
    assert set(held_out) == {"4x", "8x"}
    assert model.card.lesion["image_auc"] == min(found["image_auc"] for found in held_out.values())


@pytest.mark.parametrize("name", ["net-c-f0", "lf-off-f0"])
def test_only_a_cascade_with_its_lesion_term_can_be_exported(data, runs, tmp_path, name):
    recipe = find(name) if name.startswith("net-c") else small(name)
    folder = runs / name if name.startswith("net-c") else train(recipe, data, runs, QUIET)
    run = load_run(folder)
    with pytest.raises(LabError) as caught:
        export(run, data, {}, tmp_path, "toy", 0)
    assert caught.value.code == "LF-LAB-007"
    assert not list(tmp_path.iterdir())


def test_a_run_without_weights_is_not_a_finished_one(data, runs, tmp_path):
    assert {run.name for run in finished(runs)} >= {"net-c-f0", "lf-mri-f0"}
    with pytest.raises(LabError) as caught:
        load_run(tmp_path)
    assert caught.value.code == "LF-LAB-006"


def test_a_torn_weights_file_does_not_pass_for_a_run(runs, tmp_path):
    """Weights appear under their name only when whole: what is written first is not taken for a run."""
    (tmp_path / "torn").mkdir()
    save_file({"a": torch.zeros(1)}, tmp_path / "torn" / "weights.safetensors.part")
    assert finished(tmp_path) == []


def test_the_command_line_names_what_is_wrong(data, tmp_path, capsys):
    for words, code in ((["train", "nothing"], "LF-LAB-001"), (["train", "lf-mri-f0"], "LF-LAB-005")):
        result = CliRunner().invoke(lab.app, [*words, "--data", str(data), "--runs", str(tmp_path)])
        assert isinstance(result.exception, LabError)
        assert result.exception.code == code
    listed = CliRunner().invoke(lab.app, ["recipes", "--json"])
    assert set(json.loads(listed.stdout)) == set(all_recipes())


def test_net_c_is_judged_by_kind_on_held_out_images(data, runs):
    words = ["judge-net-c", "net-c-f0", "--data", str(data), "--runs", str(runs), "--images", "24"]
    judged = json.loads(CliRunner().invoke(lab.app, words).stdout)
    assert set(judged) == {"fully sampled", "degraded"}
    for figures in judged.values():
        assert "all" in figures
        assert all(0 <= value <= 1 for kind in figures.values() for value in kind.values())


def test_stand_in_data_are_reproducible(tmp_path):
    for name in ("a", "b"):
        assert CliRunner().invoke(lab.app, ["stand-in", str(tmp_path / name), "--seed", "3"]).exit_code == 0
    with np.load(tmp_path / "a" / "legs.npz") as one, np.load(tmp_path / "b" / "legs.npz") as other:
        np.testing.assert_array_equal(one["thigh"], other["thigh"])
