"""Mixed training: sources take turns in the stated share, and a resumed training draws the same."""

import json
from itertools import islice
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from lfmri_node.recon import lab
from lfmri_node.recon.phantom.body import phantom_volume
from lfmri_node.recon.phantom.coils import loop_coils
from lfmri_node.recon.train.examples import Measured, Simulated
from lfmri_node.recon.train.loader import DrawnBatches, Draws, MixedPool
from lfmri_node.recon.train.recipes import Recipe
from lfmri_node.recon.train.runs import load_run, training_pool
from lfmri_node.recon.train.stand_in import write_stand_in

MIXED = "fastmri+fastmri+simulated"


def recipe(source: str) -> Recipe:
    return Recipe(name="one", title="one", network="u-net", source=source, n_samples=3, n_rows=16)


def test_the_pools_take_turns_and_a_short_one_begins_again() -> None:
    pool = MixedPool(["abc", "z"])
    assert [pool[i] for i in range(len(pool))] == ["a", "z", "b", "z", "c", "z"]


@settings(max_examples=30, deadline=None)
@given(
    n_pools=st.integers(1, 5),
    n_samples=st.integers(1, 300),
    n_ranks=st.integers(1, 3),
    start=st.integers(0, 29),
    seed=st.integers(0, 9),
)
def test_shares_are_exact_and_a_later_start_draws_the_same(n_pools, n_samples, n_ranks, start, seed) -> None:
    n, steps = n_pools * n_samples, range(30)

    def drawn(rank: int, steps: range) -> list:
        return list(Draws(n, 1, seed, steps, 7, rank=rank, n_ranks=n_ranks, n_pools=n_pools))

    every = [drawn(rank, steps) for rank in range(n_ranks)]
    turns = [every[rank][step][0].index % n_pools for step in steps for rank in range(n_ranks)]
    assert turns == list(islice((i % n_pools for i in range(10**6)), len(turns)))
    assert all(0 <= batch[0].index < n for batches in every for batch in batches)
    assert drawn(0, range(start, 30)) == every[0][start:]


@pytest.fixture(scope="module")
def folder(write_fastmri, tmp_path_factory) -> Path:
    """Stand-in images and, below the same folder, one fastMRI training volume of two slices of a phantom."""
    tmp_path = tmp_path_factory.mktemp("mixed")
    write_stand_in(tmp_path)
    path = tmp_path / "knee" / "multicoil_train" / "file1.h5"
    write_fastmri(path, shape=(2, 4, 128, 96), recon=64)
    rng = np.random.default_rng(0)
    body = np.zeros((2, 128, 96), dtype=np.float32)
    body[:, 32:96, 8:88] = phantom_volume(2, (64, 80), rng)
    axes = (-2, -1)
    coils = 3e-5 * body[:, None] * loop_coils(4, (128, 96), rng)
    with h5py.File(path, "r+") as file:
        file["kspace"][:] = np.fft.fftshift(np.fft.fft2(np.fft.ifftshift(coils, axes), norm="ortho"), axes)
        file.attrs["max"] = float(3e-5 * body.max())
    return tmp_path


def test_a_mixture_holds_measured_and_simulated_samples_in_its_share(folder) -> None:
    pool = training_pool(recipe(MIXED), folder, folder / "runs")
    kinds = [type(pool[i]) for i in range(9)]
    assert kinds == [Measured, Measured, Simulated] * 3
    assert type(training_pool(recipe("fastmri"), folder, folder / "runs")[0]) is Measured


def test_a_resumed_mixture_sees_the_same_batches(folder) -> None:
    one = recipe(MIXED)

    def batches(steps: range) -> list[torch.Tensor]:
        pool = training_pool(one, folder, folder / "runs")  # as a new process would make it
        drawn = DrawnBatches(pool, one.n_rows)
        draws = Draws(len(pool), 1, one.seed, steps, one.epoch_steps, n_pools=len(one.sources))
        return [drawn[draw].target for draw in draws]

    whole, resumed = batches(range(6)), batches(range(4, 6))
    assert all(torch.equal(a, b) for a, b in zip(whole[4:], resumed, strict=True))
    assert not torch.equal(whole[0], whole[3])


def test_the_command_line_mixes_sources_and_the_run_says_so(folder) -> None:
    arguments = ["train", "u-net", "--data", str(folder), "--runs", str(folder / "runs"), "--threads", "1"]
    mixture = ["--source", "fastmri", "--source", "simulated", "--max-steps", "4", "--limit", "3"]
    result = CliRunner().invoke(lab.app, [*arguments, *mixture])
    assert result.exit_code == 0, result.output
    written = json.loads((folder / "runs" / "u-net" / "recipe.json").read_text())
    assert (written["source"], written["n_samples"]) == ("fastmri+simulated", 3)
    assert load_run(folder / "runs" / "u-net").recipe.sources == ("fastmri", "simulated")
