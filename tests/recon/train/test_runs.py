"""Runs: a killed training ends like one that was left alone; recipes compare like with like."""

import dataclasses
import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from lfmri_node.recon.errors import LabError
from lfmri_node.recon.train.networks import LfMri, build_network, count_parameters, start_stages
from lfmri_node.recon.train.recipes import NETWORKS, Recipe, all_recipes, find
from lfmri_node.recon.train.runs import Machine, finished, load_run, train, training_pool
from lfmri_node.recon.train.tasks import freeze
from lfmri_node.recon.types import LesionWeighting

QUIET = Machine(threads=1, progress=False)
SMALL = {"n_stages": 1, "n_rows": 16, "n_samples": 3, "steps": 6, "epoch_steps": 2}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory, stand_in: Path) -> Path:
    """An untrained Net_c as a finished run, and a tiny cascade trained on it."""
    folder = tmp_path_factory.mktemp("runs")
    net_c = find("net-c")
    torch.manual_seed(0)
    (folder / "net-c").mkdir()
    save_file(build_network(net_c).state_dict(), folder / "net-c" / "weights.safetensors")
    (folder / "net-c" / "recipe.json").write_text(json.dumps(net_c.to_json()))
    (folder / "net-c" / "run.json").write_text(json.dumps({"seconds": 1.0, "wait_s": 0.0}))
    train(small("lf-mri"), stand_in, folder, QUIET)
    return folder


def small(name: str) -> Recipe:
    channels = (8,) if name.startswith("ista") else (4, 8)
    return dataclasses.replace(find(name), channels=channels, focus_channels=(4, 8), **SMALL)


@pytest.mark.parametrize("table", range(1, 10))
def test_every_table_of_the_paper_has_recipes(table):
    assert any(table in recipe.tables for recipe in all_recipes().values())


def learning(recipe: Recipe) -> int:
    """Parameters that the training of a recipe changes: the pre-trained Net_c is none of them."""
    network = build_network(recipe)
    freeze(network, recipe)
    return sum(parameter.numel() for parameter in network.parameters() if parameter.requires_grad)


def test_networks_of_a_comparison_learn_as_much_to_a_tenth_and_differ_in_nothing_else():
    compared = [recipe for recipe in all_recipes().values() if 1 in recipe.tables]
    assert {recipe.network for recipe in compared} == set(NETWORKS)
    counts = {recipe.name: learning(recipe) for recipe in compared}
    assert max(counts.values()) < 1.1 * min(counts.values()), counts
    for field in ("steps", "batch", "n_samples", "n_rows", "seed", "learning_rate", "kinds", "sampling"):
        assert len({getattr(recipe, field) for recipe in compared}) == 1, field


def test_a_recipe_survives_its_file():
    for recipe in all_recipes().values():
        assert Recipe.from_json(json.loads(json.dumps(recipe.to_json()))) == recipe


@pytest.mark.parametrize("change", [{"colour": 1}, {"losses": {"image": 1}}, {"lesion": "sometimes"}])
def test_a_recipe_of_another_version_is_refused(change):
    with pytest.raises(LabError) as caught:
        Recipe.from_json(find("u-net").to_json() | change)
    assert caught.value.code == "LF-LAB-003"


@pytest.mark.parametrize("name", ["u-net", "ista-net", "modl", "varnet", "lf-off", "lf-mri-learned"])
def test_every_kind_of_recipe_trains_and_is_read_back(name, stand_in, runs):
    recipe = small(name)
    folder = train(recipe, stand_in, runs, QUIET)
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
    assert (name == "lf-mri-learned") == (folder / "mask.txt").exists()


def test_net_c_alone_trains_and_is_read_back(stand_in, tmp_path):
    recipe = dataclasses.replace(find("net-c"), steps=4, batch=4, epoch_steps=2)
    run = load_run(train(recipe, stand_in, tmp_path, QUIET))
    assert run.recipe == recipe
    assert run.n_trained == run.n_parameters == count_parameters(build_network(recipe))
    kept = [load_file(path) for path in sorted((tmp_path / "net-c" / "steps").iterdir())]
    assert len(kept) == 2
    assert any(not torch.equal(value, kept[1][name]) for name, value in kept[0].items())


def test_net_c_stays_as_it_was_pre_trained_unless_its_loss_counts(stand_in, runs):
    pre = load_file(runs / "net-c" / "weights.safetensors")
    frozen = load_run(runs / "lf-mri").network.cascade.classifier.state_dict()
    assert all(torch.equal(frozen[name], value) for name, value in pre.items())
    joint = load_run(train(small("lf-mri-joint"), stand_in, runs, QUIET)).network.cascade.classifier
    assert not torch.equal(joint.logits.weight, pre["logits.weight"])


def test_only_the_focus_trains_where_the_recipe_says_so(stand_in, runs):
    """And delta, the weight of its term; D_w, mu and Net_c stay as they were given."""
    torch.manual_seed(0)
    given = build_network(small("lf-off")).state_dict()
    save_file(given, runs / "off.safetensors")
    recipe = dataclasses.replace(
        small("lf-mri"), name="focus", start_from=str(runs / "off.safetensors"), only_focus=True
    )
    run = load_run(train(recipe, stand_in, runs, QUIET))
    trained = run.network.state_dict()
    learned = {name for name in trained if ".focus." in name or "delta" in name}
    assert run.n_trained == sum(trained[name].numel() for name in learned) < run.n_parameters
    for name in set(given) - learned:
        assert torch.equal(trained[name], given[name]), name
    assert trained["cascade.stages.0.raw_delta"] != 0
    assert trained["cascade.stages.0.focus.body.out.weight"].abs().max() > 0


def test_weights_are_kept_along_a_training(stand_in, runs):
    """At about twenty points, at least an epoch apart: here every second of six steps."""
    folder = train(small("lf-mri"), stand_in, runs, QUIET)
    kept = sorted((folder / "steps").iterdir())
    assert [path.name for path in kept] == [f"step-{n:06d}.safetensors" for n in (2, 4, 6)]
    last, final = load_file(kept[-1]), load_file(folder / "weights.safetensors")
    assert set(last) == set(final)
    assert all(torch.equal(last[name], final[name]) for name in final)
    assert any(not torch.equal(load_file(kept[0])[name], final[name]) for name in final)


def test_a_truth_without_noise_is_another_training_on_the_same_samples(stand_in, runs):
    noisy, clean = (training_pool(small(name), stand_in, runs) for name in ("lf-off", "lf-off-clean"))
    assert (noisy[0].noisy, clean[0].noisy) == (True, False)
    assert noisy[0].sample.image.tobytes() == clean[0].sample.image.tobytes()


def test_a_run_is_not_overwritten_by_another_recipe_of_its_name(stand_in, runs):
    with pytest.raises(LabError) as caught:
        train(dataclasses.replace(small("lf-mri"), seed=5), stand_in, runs, QUIET)
    assert caught.value.code == "LF-LAB-002"


def test_a_recipe_needs_what_it_builds_on(stand_in, tmp_path):
    with pytest.raises(LabError) as caught:
        train(small("lf-mri"), stand_in, tmp_path, QUIET)
    assert (caught.value.code, "net-c" in caught.value.hint) == ("LF-LAB-005", True)


def test_the_last_stage_given_serves_the_stages_beyond_it():
    torch.manual_seed(0)
    short, longer = (build_network(dataclasses.replace(small("lf-off"), n_stages=n)) for n in (1, 3))
    for parameter in short.parameters():
        torch.nn.init.normal_(parameter)
    start_stages(longer, short.state_dict())
    for stage in longer.cascade.stages:
        for name, value in short.cascade.stages[0].state_dict().items():
            assert torch.equal(stage.state_dict()[name], value), name


def test_g_u_stays_as_it_was_made_where_nothing_of_it_is_given():
    torch.manual_seed(0)
    off, focused = build_network(small("lf-off")), build_network(small("lf-mri"))
    torch.nn.init.normal_(off.cascade.stages[0].denoise.body.out.weight)
    before = {name: value.clone() for name, value in focused.state_dict().items()}
    start_stages(focused, off.state_dict())
    given = off.state_dict()
    for name, value in focused.state_dict().items():
        assert torch.equal(value, given.get(name, before[name])), name
    assert isinstance(focused, LfMri)
    assert focused.weighting is LesionWeighting.FOCUSED


def test_a_body_of_another_shape_is_refused():
    wide = build_network(dataclasses.replace(small("lf-off"), channels=(6, 8)))
    with pytest.raises(LabError) as caught:
        start_stages(wide, build_network(small("lf-off")).state_dict())
    assert caught.value.code == "LF-LAB-008"


TRAIN = """
import json, sys
from pathlib import Path
from lfmri_node.recon.train import runs
from lfmri_node.recon.train.recipes import Recipe
recipe = Recipe.from_json(json.loads(sys.argv[1]))
runs.train(recipe, Path(sys.argv[2]), Path(sys.argv[3]), runs.Machine(threads=1, progress=False))
"""


def test_a_training_killed_after_a_checkpoint_ends_with_the_same_weights(stand_in, tmp_path):
    recipe = dataclasses.replace(small("lf-off"), steps=40, epoch_steps=4)
    arguments = [json.dumps(recipe.to_json()), str(stand_in), str(tmp_path / "killed")]

    def begin() -> subprocess.Popen:
        command = [sys.executable, "-c", TRAIN, *arguments]
        return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    killed = begin()
    checkpoint = tmp_path / "killed" / recipe.name / "last.ckpt"
    while not checkpoint.exists():
        with pytest.raises(subprocess.TimeoutExpired):  # it is at work
            killed.wait(timeout=0.05)
    killed.send_signal(signal.SIGKILL)
    assert killed.wait() == -signal.SIGKILL
    assert 0 < torch.load(checkpoint, weights_only=True)["global_step"] < 40
    assert begin().wait() == 0
    train(recipe, stand_in, tmp_path / "whole", QUIET)
    runs = [tmp_path / name / recipe.name for name in ("whole", "killed")]
    kept = [sorted(path.name for path in (folder / "steps").iterdir()) for folder in runs]
    assert kept[0] == kept[1]
    before, after = (load_file(folder / "weights.safetensors") for folder in runs)
    assert all(torch.equal(before[name], after[name]) for name in before)
    steps = [line.split(",")[0] for line in (runs[1] / "metrics.csv").read_text().splitlines()[1:]]
    assert steps == [str(step) for step in range(4, 41, 4)]


def test_a_run_without_weights_is_not_a_finished_one(stand_in, runs, tmp_path):
    assert {run.name for run in finished(runs)} >= {"net-c", "lf-mri"}
    with pytest.raises(LabError) as caught:
        load_run(tmp_path)
    assert caught.value.code == "LF-LAB-006"


def test_a_torn_weights_file_does_not_pass_for_a_run(runs, tmp_path):
    """Weights appear under their name only when whole: what is written first is not taken for a run."""
    (tmp_path / "torn").mkdir()
    save_file({"a": torch.zeros(1)}, tmp_path / "torn" / "weights.safetensors.part")
    assert finished(tmp_path) == []
