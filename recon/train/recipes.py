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
from lfmri_node.recon.phantom.body import LESION_KINDS
from lfmri_node.recon.train.losses import LossWeights
from lfmri_node.recon.types import LesionWeighting

NETWORKS = ("lf-mri", "u-net", "ista-net+", "modl", "e2e-varnet")
FOCUSED_LOSSES = LossWeights(lesion=1.0)
NET_C_IMAGES: dict[str, Any] = {"degraded": 0.5, "curriculum": 0.3}
"""What every Net_c but that of the diagnosis is shown."""
_OFF_CHANNELS = (16, 32, 64)
_RIVALS = (
    ("u-net", "U-Net", "u-net", (27, 54, 108)),
    ("ista-net", "ISTA-Net+", "ista-net+", (55,)),
    ("modl", "MoDL", "modl", (27, 54, 108)),
    ("varnet", "E2E-VarNet", "e2e-varnet", (15, 30, 60)),
    ("lf-off", "LF-MRI, lesion term off (retrained)", "lf-mri", _OFF_CHANNELS),
)
"""Name, title, network and channels: as many parameters that learn as in LF-MRI, to within a tenth; Net_c is
pre-trained and not among them."""


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
    focus_channels
        Of G_u.
    noisy
        Whether the truth is the noisy, fully sampled image, as of measured data, or the noise-free one.
    classifier, classifier_from
        Family of Net_c (`classifiers.build_classifier`), and the recipe that pre-trains it.
    vgg
        File with the weights of a VGG-16 for the perceptual loss (`perceptual.vgg16`); without one its
        features are those of Net_c.
    mu_factor
        What mu is multiplied by of the run that this one starts from (`evaluate.scan_mu`).
    sampling
        ``random`` lines, or ``learned`` ones.
    source
        ``simulated`` scans, or the user's own ``fastmri`` or ``skm-tea`` k-space (`measured_pools`), several
        joined by ``+``: their batches come by turns. Net_c needs none of them.
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
    focus_channels: tuple[int, ...] = (8, 16, 32)
    noisy: bool = True
    classifier: str = "compact"
    classifier_from: str | None = None
    start_from: str | None = None
    mu_factor: float = 1.0
    only_focus: bool = False
    losses: LossWeights = field(default_factory=LossWeights)
    vgg: str | None = None
    sampling: str = "random"
    source: str = "simulated"
    kinds: tuple[str, ...] = LESION_KINDS
    n_samples: int = 4000
    n_rows: int | None = 48
    steps: int = 25000
    batch: int = 1
    learning_rate: float = 1e-3
    degraded: float = 0.7
    curriculum: float = 0.6
    ease: float = 1.0
    epoch_steps: int = 250
    precision: str = "32-true"
    seed: int = 0

    @property
    def sources(self) -> tuple[str, ...]:
        """Source of each batch in turn."""
        return tuple(self.source.split("+"))

    def to_json(self) -> dict[str, Any]:
        """As a JSON object."""
        return dict(json.loads(json.dumps(dataclasses.asdict(self))))

    @classmethod
    def from_json(cls, entry: dict[str, Any]) -> Recipe:
        """What `to_json` gave. Raises LabError (LF-LAB-003) where fields are missing, unknown or wrong."""
        try:
            lists = {key: tuple(entry[key]) for key in ("tables", "channels", "focus_channels", "kinds")}
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
    """Name -> recipe."""
    return {recipe.name: recipe for recipe in (*_compared(), *_shipped())}


def find(name: str) -> Recipe:
    """Raises LabError (LF-LAB-001) for a name that is no recipe's."""
    recipes = all_recipes()
    if name not in recipes:
        raise LabError("LF-LAB-001", f"no recipe {name!r}", "`lfmri-lab recipes` lists them")
    return recipes[name]


def _compared() -> Iterable[Recipe]:
    """The experiments of tables 1 to 9."""
    focused: dict[str, Any] = {
        "network": "lf-mri",
        "lesion": LesionWeighting.FOCUSED,
        "classifier_from": "net-c",
        "losses": FOCUSED_LOSSES,
    }
    yield from _net_c("compact", "")
    yield Recipe(
        name="judge",
        title="Diagnosis, trained on fully sampled images",
        network="classifier",
        tables=(7,),
        degraded=0.0,
        batch=12,
        learning_rate=2e-3,
        steps=3000,
        seed=2,
    )
    for label, title, network, channels in _RIVALS:
        yield Recipe(name=label, title=title, network=network, tables=(1, 2, 7, 9), channels=channels)
    uniform = focused | {"lesion": LesionWeighting.UNIFORM}
    yield Recipe(
        name="lf-uniform", title="LF-MRI, lesion term uniform (retrained)", tables=(1, 2, 7), **uniform
    )
    yield Recipe(name="lf-mri", title="LF-MRI", tables=(1, 2, 3, 4, 5, 6, 7, 8, 9), **focused)
    yield from _ablations(focused)


def _ablations(focused: dict[str, Any]) -> Iterable[Recipe]:
    """Tables 3 to 6 and 8: LF-MRI with one thing changed; and the truth of the training."""
    for n in (1, 2, 4, 5):
        yield Recipe(
            name=f"lf-mri-t{n}", title=f"LF-MRI, {n} stages", tables=(3,), **focused | {"n_stages": n}
        )
    for family in ("resnet", "densenet", "efficientnet"):
        yield from _net_c(family, f"-{family}")
        yield Recipe(
            name=f"lf-mri-{family}",
            title=f"LF-MRI, Net_c of {family}",
            tables=(4,),
            **focused | {"classifier": family, "classifier_from": f"net-c-{family}"},
        )
    for label, title, change in _loss_rows():
        yield Recipe(name=f"lf-mri-{label}", title=title, tables=(5,), **focused | change)
    perceptual = dataclasses.replace(FOCUSED_LOSSES, perceptual=0.02)
    yield Recipe(
        name="lf-mri-perceptual",
        title="LF-MRI, perceptual loss",
        tables=(6,),
        **focused | {"losses": perceptual},
    )
    yield Recipe(
        name="lf-mri-learned",
        title="LF-MRI, learned lines",
        tables=(8,),
        **focused | {"sampling": "learned"},
    )
    yield Recipe(
        name="lf-off-clean",
        title="LF-MRI, lesion term off, noise-free truth",
        network="lf-mri",
        channels=_OFF_CHANNELS,
        noisy=False,
    )


def _net_c(family: str, label: str) -> Iterable[Recipe]:
    """Net_c alone, lesions made easy at first."""
    yield Recipe(
        name=f"net-c{label}",
        title=f"Net_c, {family}",
        network="classifier",
        classifier=family,
        batch=12,
        learning_rate=1e-3,
        steps=3000,
        epoch_steps=100,
        **NET_C_IMAGES,
    )


def _loss_rows() -> Iterable[tuple[str, str, dict[str, Any]]]:
    yield "plain", "LF-MRI, image loss alone", {"losses": LossWeights()}
    yield "last", "LF-MRI, last stage alone", {"losses": LossWeights(stages=0.0, lesion=1.0)}
    joint = LossWeights(lesion=1.0, classification=0.02)
    # whole images: a strip need not show the lesion that its label is about
    yield "joint", "LF-MRI, Net_c trained jointly", {"losses": joint, "n_rows": None}


def _shipped() -> Iterable[Recipe]:
    """Weights for the node: D_w, then D_w and G_u; ``shipped-off`` is their rival, trained as long."""
    shape: dict[str, Any] = {"network": "lf-mri", "channels": (16, 32, 64), "n_samples": 3000}
    yield Recipe(
        name="shipped-denoiser",
        title="shipped weights, D_w",
        steps=14000,
        learning_rate=1e-3,
        **shape,
    )
    longer: dict[str, Any] = {"start_from": "shipped-denoiser", "steps": 8000}
    yield Recipe(
        name="shipped",
        title="shipped weights",
        lesion=LesionWeighting.FOCUSED,
        classifier_from="net-c",
        losses=FOCUSED_LOSSES,
        mu_factor=0.5,
        only_focus=True,
        learning_rate=1e-3,
        **shape | longer,
    )
    yield Recipe(
        name="shipped-off",
        title="shipped weights, lesion term off, trained as long",
        mu_factor=0.5,
        learning_rate=2e-4,
        **shape | longer,
    )
