"""Learning curve of a run, where its time went, and checkpoints that a kill cannot tear."""

from __future__ import annotations

import csv
import os
import time
from pathlib import Path
from typing import Any, cast

import lightning as L
import torch
from lightning.pytorch.plugins.io import TorchCheckpointIO
from matplotlib.figure import Figure
from safetensors.torch import save_file
from torch import Tensor, nn

STEPS = "steps"
_FIELDS = ("step", "loss", "image", "lesion", "classification", "perceptual", "rate", "wait_s", "step_s")


class AtomicCheckpoints(TorchCheckpointIO):
    """Writes beside the old checkpoint and renames over it: a kill leaves one or the other, whole."""

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None
    ) -> None:
        target = Path(path)
        partial = target.with_suffix(".part")
        with partial.open("wb") as file:
            torch.save(checkpoint, file)
            file.flush()
            os.fsync(file.fileno())
        partial.rename(target)


class StepWeights(L.Callback):
    """Keeps the weights at about twenty points of a training: the curve of its quality (`evaluate.curve`)."""

    def __init__(self, folder: Path, every: int) -> None:
        self._folder, self._every = folder / STEPS, every

    def on_train_batch_end(
        self, trainer: L.Trainer, task: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        step = trainer.global_step
        if step % self._every or not trainer.is_global_zero:
            return
        self._folder.mkdir(exist_ok=True)
        path = self._folder / f"step-{step:06d}.safetensors"
        network = cast(nn.Module, task.network)
        save_file({name: value.contiguous() for name, value in network.state_dict().items()}, path)


class LearningCurve(L.Callback):
    """One row every ``every`` steps in ``metrics.csv``: mean losses, learning rate, where the time went."""

    def __init__(self, folder: Path, every: int) -> None:
        self._path, self._picture = folder / "metrics.csv", folder / "curves.png"
        self._every = every
        self._sums: dict[str, float] = {}
        self._n = 0
        self._mark = self._wait_s = self._step_s = 0.0

    def start(self, step: int) -> None:
        """Drop the rows beyond the step that the training goes on from."""
        self._write([row for row in self.rows() if row["step"] <= step])

    def on_train_epoch_start(self, trainer: L.Trainer, task: L.LightningModule) -> None:
        self._mark = time.perf_counter()

    def on_train_batch_start(
        self, trainer: L.Trainer, task: L.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        now = time.perf_counter()
        self._wait_s += now - self._mark
        self._mark = now

    def on_train_batch_end(
        self, trainer: L.Trainer, task: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        now = time.perf_counter()
        self._step_s += now - self._mark
        self._mark = now
        self._n += 1
        for name, value in outputs.items():
            self._sums[name] = self._sums.get(name, 0.0) + float(Tensor.detach(value))
        if trainer.is_global_zero and trainer.global_step in (
            trainer.max_steps,
            *range(0, trainer.max_steps, self._every),
        ):
            self._add_row(trainer)

    def _add_row(self, trainer: L.Trainer) -> None:
        row = {name: total / self._n for name, total in self._sums.items()}
        row |= {"step": trainer.global_step, "rate": trainer.optimizers[0].param_groups[0]["lr"]}
        row |= {"wait_s": self._wait_s, "step_s": self._step_s}
        self._write([*self.rows(), row])
        self._sums, self._n = {}, 0
        self._wait_s = self._step_s = 0.0

    def rows(self) -> list[dict[str, float]]:
        """Rows of all epochs so far."""
        if not self._path.exists():
            return []
        with self._path.open(newline="") as file:
            return [{k: float(v) for k, v in row.items() if v} for row in csv.DictReader(file)]

    def _write(self, rows: list[dict[str, float]]) -> None:
        partial = self._path.with_suffix(".part")
        with partial.open("w", newline="") as file:
            writer = csv.DictWriter(file, _FIELDS)
            writer.writeheader()
            writer.writerows(row | {"step": int(row["step"])} for row in rows)
        partial.rename(self._path)

    @property
    def seconds(self) -> float:
        """Time of training, resumed parts included."""
        return sum(row["wait_s"] + row["step_s"] for row in self.rows())

    def split(self) -> dict[str, float]:
        """Seconds waited for data and seconds of steps, over the whole run."""
        rows = self.rows()
        return {name: sum(row[name] for row in rows) for name in ("wait_s", "step_s")}

    def draw(self) -> None:
        """The curve as a picture."""
        rows = self.rows()
        figure = Figure(figsize=(6, 3.2), layout="constrained")
        axes = figure.subplots()
        for name in ("loss", "image", "lesion", "classification", "perceptual"):
            values = [row.get(name, 0.0) for row in rows]
            if any(values):
                axes.plot([row["step"] for row in rows], values, label=name)
        axes.set(xlabel="step", ylabel="loss, mean of the epoch", yscale="log")
        axes.legend()
        figure.savefig(self._picture, dpi=110)
