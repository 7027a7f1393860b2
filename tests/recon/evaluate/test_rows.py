"""The record of an evaluation: written once, read back as written, whole after a kill at any byte."""

import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lfmri_node.recon.errors import LabError
from lfmri_node.recon.evaluate.cases import Case, undersample
from lfmri_node.recon.evaluate.lesion_metrics import Box
from lfmri_node.recon.evaluate.methods import (
    CLASSICAL,
    ZERO_FILLED,
    Answer,
    Regularised,
    regularised,
    search_lambda,
)
from lfmri_node.recon.evaluate.rows import NAMES, Row, RowFile, from_cell, read_rows, to_cell
from lfmri_node.recon.evaluate.sweep import Bench, CaseSource, Regularisation, run
from lfmri_node.recon.phantom.coils import loop_coils, measure
from lfmri_node.recon.sense.classical import cg_sense
from lfmri_node.recon.sense.coilmaps import estimate
from lfmri_node.recon.sense.sampling import random_lines

N = 40


def make_case(sample: str, *, acceleration: float = 3.0) -> Case:
    """A small disc with a bright spot, four loops, random lines; by its name alone."""
    rng = np.random.default_rng(int(sample))
    grid = np.hypot(*np.meshgrid(np.arange(N) - N / 2, np.arange(N) - N / 2))
    image = (grid < 15).astype(np.complex64)
    image[18:24, 18:24] += 1.0
    maps = loop_coils(4, (N, N), rng)
    full = measure(image, maps, np.ones(N, dtype=bool), 0.01, rng).data
    kspace = undersample(full, random_lines(N, acceleration, 0.25, rng))
    return Case(
        dataset="held-out",
        subject=f"s{int(sample) % 2}",
        volume=sample,
        group="disc",
        field_strength_t=None,
        acceleration=acceleration,
        sample=sample,
        kspace=kspace,
        maps=estimate(kspace),
        truth=image,
        peak=2.0,
        label=True,
        lesion_kind="bright",
        boxes=(Box(17, 17, 25, 25),),
    )


@dataclasses.dataclass
class Guess:
    """A method that answers the truth with a small error, counts its calls and may be killed."""

    name: str = "Guess"
    run: str = "guess"
    weights: str = "abc"
    takes_point_masks: bool = True
    calls: int = 0
    killed_at: int | None = None

    def reconstruct(self, case: Case) -> Answer:
        self.calls += 1
        if self.calls == self.killed_at:
            raise KeyboardInterrupt
        activation = np.zeros((N, N), dtype=np.float32)
        activation[20, 20] = 0.7
        return Answer(image=case.truth + np.complex64(0.02), score=0.8, activation=activation)


def bench_of(method: Guess, n: int = 3) -> Bench:
    source = CaseSource(
        dataset="held-out",
        acceleration=3.0,
        samples=tuple(str(i) for i in range(n)),
        load=make_case,
        search=list,  # no cases: the node's own regularisation
        setting="discs",
    )
    return Bench(sources=(source,), learned=lambda _: [method], diagnosis=lambda _: None)


def untimed(path: Path) -> list[Row]:
    return [dataclasses.replace(row, seconds=None) for row in read_rows(path)]


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("whole")
    run(bench_of(Guess()), out, seed=0, show=False)
    return out


def test_one_row_a_method_and_slice(whole):
    rows = untimed(whole / "slices.csv")
    classical = [ZERO_FILLED, *(method.name for method in regularised())]
    assert [row.method for row in rows] == [*classical, "Guess"] * 3
    assert [name for name in CLASSICAL if name in classical] == classical  # BART's where it is installed
    guess = next(row for row in rows if row.method == "Guess")
    assert guess.psnr == pytest.approx(40.0, abs=0.05)  # 20 log10(2 / 0.02)
    assert guess.lf_psnr == pytest.approx(40.0, abs=0.05)
    assert (guess.pointed, guess.boxes, guess.score) == (True, 1, 0.8)
    assert guess.lesion_kind == "bright"


@pytest.mark.parametrize("killed_at", [1, 3])
def test_killed_and_resumed_gives_the_rows_of_an_uninterrupted_run(whole, tmp_path, killed_at):
    with pytest.raises(KeyboardInterrupt):
        run(bench_of(Guess(killed_at=killed_at)), tmp_path, seed=0, show=False)
    again = Guess()
    run(bench_of(again), tmp_path, seed=0, show=False)
    assert untimed(tmp_path / "slices.csv") == untimed(whole / "slices.csv")
    assert again.calls == 3 - (killed_at - 1)


def files_of(whole: Path) -> list[Path]:
    return [whole / name for name in ("slices.csv", "slices.json", "regularisation.json")]


@pytest.mark.parametrize("kept", [0.4, 0.77, 0.999])
def test_a_file_torn_at_any_byte_is_made_whole(whole, tmp_path, kept):
    for path in files_of(whole):
        shutil.copy(path, tmp_path)
    content = (whole / "slices.csv").read_bytes()
    (tmp_path / "slices.csv").write_bytes(content[: round(kept * len(content))])
    run(bench_of(Guess()), tmp_path, seed=0, show=False)
    expected, found = untimed(whole / "slices.csv"), untimed(tmp_path / "slices.csv")
    assert sorted(found, key=lambda row: row.key) == sorted(expected, key=lambda row: row.key)


def test_a_finished_evaluation_computes_nothing(whole):
    again = Guess()
    run(bench_of(again), whole, seed=0, show=False)
    assert again.calls == 0


def test_rows_of_other_slices_under_the_same_names_are_refused(whole, tmp_path):
    """A changed simulation: twice the signal."""
    for path in files_of(whole):
        shutil.copy(path, tmp_path)
    method = Guess(weights="def")
    source = bench_of(method).sources[0]

    def louder(sample: str) -> Case:
        case = source.load(sample)
        kspace = dataclasses.replace(case.kspace, data=2 * case.kspace.data)
        return dataclasses.replace(case, kspace=kspace)

    changed = dataclasses.replace(bench_of(method), sources=(dataclasses.replace(source, load=louder),))
    with pytest.raises(LabError) as refused:
        run(changed, tmp_path, seed=0, show=False)
    assert refused.value.code == "LF-LAB-023"
    (tmp_path / "slices.json").unlink()  # nobody knows on which slices
    with pytest.raises(LabError) as refused:
        run(bench_of(method), tmp_path, seed=0, show=False)
    assert refused.value.code == "LF-LAB-023"
    assert method.calls == 0


def test_retrained_weights_are_evaluated_again_beside_the_old_rows(whole, tmp_path):
    for path in files_of(whole):
        shutil.copy(path, tmp_path)
    again = Guess(weights="def")
    run(bench_of(again), tmp_path, seed=0, show=False)
    assert again.calls == 3
    assert len(untimed(tmp_path / "slices.csv")) == len(untimed(whole / "slices.csv")) + 3


def test_the_regularisation_is_that_of_the_highest_psnr():
    """Wherever the search begins, with a lambda far too small and one that leaves next to nothing."""
    case, grid = make_case("9"), (1e-6, 1e-2, 3e-2, 1e3)
    error = {
        lamda: np.abs(np.abs(cg_sense(case.kspace, case.maps, lamda)) - np.abs(case.truth)) for lamda in grid
    }
    best = min(grid, key=lambda lamda: float(np.mean((error[lamda] * case.maps.support) ** 2)))
    for start in grid:
        method = Regularised(name="cg", solve=cg_sense, grid=grid, default=start)
        assert search_lambda(method, [case]) == best


def test_without_cases_the_default_serves_and_is_kept(tmp_path):
    source = bench_of(Guess()).sources[0]
    n = len(Regularisation(tmp_path / "found.json").methods(source))
    kept = json.loads((tmp_path / "found.json").read_text())
    assert kept == {"discs": {method.name: method.default for method in regularised()}}
    unused = dataclasses.replace(source, search=pytest.fail)
    assert len(Regularisation(tmp_path / "found.json").methods(unused)) == n


def test_a_method_that_came_later_is_searched_alone(tmp_path):
    source = bench_of(Guess()).sources[0]
    names = [method.name for method in regularised()]
    (tmp_path / "found.json").write_text(json.dumps({"discs": dict.fromkeys(names[1:], 0.5)}))
    Regularisation(tmp_path / "found.json").methods(source)
    kept = json.loads((tmp_path / "found.json").read_text())["discs"]
    assert kept == dict.fromkeys(names[1:], 0.5) | {names[0]: regularised()[0].default}


def test_the_image_is_zero_where_no_coil_sees_anything(program):
    """Also of BART, whose figures are those of the program with our maps."""
    program("bart")
    case = make_case("3")
    for method in regularised():
        image = method.with_lambda(method.default).reconstruct(case).image
        assert not image[~case.maps.support].any()
        error = np.abs(np.abs(image) - np.abs(case.truth))[case.maps.support]
        assert np.sqrt(np.mean(error**2)) < 0.2, method.name


def test_rows_of_another_version_are_refused(tmp_path):
    (tmp_path / "slices.csv").write_text("a,b\n1,2\n")
    with pytest.raises(LabError) as refused:
        RowFile(tmp_path / "slices.csv")
    assert refused.value.code == "LF-LAB-020"


numbers = st.none() | st.floats(allow_nan=False)
values = {
    "method": st.text(st.characters(exclude_categories=["Cs", "Cc"])),
    "boxes": st.integers(0, 5),
    "label": st.none() | st.booleans(),
    "psnr": numbers,
    "iou": st.none() | st.lists(st.floats(0, 1), min_size=1).map(tuple),
}


@given(st.sampled_from(sorted(values)), st.data())
def test_every_value_reads_back_as_it_was(name, data):
    value = data.draw(values[name])
    assert name in NAMES
    assert from_cell(name, to_cell(value)) == value
