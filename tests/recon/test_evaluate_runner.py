"""The whole evaluation on phantoms with untrained networks, and again on what it left."""

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from lfmri_node.recon.baseline import zero_filled
from lfmri_node.recon.errors import LabError
from lfmri_node.recon.evaluate import methods, real_lesions
from lfmri_node.recon.evaluate.learned import read_runs
from lfmri_node.recon.evaluate.methods import CG_SENSE, CLASSICAL, L1_WAVELET
from lfmri_node.recon.evaluate.rows import read_rows
from lfmri_node.recon.evaluate.runner import command_line, evaluate
from lfmri_node.recon.evaluate.scoring import TRUTH
from lfmri_node.recon.evaluate.simulated import setting_of
from lfmri_node.recon.train.data import FOLDS
from lfmri_node.recon.train.learned_sampling import write_mask
from lfmri_node.recon.train.networks import build_network
from lfmri_node.recon.train.recipes import all_recipes, find, write_recipe
from lfmri_node.recon.train.stand_in import write_stand_in

NAMES = ("net-c-f0", "judge-f0", "u-net-f0", "lf-mri-f0", "lf-off-f0")
FILES = ("slices.csv", "regularisation.json", "tables.csv", "tables.md", "lab-report.html")


def write_untrained(runs: Path, name: str) -> None:
    recipe = find(name)
    if recipe.network != "classifier":
        recipe = dataclasses.replace(recipe, channels=(8, 8), n_stages=1)
    folder = runs / name
    folder.mkdir(parents=True)
    write_recipe(recipe, folder / "recipe.json")
    torch.manual_seed(0)
    network = build_network(recipe)
    save_file({k: v.contiguous() for k, v in network.state_dict().items()}, folder / "weights.safetensors")
    (folder / "run.json").write_text(json.dumps({"seconds": 10.0, "wait_s": 1.0}))
    (folder / "metrics.csv").write_text("step,loss,image\n50,0.2,0.2\n100,0.1,0.1\n")


@pytest.fixture(scope="module")
def done(tmp_path_factory) -> Iterator[Path]:
    """Folders ``data``, ``runs`` and ``out`` after an evaluation of two slices at 4x."""
    root = tmp_path_factory.mktemp("lab")
    write_stand_in(root / "data", seed=0)
    for name in NAMES:
        write_untrained(root / "runs", name)
    (root / "out").mkdir()
    # SigPy's solver takes seconds a slice and is tested elsewhere
    monkeypatch = pytest.MonkeyPatch()
    monkeypatch.setattr(methods, "l1_wavelet", lambda kspace, maps, lamda: zero_filled(kspace, maps))
    monkeypatch.setattr(real_lesions, "CONTRASTS", ("FLAIR",))  # four slices instead of twelve
    known = {setting_of(FOLDS[0], 4.0): {CG_SENSE: 0.01, L1_WAVELET: 0.004}}
    (root / "out" / "regularisation.json").write_text(json.dumps(known))
    run(root)
    yield root
    monkeypatch.undo()


def run(root: Path) -> None:
    evaluate(
        root / "runs",
        root / "data",
        root / "out",
        n_slices=2,
        seed=0,
        accelerations=(4.0,),
        folds=(0,),
        measured=False,
        show=False,
    )


def test_it_leaves_rows_tables_figures_and_report(done):
    assert all((done / "out" / name).stat().st_size > 0 for name in FILES)
    assert {path.suffix for path in (done / "out" / "figures").iterdir()} == {".webp"}


def test_every_method_saw_the_same_slices(done):
    rows = list(read_rows(done / "out" / "slices.csv"))
    slices = {
        method: {(row.dataset, row.sample) for row in rows if row.method == method}
        for method in {row.method for row in rows}
    }
    everyone = slices["U-Net"]
    assert all(slices[method] == everyone for method in CLASSICAL)
    assert slices["LF-MRI, lesion term off (retrained)"] == everyone
    assert slices["LF-MRI"] > everyone  # the unseen kind is for networks with a map alone
    assert {dataset for dataset, _ in slices[TRUTH]} == {"held-out"}
    assert {row.subject for row in rows} <= set(FOLDS[0].held_out)


def test_the_diagnosis_judges_every_method(done):
    rows = [row for row in read_rows(done / "out" / "slices.csv") if row.dataset == "held-out"]
    assert all(row.diagnosis_score is not None for row in rows)


def test_once_more_changes_no_row(done):
    before = (done / "out" / "slices.csv").read_bytes()
    run(done)
    assert (done / "out" / "slices.csv").read_bytes() == before


def test_networks_of_unequal_training_are_not_compared(done, tmp_path):
    for name, steps in (("u-net-f0", 700), ("lf-off-f0", 600)):
        write_untrained(tmp_path, name)
        path = tmp_path / name / "recipe.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | {"steps": steps}))
    with pytest.raises(LabError, match="differ in steps") as refused:
        evaluate(tmp_path, done / "data", tmp_path / "out", n_slices=1, seed=0, show=False)
    assert refused.value.code == "LF-LAB-024"


def test_learnt_lines_are_measured_at_their_own_acceleration_alone(tmp_path):
    write_untrained(tmp_path, "lf-mri-learned-f0")
    lines = np.zeros(160, dtype=bool)
    lines[::4] = True
    write_mask(lines, tmp_path / "lf-mri-learned-f0" / "mask.txt")
    runs = read_runs(tmp_path, tuple(all_recipes().values()))
    found = {acceleration: runs.methods(0, acceleration) for acceleration in (4.0, 8.0, None)}
    assert [len(methods) for methods in found.values()] == [1, 0, 0]


def test_nothing_to_evaluate_is_an_error(done, tmp_path):
    with pytest.raises(LabError) as refused:
        evaluate(tmp_path, done / "data", tmp_path / "out", n_slices=1, seed=0, show=False)
    assert refused.value.code == "LF-LAB-021"


def test_the_command_names_what_was_asked_for():
    text = command_line(5, 1, (4.0, 8.0), (0,), measured=False)
    assert text.endswith("--slices 5 --seed 1 --acceleration 4 --acceleration 8 --fold 0 --no-measured")
