"""What the worker is asked to do, and where it leaves its results; free of numerics."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from lfmri_node.dicom_io.types import EncodedObject
from lfmri_node.node.jobs.recipe import Recipe

CALIBRATION = "calibration.npz"
RECONSTRUCTION = "reconstruction"
ANSWER = "answer.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """What a stage works on.

    Parameters
    ----------
    sources
        Raw Data objects in the order of their parts.
    work
        Directory of the job's intermediate results.
    objects
        Directory of the job's DICOM objects.
    created_at
        Time that the objects carry: that of reception, so that a re-run writes the same bytes.
    identity
        File of what an operator said of a measurement whose raw data do not say whose it is.
    epoch
        Of the process that asks for it; see `files.published_directory`.
    """

    sources: tuple[Path, ...]
    source_sha256: str
    contrast: int
    repetition: int
    recipe: Recipe
    work: Path
    objects: Path
    created_at: datetime
    identity: Path | None = None
    epoch: int = 0

    def to_json(self) -> dict[str, object]:
        """JSON-able form."""
        return {
            "sources": [str(path) for path in self.sources],
            "source_sha256": self.source_sha256,
            "contrast": self.contrast,
            "repetition": self.repetition,
            "recipe": self.recipe.to_json(),
            "work": str(self.work),
            "objects": str(self.objects),
            "created_at": self.created_at.isoformat(),
            "identity": None if self.identity is None else str(self.identity),
            "epoch": self.epoch,
        }

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Task:
        """Inverse of `to_json`."""
        return cls(
            sources=tuple(Path(path) for path in document["sources"]),
            source_sha256=document["source_sha256"],
            contrast=document["contrast"],
            repetition=document["repetition"],
            recipe=Recipe.from_json(document["recipe"]),
            work=Path(document["work"]),
            objects=Path(document["objects"]),
            created_at=datetime.fromisoformat(document["created_at"]),
            identity=Path(document["identity"]) if document["identity"] else None,
            epoch=document["epoch"],
        )


def objects_in(directory: Path) -> list[EncodedObject]:
    """The objects that `Pipeline.encode` left in ``directory``."""
    answer = json.loads((directory / ANSWER).read_text(encoding="utf-8"))
    return [EncodedObject(**{**item, "path": directory / item["path"]}) for item in answer["objects"]]
