"""What a job is computed with: fixed when the measurement is first seen, and kept in its row.

A configuration that changes while a job waits does not change that job. Of the recipe only what changes
the pixels is part of the job's key, and so of its UIDs.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import version
from typing import Any

from lfmri_node.dicom_io.types import StudyContext
from lfmri_node.dicom_io.uids import JobKey
from lfmri_node.node.config import Config, GatewaySection
from lfmri_node.recon.method.modelcard import weights_identity
from lfmri_node.recon.settings import LesionWeighting, Method, ReconSettings


def software_version() -> str:
    """Version of the installed package."""
    return version("lfmri-node")


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """Settings, reading directions, object options and weights of one job.

    Parameters
    ----------
    reader
        Keywords of `recon.rawdata.ReaderSettings` that the site sets for the gateway.
    objects
        Keywords of `dicom_io.attributes.SiteOptions`.
    weights
        File of a site's own weights; None for the shipped ones.
    weights_sha256
        "" where the method uses no network.
    correction
        Of a corrected scan that follows another of the same samples: tells its objects from the other's.
    """

    recon: ReconSettings
    reader: Mapping[str, Any]
    objects: Mapping[str, Any]
    weights: str | None
    weights_sha256: str
    software_version: str
    correction: str = ""

    def pixel_settings(self) -> str:
        """What changes the pixels, as one line for the job key; and that a scan is a correction.

        Reading directions stand in it where they are not the default, so that a new one in a later
        version changes no key. Series number, serial number, the choice of series and the version of the
        software are not in it: they are fixed when a measurement is first seen, and a resend after
        they have changed is the same measurement.
        """
        plain = GatewaySection().model_dump(mode="json")
        reader = {name: value for name, value in self.reader.items() if value != plain[name]}
        reader.pop("orientation_verified", None)
        read = ",".join(f"{name}:{int(value)}" for name, value in sorted(reader.items()))
        corrected = f";correction={self.correction}" if self.correction else ""
        return f"{self.recon.describe()};reader={read}{corrected}"

    def to_json(self) -> dict[str, object]:
        """JSON-able form."""
        return {**asdict(self), "reader": dict(self.reader), "objects": dict(self.objects)}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Recipe:
        """Inverse of `to_json`."""
        recon = document["recon"]
        return cls(
            recon=ReconSettings(
                method=Method(recon["method"]),
                lesion=LesionWeighting(recon["lesion"]),
                fallback=Method(recon["fallback"]),
                always_fallback=recon["always_fallback"],
                n_virtual_coils=recon["n_virtual_coils"],
            ),
            reader=document["reader"],
            objects=document["objects"],
            weights=document["weights"],
            weights_sha256=document["weights_sha256"],
            software_version=document["software_version"],
            correction=document.get("correction", ""),
        )

    @classmethod
    def of(cls, config: Config, calling_ae: str = "") -> Recipe:
        """The recipe that the configuration asks for, for what ``calling_ae`` sent.

        Raises
        ------
        lfmri_node.recon.errors.InvalidModel
            The weights are missing or altered.
        """
        recon = config.recon
        sha256 = ""
        if recon.method is Method.LF_MRI:
            _, sha256 = weights_identity(recon.weights, sha256=recon.weights_sha256)
        return cls(
            recon=recon.settings(),
            reader=config.gateway(calling_ae).model_dump(mode="json"),
            objects=config.objects.model_dump(),
            weights=str(recon.weights) if recon.weights else None,
            weights_sha256=sha256,
            software_version=software_version(),
        )


def job_key(
    context: StudyContext, source_sha256: str, recipe: Recipe, contrast: int, repetition: int
) -> JobKey:
    """The key of one scan's job; see `lfmri_node.dicom_io.uids`."""
    return JobKey(
        payload_sha256=source_sha256,
        patient_id=str(context.attributes.get("PatientID") or ""),
        issuer_of_patient_id=str(context.attributes.get("IssuerOfPatientID") or ""),
        study_instance_uid=context.study_instance_uid,
        contrast=contrast,
        repetition=repetition,
        settings=recipe.pixel_settings(),
        weights_sha256=recipe.weights_sha256,
    )


def measurement_key(context: StudyContext, source_sha256: str, recipe: Recipe) -> str:
    """Key of the row that stands for a whole measurement until its header is read."""
    first = job_key(context, source_sha256, recipe, 0, 0)
    return hashlib.sha256(f"measurement {first.hex}".encode("ascii")).hexdigest()
