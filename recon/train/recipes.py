"""One recipe for each published experiment, and one for the weights of the node.

A recipe is all that decides a training but for the data: two runs of one recipe on one machine give the same
weights. The networks of a comparison have the same data, number of updates and, within a few per cent,
number of parameters.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lfmri_node.recon.errors import LabError
from lfmri_node.recon.phantom import LESION_KINDS
from lfmri_node.recon.train.data import FOLDS
from lfmri_node.recon.train.losses import LossWeights
from lfmri_node.recon.types import LesionWeighting

NETWORKS = ("lf-mri", "u-net", "ista-net+", "modl", "e2e-varnet")
FOCUSED_LOSSES = LossWeights(lesion=1.0)
_RIVALS = (
    ("u-net", "U-Net", "u-net", (27, 54, 108)),
    ("ista-net", "ISTA-Net+", "ista-net+", (55,)),
    ("modl", "MoDL", "modl", (27, 54, 108)),
    ("varnet", "E2E-VarNet", "e2e-varnet", (15, 30, 60)),
    ("lf-off", "LF-MRI, lesion term off (retrained)", "lf-mri", (16, 32, 64)),
)
"""Name, title, network and channels: as many parameters as LF-MRI, to within a tenth."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """One training.

    Parameters
    ----------
    title
        The row's name in a table.
    network
        One of `NETWORKS`, or ``classifier`` for the pre-training of Net_c.
    tables
        Tables of the paper that the run belongs to.
    lesion
        The lesion term of LF-MRI; ``off`` for all others.
    n_stages, channels
        Of the cascade and its D_w; for the rivals what corresponds to them.
    tied
        Whether D_w is G_u too (`cascade.CascadeConfig`); else G_u has as many channels.
    classifier, classifier_from
        Family of Net_c (`classifiers.build_classifier`), and the recipe that pre-trains it.
    vgg
        File with the weights of a VGG-16 for the perceptual loss (`perceptual.vgg16`); without one its
        features are those of Net_c.
    sampling
        ``random`` lines, or ``learned`` ones.
    source
        ``simulated`` scans, or the user's own ``fastmri`` or ``skm-tea`` k-space (`measured_pools`); Net_c
        needs none of them.
    fold
        Which subjects are held out (`data.FOLDS`).
    n_samples, n_rows
        Size of the pool; rows of the strip that a step sees, None for whole images.
    degraded
        For ``classifier``: fraction of the pairs that are degraded as a reconstruction would be.
    curriculum, ease
        For ``classifier``: fraction of the steps with lesions that are made easier, and by how much at first.
    epoch_steps
        Steps between two checkpoints.
    """

    name: str
    title: str
    network: str
    tables: tuple[int, ...] = ()
    lesion: LesionWeighting = LesionWeighting.OFF
    n_stages: int = 3
    channels: tuple[int, ...] = (13, 26, 52)
    tied: bool = False
    classifier: str = "compact"
    classifier_from: str | None = None
    start_from: str | None = None
    only_focus: bool = False
    losses: LossWeights = field(default_factory=LossWeights)
    vgg: str | None = None
    sampling: str = "random"
    source: str = "simulated"
    fold: int = 0
    kinds: tuple[str, ...] = LESION_KINDS
    n_samples: int = 400
    n_rows: int | None = 64
    steps: int = 700
    batch: int = 1
    learning_rate: float = 1e-3
    degraded: float = 0.7
    curriculum: float = 0.6
    ease: float = 1.0
    epoch_steps: int = 50
    precision: str = "32-true"
    seed: int = 0

    def to_json(self) -> dict[str, Any]:
        """As a JSON object."""
        return json.loads(json.dumps(dataclasses.asdict(self)))

    @classmethod
    def from_json(cls, entry: dict[str, Any]) -> Recipe:
        """What `to_json` gave. Raises LabError (LF-LAB-003) where fields are missing, unknown or wrong."""
        try:
            lists = {key: tuple(entry[key]) for key in ("tables", "channels", "kinds")}
            losses = LossWeights(**entry["losses"])
            return cls(**entry | lists | {"losses": losses, "lesion": LesionWeighting(entry["lesion"])})
        except (KeyError, TypeError, ValueError) as error:
            raise LabError(
                "LF-LAB-003", f"not a recipe of this version: {error}", "train the run again"
            ) from error


def write_recipe(recipe: Recipe, path: Path) -> None:
    """As an indented JSON file."""
    path.write_text(json.dumps(recipe.to_json(), indent=1) + "\n")


def all_recipes() -> dict[str, Recipe]:
    """Name -> recipe; names end in ``-f`` and the fold."""
    made: list[Recipe] = []
    for fold in FOLDS:
        made += _of_fold(fold.index)
    return {recipe.name: recipe for recipe in [*made, *_shipped()]}


def find(name: str) -> Recipe:
    """Raises LabError (LF-LAB-001) for a name that is no recipe's."""
    recipes = all_recipes()
    if name not in recipes:
        raise LabError("LF-LAB-001", f"no recipe {name!r}", "`lfmri-lab recipes` lists them")
    return recipes[name]


def _of_fold(fold: int) -> Iterable[Recipe]:
    """The experiments of tables 1 to 9 with the subjects of one fold held out."""
    end = f"-f{fold}"
    net_c = f"net-c{end}"
    focused: dict[str, Any] = {
        "network": "lf-mri",
        "lesion": LesionWeighting.FOCUSED,
        "classifier_from": net_c,
        "losses": FOCUSED_LOSSES,
        "tied": True,
        "fold": fold,
    }
    yield from _net_c("compact", "", fold)
    yield Recipe(
        name=f"judge{end}",
        title="Diagnosis, trained on fully sampled images",
        network="classifier",
        tables=(7,),
        fold=fold,
        degraded=0.0,
        batch=12,
        learning_rate=2e-3,
        steps=800,
        seed=2,
    )
    for label, title, network, channels in _RIVALS:
        yield Recipe(
            name=f"{label}{end}",
            title=title,
            network=network,
            tables=(1, 2, 7, 9),
            channels=channels,
            fold=fold,
        )
    uniform = focused | {"lesion": LesionWeighting.UNIFORM}
    yield Recipe(
        name=f"lf-uniform{end}", title="LF-MRI, lesion term uniform (retrained)", tables=(1, 2, 7), **uniform
    )
    yield Recipe(name=f"lf-mri{end}", title="LF-MRI", tables=(1, 2, 3, 4, 5, 6, 7, 8, 9), **focused)
    yield from _ablations(fold, focused)


def _ablations(fold: int, focused: dict[str, Any]) -> Iterable[Recipe]:
    """Tables 3 to 6 and 8: LF-MRI with one thing changed."""
    end = f"-f{fold}"
    for n in (1, 2, 4, 5):
        yield Recipe(
            name=f"lf-mri-t{n}{end}", title=f"LF-MRI, {n} stages", tables=(3,), **focused | {"n_stages": n}
        )
    for family in ("resnet", "densenet", "efficientnet"):
        yield from _net_c(family, f"-{family}", fold)
        yield Recipe(
            name=f"lf-mri-{family}{end}",
            title=f"LF-MRI, Net_c of {family}",
            tables=(4,),
            **focused | {"classifier": family, "classifier_from": f"net-c-{family}{end}"},
        )
    for label, title, change in _loss_rows():
        yield Recipe(name=f"lf-mri-{label}{end}", title=title, tables=(5,), **focused | change)
    perceptual = dataclasses.replace(FOCUSED_LOSSES, perceptual=0.02)
    yield Recipe(
        name=f"lf-mri-perceptual{end}",
        title="LF-MRI, perceptual loss",
        tables=(6,),
        **focused | {"losses": perceptual},
    )
    yield Recipe(
        name=f"lf-mri-learned{end}",
        title="LF-MRI, learnt lines",
        tables=(8,),
        **focused | {"sampling": "learned"},
    )


def _net_c(family: str, label: str, fold: int) -> Iterable[Recipe]:
    """Net_c alone, lesions made easy at first."""
    yield Recipe(
        name=f"net-c{label}-f{fold}",
        title=f"Net_c, {family}",
        network="classifier",
        classifier=family,
        fold=fold,
        batch=12,
        learning_rate=2e-3,
        steps=1400,
    )


def _loss_rows() -> Iterable[tuple[str, str, dict[str, Any]]]:
    yield "plain", "LF-MRI, image loss alone", {"losses": LossWeights()}
    yield "last", "LF-MRI, last stage alone", {"losses": LossWeights(stages=0.0, lesion=1.0)}
    joint = LossWeights(lesion=1.0, classification=0.02)
    # whole images: a strip need not show the lesion that its label is about
    yield "joint", "LF-MRI, Net_c trained jointly", {"losses": joint, "n_rows": None}


def _shipped() -> Iterable[Recipe]:
    """Weights for the node: D_w, a longer Net_c, then G_u with all else frozen; fold 0 held out."""
    shape: dict[str, Any] = {
        "network": "lf-mri",
        "n_stages": 4,
        "channels": (16, 32, 64),
        "n_rows": 80,
    }
    yield Recipe(name="shipped-denoiser", title="shipped weights, D_w", steps=2400, **shape)
    yield Recipe(
        name="shipped-net-c",
        title="shipped weights, Net_c",
        network="classifier",
        start_from="net-c-f0",
        ease=0.0,
        batch=12,
        learning_rate=1e-3,
        steps=1500,
        seed=1,
    )
    yield Recipe(
        name="shipped",
        title="shipped weights",
        lesion=LesionWeighting.FOCUSED,
        start_from="shipped-denoiser",
        classifier_from="shipped-net-c",
        losses=FOCUSED_LOSSES,
        only_focus=True,
        steps=300,
        **shape,
    )
