"""The whole evaluation on phantoms with untrained networks, and again on what it left."""

import csv
import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from lfmri_node.recon.errors import LabError
from lfmri_node.recon.evaluate import methods, real_lesions
from lfmri_node.recon.evaluate.curve import make_curve, read_points
from lfmri_node.recon.evaluate.extent import Cases, Extent
from lfmri_node.recon.evaluate.learned import (
    LOWERED,
    ORACLE,
    RANDOM,
    measurement_of,
    read_runs,
    with_shipped,
    without_seed,
)
from lfmri_node.recon.evaluate.methods import CG_SENSE, L1_WAVELET, WAVELETS, ZERO_FILLED
from lfmri_node.recon.evaluate.rows import read_rows
from lfmri_node.recon.evaluate.runner import evaluate
from lfmri_node.recon.evaluate.scan_mu import FACTORS, scan_mu
from lfmri_node.recon.evaluate.scoring import TRUTH
from lfmri_node.recon.evaluate.simulated import setting_of, simulated_source
from lfmri_node.recon.method.cascade import LesionTerm
from lfmri_node.recon.method.modelcard import SHIPPED
from lfmri_node.recon.method.weights import load_model
from lfmri_node.recon.sense.classical import zero_filled
from lfmri_node.recon.train.curves import STEPS
from lfmri_node.recon.train.learned_sampling import write_mask
from lfmri_node.recon.train.networks import build_network
from lfmri_node.recon.train.recipes import all_recipes, find, write_recipe
from lfmri_node.recon.train.runs import load_run
from lfmri_node.recon.train.split import Part, part_of
from lfmri_node.recon.train.stand_in import write_stand_in
from lfmri_node.recon.types import LesionWeighting

NAMES = ("net-c", "judge", "u-net", "lf-mri", "lf-mri-s1", "lf-off")
EXTENT = Extent(n_slices=2, n_strokes=2, n_masks=1, accelerations=(4.0,))
BESIDE_SHIPPED = dataclasses.replace(EXTENT, only=(Cases.HELD_OUT,), shipped=True)
FILES = ("slices.csv", "regularisation.json", "tables.csv", "tables.md", "lab-report.html")


def write_untrained(runs: Path, name: str) -> None:
    recipe = dataclasses.replace(find(without_seed(name)), name=name)
    if recipe.network != "classifier":
        recipe = dataclasses.replace(recipe, channels=(8, 8), focus_channels=(8, 8), n_stages=1)
    folder = runs / name
    folder.mkdir(parents=True)
    write_recipe(recipe, folder / "recipe.json")
    torch.manual_seed(len(name))
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
    monkeypatch.setattr(methods.bart, "is_installed", lambda: False)  # also where it is
    monkeypatch.setattr(real_lesions, "BOXED_CONTRASTS", ())
    monkeypatch.setattr(real_lesions, "N_OF_VOLUME", 1)
    known = {setting_of(4.0): {CG_SENSE: 0.01, L1_WAVELET: 0.004, WAVELETS: 0.002}}
    (root / "out" / "regularisation.json").write_text(json.dumps(known))
    run(root)
    yield root
    monkeypatch.undo()


def run(root: Path) -> None:
    evaluate(root / "runs", root / "data", root / "out", EXTENT, show=False)


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
    assert all(slices[method] == everyone for method in (ZERO_FILLED, CG_SENSE, L1_WAVELET, WAVELETS))
    assert slices["LF-MRI, lesion term off (retrained)"] == everyone
    assert slices["LF-MRI"] > everyone  # the unseen kind is for networks with a map alone
    assert {dataset for dataset, _ in slices[TRUTH]} == {"held-out"}
    for method in (ORACLE, RANDOM, LOWERED):
        assert {dataset for dataset, _ in slices[method]} == {"held-out", "real-lesions"}
    assert {run for row in rows if row.method == "LF-MRI" for run in [row.run]} == {"lf-mri", "lf-mri-s1"}


def test_every_subject_is_one_of_the_test_part(done):
    subjects = {row.subject for row in read_rows(done / "out" / "slices.csv")}
    assert {part_of(subject) for subject in subjects} == {Part.TEST}
    assert any(subject.startswith("soop-") for subject in subjects)


def test_outlined_lesions_have_contrast_size_and_a_chance(done):
    rows = [row for row in read_rows(done / "out" / "slices.csv") if row.lesion_px is not None]
    assert {row.lesion_kind for row in rows} >= {"real"}
    assert all(row.contrast_kept is not None and row.lf_psnr_outline is not None for row in rows)
    maps = [row for row in rows if row.method == "LF-MRI" and row.boxes]
    assert all(0 < row.pointing_chance < 1 for row in maps)
    tables = (done / "out" / "tables.md").read_text()
    assert "2, seeds ±" in tables
    assert "not run" in tables  # BART


def test_the_diagnosis_judges_every_method(done):
    rows = [row for row in read_rows(done / "out" / "slices.csv") if row.dataset == "held-out"]
    assert all(row.diagnosis_score is not None for row in rows)


def test_once_more_changes_no_row(done):
    before = (done / "out" / "slices.csv").read_bytes()
    run(done)
    assert (done / "out" / "slices.csv").read_bytes() == before


def test_networks_of_unequal_training_are_not_compared(done, tmp_path):
    for name, steps in (("u-net", 700), ("lf-off", 600)):
        write_untrained(tmp_path, name)
        path = tmp_path / name / "recipe.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | {"steps": steps}))
    with pytest.raises(LabError, match="differ in steps") as refused:
        evaluate(tmp_path, done / "data", tmp_path / "out", EXTENT, show=False)
    assert refused.value.code == "LF-LAB-024"


def rival_of_shipped(runs: Path, **changes: object) -> None:
    """An untrained U-Net that says it was trained as the shipped D_w was."""
    write_untrained(runs, "u-net")
    path = runs / "u-net" / "recipe.json"
    equal = {name: find("shipped-denoiser").to_json()[name] for name in ("steps", "n_samples")}
    path.write_text(json.dumps(json.loads(path.read_text()) | equal | changes))


def test_the_shipped_weights_stand_beside_rivals_of_equal_training(done, tmp_path):
    rival_of_shipped(tmp_path / "runs")
    (tmp_path / "out").mkdir()
    known = (done / "out" / "regularisation.json").read_bytes()
    (tmp_path / "out" / "regularisation.json").write_bytes(known)
    evaluate(tmp_path / "runs", done / "data", tmp_path / "out", BESIDE_SHIPPED, show=False)
    rows = list(read_rows(tmp_path / "out" / "slices.csv"))
    mine = [row for row in rows if row.run == SHIPPED]
    assert {row.dataset for row in rows} == {"held-out"}
    assert len(mine) == BESIDE_SHIPPED.n_slices
    assert "mu x 0.5, chosen on training subjects" in mine[0].method
    with (tmp_path / "out" / "tables.csv").open(newline="") as file:
        gaps = [
            r for r in csv.DictReader(file) if r["table"] == "table-1" and "minus this, PSNR" in r["column"]
        ]
    found = {row["row"]: row["value"] for row in gaps}
    theirs = {row.sample: row.psnr for row in rows if row.method == "U-Net"}
    assert float(found["4x, U-Net"]) == pytest.approx(np.mean([r.psnr - theirs[r.sample] for r in mine]))


def test_the_shipped_weights_are_not_compared_with_rivals_trained_longer(done, tmp_path):
    rival_of_shipped(tmp_path, steps=25000)
    with pytest.raises(LabError, match="differ in steps") as refused:
        evaluate(tmp_path, done / "data", tmp_path / "out", BESIDE_SHIPPED, show=False)
    assert refused.value.code == "LF-LAB-024"


def test_the_shipped_weights_are_the_image_and_the_reference_of_the_node(done, tmp_path):
    """To the bit, and the card says that G_u alone learned after D_w."""
    off, focused = with_shipped(read_runs(tmp_path, ())).methods()
    model = load_model()
    assert model.card.record["recipe"]["only_focus"]
    source = simulated_source(done / "data", 1, 0, 4.0)
    case = source.load(source.samples[0])
    measurement = measurement_of(case)
    for method, weighting in ((off, LesionWeighting.OFF), (focused, LesionWeighting.FOCUSED)):
        term = LesionTerm(weighting)
        with torch.inference_mode():
            outputs = model.network(measurement.adjoint, measurement.operator, measurement.scale, term)
        expected = outputs[-1].image[0].numpy() * case.maps.support
        assert np.array_equal(method.reconstruct(case).image, expected)


def test_the_shipped_weights_are_tried_with_another_c_where_lf_mri_was_not_trained(tmp_path):
    names = [method.name for method in with_shipped(read_runs(tmp_path, ())).methods(outlined=True)]
    assert names[-3:] == [ORACLE, RANDOM, LOWERED]
    write_untrained(tmp_path, "lf-mri")
    both = with_shipped(read_runs(tmp_path, tuple(all_recipes().values()))).methods(outlined=True)
    assert [method.weights for method in both if method.name == ORACLE] == [both[0].weights]


def test_learnt_lines_are_measured_at_their_own_acceleration_alone(tmp_path):
    write_untrained(tmp_path, "lf-mri-learned")
    lines = np.zeros(160, dtype=bool)
    lines[::4] = True
    write_mask(lines, tmp_path / "lf-mri-learned" / "mask.txt")
    runs = read_runs(tmp_path, tuple(all_recipes().values()))
    found = {acceleration: runs.methods(acceleration) for acceleration in (4.0, 8.0, None)}
    assert [len(methods) for methods in found.values()] == [1, 0, 0]


def test_nothing_to_evaluate_is_an_error(done, tmp_path):
    with pytest.raises(LabError) as refused:
        evaluate(tmp_path, done / "data", tmp_path / "out", EXTENT, show=False)
    assert refused.value.code == "LF-LAB-021"


def test_the_command_names_what_was_asked_for():
    text = dataclasses.replace(EXTENT, seed=1, accelerations=(4.0, 8.0)).command
    assert text.endswith("--slices 2 --strokes 2 --masks 1 --seed 1 --acceleration 4 --acceleration 8")
    assert BESIDE_SHIPPED.command.endswith("--only held-out --shipped")


def test_a_curve_has_every_kept_weight_and_the_rivals_and_grows(done, tmp_path):
    """Simulated scans alone: the stand-in data hold no measured brain."""
    write_untrained(tmp_path, "lf-off")
    run, out = tmp_path / "lf-off", tmp_path / "out"
    (run / STEPS).mkdir()
    weights = (run / "weights.safetensors").read_bytes()
    (run / STEPS / "step-000500.safetensors").write_bytes(weights)
    out.mkdir()
    known = {setting_of(a): {CG_SENSE: 0.01, L1_WAVELET: 0.004, WAVELETS: 0.002} for a in (4.0, 8.0)}
    (out / "curve-regularisation.json").write_text(json.dumps(known))
    picture = make_curve(run, done / "data", out, 1, 0)
    points = read_points(out / "curve-lf-off.csv")
    assert picture.stat().st_size > 0
    assert len({point.source for point in points}) == 4  # 4x and 8x, without and with line errors
    for source in {point.source for point in points}:
        mine = [point for point in points if point.source == source]
        rivals = [point.method for point in mine if point.step is None]
        assert sorted(rivals) == sorted((ZERO_FILLED, CG_SENSE, WAVELETS))
        assert [point.step for point in mine if point.method == "lf-off"] == [500]
    (run / STEPS / "step-001000.safetensors").write_bytes(weights)
    make_curve(run, done / "data", out, 1, 0)
    grown = read_points(out / "curve-lf-off.csv")
    assert grown[: len(points)] == points
    assert {point.step for point in grown[len(points) :]} == {1000}
    assert [p.psnr for p in grown if p.step == 1000] == [p.psnr for p in grown if p.step == 500]


def test_a_classifier_has_no_curve(done, tmp_path):
    with pytest.raises(LabError) as refused:
        make_curve(done / "runs" / "net-c", done / "data", tmp_path, 1, 0)
    assert refused.value.code == "LF-LAB-026"


def test_a_scan_over_mu_says_which_factor_is_best(done):
    found = scan_mu(load_run(done / "runs" / "lf-off"), done / "data", 1, 0)
    assert set(found["psnr_db"]) == {"4x", "8x"}
    means = {name: np.mean([of[name] for of in found["psnr_db"].values()]) for name in found["psnr_db"]["4x"]}
    assert sorted(float(name) for name in means) == sorted(FACTORS)
    assert means[f"{found['best']:g}"] == max(means.values())
    assert found["gain_db"] == pytest.approx(max(means.values()) - means["1"])
    assert found["helps"] == (found["gain_db"] > 0.05)
