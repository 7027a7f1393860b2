"""A `Reconstruction` on disk: one npz of volumes and one JSON of everything else; no pickle.

Reading needs neither torch nor SigPy, so that the encoder does not load them.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from lfmri_node.recon.errors import InvalidRawData
from lfmri_node.recon.types import (
    Convention,
    Figure,
    Geometry,
    LesionMap,
    Method,
    Provenance,
    Quality,
    Reason,
    Reconstruction,
    SequenceInfo,
    Verdict,
)

_VOLUMES = ("image", "reference", "fallback", "zero_filled")


def save_reconstruction(reconstruction: Reconstruction, directory: Path) -> None:
    """Write ``volumes.npz`` and ``reconstruction.json`` into an existing directory."""
    arrays = {name: volume for name in _VOLUMES if (volume := getattr(reconstruction, name)) is not None}
    facts: dict[str, Any] = {
        "geometry": asdict(reconstruction.geometry),
        "sequence": asdict(reconstruction.sequence),
        "quality": asdict(reconstruction.quality),
        "provenance": asdict(reconstruction.provenance),
        "lesion": None,
    }
    if (lesion := reconstruction.lesion) is not None:
        arrays |= {"activation": lesion.activation, "scores": lesion.scores}
        facts["lesion"] = {
            "labels": lesion.labels,
            "operating_score": lesion.operating_score,
            "threshold": lesion.threshold,
            "validated": lesion.validated,
        }
    np.savez(directory / "volumes.npz", **arrays)
    (directory / "reconstruction.json").write_text(json.dumps(facts, indent=1))


def load_reconstruction(directory: Path) -> Reconstruction:
    """Read what `save_reconstruction` wrote.

    Raises InvalidRawData (LF-RAW-090) where the files are missing or do not belong together.
    """
    try:
        facts = json.loads((directory / "reconstruction.json").read_text())
        with np.load(directory / "volumes.npz", allow_pickle=False) as f:
            arrays = {name: f[name] for name in f.files}
        return _build(facts, arrays)
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise InvalidRawData(
            "LF-RAW-090",
            f"the stored reconstruction is not readable: {type(error).__name__}",
            "delete the job's reconstruction folder and retry the job",
        ) from error


def _build(facts: dict[str, Any], arrays: dict[str, Any]) -> Reconstruction:
    lesion = None
    if facts["lesion"] is not None:
        lesion = LesionMap(
            activation=arrays["activation"],
            scores=arrays["scores"],
            labels=tuple(facts["lesion"]["labels"]),
            operating_score=facts["lesion"]["operating_score"],
            threshold=facts["lesion"]["threshold"],
            validated=facts["lesion"]["validated"],
        )
    geometry: dict[str, Any] = {
        key: tuple(v) if isinstance(v, list) else v for key, v in facts["geometry"].items()
    }
    quality, provenance = facts["quality"], facts["provenance"]
    methods = {key: Method(provenance[key]) for key in ("method", "fallback") if provenance[key] is not None}
    return Reconstruction(
        image=arrays["image"],
        reference=arrays.get("reference"),
        fallback=arrays.get("fallback"),
        zero_filled=arrays.get("zero_filled"),
        geometry=Geometry(**geometry),
        sequence=SequenceInfo(**facts["sequence"]),
        lesion=lesion,
        quality=Quality(
            verdict=Verdict(quality["verdict"]),
            acceleration=quality["acceleration"],
            data_residual=quality["data_residual"],
            reasons=tuple(
                Reason(code=r["code"], message=r["message"], slices=tuple(r["slices"]))
                for r in quality["reasons"]
            ),
            figures=tuple(Figure(**figure) for figure in quality.get("figures", ())),
        ),
        provenance=Provenance(
            **(
                provenance
                | methods
                | {"convention": Convention(**provenance["convention"])}
                | {"device_notes": tuple(provenance.get("device_notes", ()))}
            )
        ),
    )
