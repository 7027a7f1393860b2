"""A run: one recipe trained into one folder, and read back from it.

The folder holds ``recipe.json``, ``last.ckpt`` (rewritten at every epoch), ``metrics.csv`` and ``curves.png``
(learning curve and where the time went) and, once finished, ``weights.safetensors`` and ``run.json``.
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from safetensors.torch import load_file, save_file
from torch import nn
from torch.utils.data import DataLoader, Dataset, Sampler

from lfmri_node.recon.errors import LabError
from lfmri_node.recon.train.curves import AtomicCheckpoints, LearningCurve, StepWeights
from lfmri_node.recon.train.data import SIZE
from lfmri_node.recon.train.images import DrawnPairs, ImageDraws
from lfmri_node.recon.train.learned_sampling import LearnedMask
from lfmri_node.recon.train.lesion_images import pair_source
from lfmri_node.recon.train.loader import DrawnBatches, Draws, MixedPool, Pool, SizedPool
from lfmri_node.recon.train.masks import centre_lines
from lfmri_node.recon.train.measured_pools import FastMriPool, SkmTeaPool
from lfmri_node.recon.train.networks import LfMri, build_network, count_parameters, scale_mu, start_stages
from lfmri_node.recon.train.perceptual import vgg16
from lfmri_node.recon.train.recipes import Recipe, write_recipe
from lfmri_node.recon.train.samples import SIZES
from lfmri_node.recon.train.tasks import ClassifierTask, ReconstructionTask, Task, freeze
from lfmri_node.recon.types import LesionWeighting

GRADIENT_LIMIT = 1.0
LEARNED_ACCELERATION = 4.0
N_KEPT = 20
WEIGHTS, RECIPE, RUN = "weights.safetensors", "recipe.json", "run.json"
_CHECKPOINT = "last.ckpt"


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A finished run; the network is in eval mode. ``n_trained`` of its parameters learnt."""

    name: str
    recipe: Recipe
    network: nn.Module
    seconds: float
    wait_s: float
    n_parameters: int
    n_trained: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """What a training may use."""

    devices: int = 1
    workers: int = 0
    threads: int = 2
    progress: bool = True


def train(recipe: Recipe, data: Path, runs: Path, machine: Machine) -> Path:
    """Train ``recipe``, from its last checkpoint where there is one; returns its folder.

    Parameters
    ----------
    data
        Folder of the magnitude images and coil maps.
    runs
        Folder of all runs; the recipe's own is ``runs / recipe.name``, samples are kept in ``runs / pools``.

    Raises
    ------
    LabError
        LF-LAB-002 where the folder holds a run of another recipe of this name; LF-LAB-005 where a run that
        the recipe builds on is not finished.
    """
    folder = runs / recipe.name
    if (folder / WEIGHTS).exists() and _same_recipe(folder, recipe):
        return folder
    folder.mkdir(parents=True, exist_ok=True)
    begun = any((folder / name).exists() for name in (_CHECKPOINT, WEIGHTS))
    if begun and not _same_recipe(folder, recipe):
        raise LabError(
            "LF-LAB-002",
            f"{folder.name} was begun with other settings",
            "remove the folder, or rename the recipe",
        )
    write_recipe(recipe, folder / RECIPE)
    torch.set_num_threads(machine.threads)
    L.seed_everything(recipe.seed, verbose=False)
    task = _task(recipe, runs)
    curve = LearningCurve(folder, recipe.epoch_steps)
    trainer = _trainer(recipe, folder, machine, curve)
    checkpoint = folder / _CHECKPOINT
    resumed = checkpoint if checkpoint.exists() else None
    start = torch.load(resumed, weights_only=True)["global_step"] if resumed else 0
    curve.start(start)
    trainer.fit(
        task, _loader(recipe, data, runs, machine, trainer, start), ckpt_path=resumed, weights_only=True
    )
    if trainer.is_global_zero:
        _finish(folder, task, curve)
    trainer.strategy.barrier("the run is written")  # the next recipe may build on it in every process
    return folder


def _same_recipe(folder: Path, recipe: Recipe) -> bool:
    return Recipe.from_json(json.loads((folder / RECIPE).read_text())) == recipe


def _trainer(recipe: Recipe, folder: Path, machine: Machine, curve: LearningCurve) -> L.Trainer:
    return L.Trainer(
        default_root_dir=folder,
        accelerator="auto",
        devices=machine.devices,
        strategy="ddp_find_unused_parameters_true" if machine.devices > 1 else "auto",
        precision=recipe.precision,  # type: ignore[arg-type]
        max_epochs=1,
        max_steps=recipe.steps,
        gradient_clip_val=GRADIENT_LIMIT,
        use_distributed_sampler=False,
        callbacks=[
            curve,
            StepWeights(folder, max(recipe.epoch_steps, recipe.steps // N_KEPT)),
            ModelCheckpoint(
                dirpath=folder,
                filename=Path(_CHECKPOINT).stem,
                every_n_train_steps=recipe.epoch_steps,
                enable_version_counter=False,
            ),
        ],
        plugins=[AtomicCheckpoints()],
        logger=False,
        enable_progress_bar=machine.progress,
        enable_model_summary=False,
        num_sanity_val_steps=0,
    )


def _task(recipe: Recipe, runs: Path) -> Task:
    network = build_network(recipe)
    if recipe.network == "classifier":
        if recipe.start_from is not None:
            network.load_state_dict(load_file(_weights_of(runs, recipe.start_from)))
        return ClassifierTask(recipe, network)
    features: nn.Module | None = None
    if isinstance(network, LfMri):
        if recipe.start_from is not None:
            start_stages(network, load_file(_weights_of(runs, recipe.start_from)))
            scale_mu(network, recipe.mu_factor)
        if recipe.lesion is not LesionWeighting.OFF and recipe.classifier_from is not None:
            pre_trained = load_file(_weights_of(runs, recipe.classifier_from))
            network.cascade.classifier.load_state_dict(pre_trained)
            if recipe.losses.perceptual > 0 and recipe.vgg is None:
                features = load_run(runs / recipe.classifier_from).network
    if recipe.losses.perceptual > 0 and recipe.vgg is not None:
        features = vgg16(Path(recipe.vgg))
    mask = LearnedMask(SIZE, centre_lines(LEARNED_ACCELERATION)[0], LEARNED_ACCELERATION)
    return ReconstructionTask(
        recipe, network, features=features, mask=mask if recipe.sampling == "learned" else None
    )


def _weights_of(runs: Path, source: str) -> Path:
    """A safetensors file as it is named, else the weights of a finished run of that name."""
    path = Path(source) if source.endswith(".safetensors") else runs / source / WEIGHTS
    if not path.is_file():
        raise LabError(
            "LF-LAB-005", f"{source} is not there to build on", f"`lfmri-lab train {source}` first"
        )
    return path


def _loader(
    recipe: Recipe, data: Path, runs: Path, machine: Machine, trainer: L.Trainer, start: int
) -> DataLoader[Any]:
    steps = range(start, recipe.steps)
    ranks = {"rank": trainer.global_rank, "n_ranks": trainer.world_size}
    draws: Sampler[Any]
    dataset: Dataset[Any]
    if recipe.network == "classifier":
        draws = ImageDraws(
            recipe.batch,
            recipe.seed,
            recipe.curriculum * recipe.steps,
            recipe.ease,
            steps,
            recipe.epoch_steps,
            **ranks,
        )
        dataset = DrawnPairs(pair_source(data, recipe.kinds, recipe.seed), recipe.degraded)
    else:
        pool = training_pool(recipe, data, runs)
        draws = Draws(
            len(pool),
            recipe.batch,
            recipe.seed,
            steps,
            recipe.epoch_steps,
            n_pools=len(recipe.sources),
            **ranks,
        )
        dataset = DrawnBatches(pool, recipe.n_rows)
    return DataLoader(
        dataset,
        sampler=draws,
        batch_size=None,
        num_workers=machine.workers,
        persistent_workers=machine.workers > 0,
    )


def training_pool(recipe: Recipe, data: Path, runs: Path) -> SizedPool:
    """The samples that a recipe is trained on, its sources by turns; simulated ones lie below ``runs``."""
    pools = {source: _pool(source, recipe, data, runs) for source in dict.fromkeys(recipe.sources)}
    if len(recipe.sources) == 1:
        return pools[recipe.source]
    return MixedPool([pools[source] for source in recipe.sources])


def _pool(source: str, recipe: Recipe, data: Path, runs: Path) -> SizedPool:
    if source == "fastmri":
        return FastMriPool(data, recipe.n_samples, recipe.seed)
    if source == "skm-tea":
        return SkmTeaPool(data, recipe.n_samples, recipe.seed)
    sizes = (SIZE,) if recipe.sampling == "learned" else SIZES
    folder = runs / "pools" / ("learned" if recipe.sampling == "learned" else "simulated")
    return Pool(data, folder, recipe.n_samples, noisy=recipe.noisy, sizes=sizes)


def _finish(folder: Path, task: Task, curve: LearningCurve) -> None:
    network = task.network
    if isinstance(task, ReconstructionTask) and task.mask is not None:
        task.mask.export(folder / "mask.txt")
    curve.draw()
    facts = {"seconds": curve.seconds} | curve.split()
    (folder / RUN).write_text(json.dumps(facts, indent=1) + "\n")
    partial = folder / f"{WEIGHTS}.part"
    save_file({name: value.contiguous() for name, value in network.state_dict().items()}, partial)
    partial.rename(folder / WEIGHTS)


def load_run(folder: Path) -> Run:
    """Read a finished run. Raises LabError (LF-LAB-006) where it is not finished."""
    if not (folder / WEIGHTS).is_file():
        raise LabError("LF-LAB-006", f"the run {folder.name} is not finished", "train it to its end")
    recipe = Recipe.from_json(json.loads((folder / RECIPE).read_text()))
    network = build_network(recipe)
    network.load_state_dict(load_file(folder / WEIGHTS))
    freeze(network, recipe)
    n_trained = sum(p.numel() for p in network.parameters() if p.requires_grad)
    network.eval().requires_grad_(False)
    facts = json.loads((folder / RUN).read_text())
    return Run(
        name=folder.name,
        recipe=recipe,
        network=network,
        seconds=float(facts["seconds"]),
        wait_s=float(facts["wait_s"]),
        n_parameters=count_parameters(network),
        n_trained=n_trained,
    )


def finished(runs: Path) -> list[Run]:
    """All finished runs below a folder, by name."""
    return [load_run(path.parent) for path in sorted(runs.glob(f"*/{WEIGHTS}"))]


def limited(recipe: Recipe, *, max_steps: int | None, limit: int | None) -> Recipe:
    """The same recipe with ``max_steps`` steps and a pool of ``limit`` samples, None for its own."""
    return dataclasses.replace(
        recipe,
        steps=max_steps or recipe.steps,
        n_samples=limit or recipe.n_samples,
    )
