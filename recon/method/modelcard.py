"""The model card beside each weights file: what it is, what it was trained for, what it reached.

Importing this module imports no torch: the listener's process needs the identity of the weights for
its job keys and nothing else of them.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

from lfmri_node.recon.errors import InvalidModel

SHIPPED = "lfmri-v5"
VALIDATED_IMAGE_AUC, VALIDATED_POINTING = 0.90, 0.80
"""What the map must reach on real lesions of held-out patients before it is called validated."""
DOMAIN = (
    "noise",
    "weakest_coil",
    "calibration_residual",
    "calibration_residual_few_lines",
    "centre_energy",
    "network_residual",
    "network_residual_few_lines",
)
"""Indicators whose range every card states."""
_NEEDED = {
    "domain": DOMAIN,
    "limits": ("acceleration", "n_coils", "size"),
    "lesion": ("operating_score", "threshold"),
}
_CHUNK = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelCard:
    """Facts of one set of weights; the JSON file holds the same names.

    Parameters
    ----------
    name, sha256
        Name of the model; SHA-256 of the safetensors file, lower-case hex.
    architecture
        Fields of `cascade.CascadeConfig`.
    domain
        Indicator -> (low, high): the range met in training; outside it the network is not trusted.
    limits
        ``n_coils``, ``size``, ``acceleration`` -> (low, high); ``points`` -> (low, high) acceleration of
        points in two phase directions, where the training held them.
    lesion
        ``operating_score`` and ``threshold`` of the map; ``image_auc`` and ``pointing_game`` on held-out
        subjects with *inserted* lesions; and, where they were measured, on *real* lesions of held-out
        patients (all sizes, contrast-to-noise ratio above 1): ``real_image_auc``, ``real_pointing_game``
        and ``real_pointing_chance``, the share of hits of a peak that falls anywhere on tissue.
    record
        Data and licences, steps, seed, figures: text for people.
    """

    name: str
    sha256: str
    architecture: Mapping[str, Any]
    domain: Mapping[str, tuple[float, float]]
    limits: Mapping[str, tuple[float, float]]
    lesion: Mapping[str, float]
    record: Mapping[str, Any] = field(repr=False)

    @property
    def lesion_map_validated(self) -> bool:
        """Whether the figures on real lesions reach their aims; a figure that is missing reaches none."""
        image_auc, pointing, chance = (
            self.lesion.get(f"real_{name}", math.nan)
            for name in ("image_auc", "pointing_game", "pointing_chance")
        )
        return image_auc >= VALIDATED_IMAGE_AUC and pointing >= VALIDATED_POINTING and pointing > chance


def shipped_weights() -> Path:
    """Path of the weights that come with the package."""
    with as_file(files("lfmri_node.recon") / "models" / f"{SHIPPED}.safetensors") as path:
        return path


def card_of(weights: Path) -> Path:
    """The card's file: ``<stem>.json`` beside ``weights``."""
    return weights.with_suffix(".json")


def read_card(weights: Path) -> ModelCard:
    """Read the card of ``weights``.

    Raises InvalidModel: LF-MOD-001 no weights, LF-MOD-002 no card, LF-MOD-003 card unreadable or without a
    number that the node needs.
    """
    if not weights.is_file():
        raise InvalidModel(
            "LF-MOD-001", "the weights file does not exist", "check recon.weights in config.toml"
        )
    path = card_of(weights)
    if not path.is_file():
        raise InvalidModel(
            "LF-MOD-002", f"no model card {path.name} beside the weights", "put the card next to the weights"
        )
    try:
        entries = json.loads(path.read_text())
        card = ModelCard(
            name=entries["name"],
            sha256=entries["sha256"],
            architecture=entries["architecture"],
            domain={key: (float(low), float(high)) for key, (low, high) in entries["domain"].items()},
            limits={key: (float(low), float(high)) for key, (low, high) in entries["limits"].items()},
            lesion={key: float(value) for key, value in entries["lesion"].items()},
            record=entries["record"],
        )
    except (KeyError, TypeError, ValueError) as error:
        raise InvalidModel(
            "LF-MOD-003", f"model card {path.name} is not readable: {error!r}", "restore the card"
        ) from error
    missing = [name for part, names in _NEEDED.items() for name in names if name not in entries[part]]
    if missing:
        raise InvalidModel(
            "LF-MOD-003",
            f"model card {path.name} lacks {', '.join(missing)}",
            "use card and weights of one training run of this version",
        )
    return card


def weights_identity(weights: Path | None = None, *, sha256: str | None = None) -> tuple[str, str]:
    """(name, SHA-256) of a weights file, after checking the file against its card.

    Parameters
    ----------
    weights
        None for the shipped weights.
    sha256
        Hash that the site expects; None accepts the card's.

    Raises
    ------
    InvalidModel
        As `read_card`; LF-MOD-004 where the file is not the one that the card or the site names.
    """
    path = weights if weights is not None else shipped_weights()
    card = read_card(path)
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    if digest.hexdigest() != card.sha256 or (sha256 is not None and sha256.lower() != card.sha256):
        raise InvalidModel(
            "LF-MOD-004",
            "the weights file is not the one that the model card or the configuration names",
            "restore the file, or correct recon.weights_sha256",
        )
    return card.name, card.sha256
