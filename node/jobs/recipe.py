"""What a job is computed with: fixed when the measurement is first seen, and kept in its row.

A configuration that changes while a job waits does not change that job. Of the recipe only what changes
the pixels is part of the job's key, and so of its UIDs.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from importlib.metadata import version
from typing import Any

from lfmri_node.dicom_io.types import StudyContext
from lfmri_node.dicom_io.uids import JobKey
from lfmri_node.node.config import Config, GatewaySection, PipelineSection, ReconSection
from lfmri_node.node.rules import Facts, Rule, answer_of, first_that_fits
from lfmri_node.recon.errors import InvalidModel
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
    rule
        Name of the pipeline that was chosen; "" where none fits, or none is configured.
    candidates
        Of a measurement until its header is read: `Candidate` as JSON, in the order of the configuration.
    routes
        Likewise: destination -> conditions of its ``only``.
    routed
        Of a scan: destination of the configuration at reception -> whether it goes there.
    """

    recon: ReconSettings
    reader: Mapping[str, Any]
    objects: Mapping[str, Any]
    weights: str | None
    weights_sha256: str
    software_version: str
    correction: str = ""
    rule: str = ""
    candidates: tuple[Mapping[str, Any], ...] = ()
    routes: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    routed: Mapping[str, bool] = field(default_factory=dict)

    def pixel_settings(self) -> str:
        """What changes the pixels, as one line for the job key; and that a scan is a correction.

        Reading directions stand in it where they are not the default, so that a new one in a later
        version changes no key. Series number, serial number, the choice of series and the version of the
        software are not in it: they are fixed when a measurement is first seen, and a resend after
        they have changed is the same measurement.
        """
        plain = GatewaySection().reader()
        reader = {name: value for name, value in self.reader.items() if value != plain[name]}
        reader.pop("orientation_verified", None)
        read = ",".join(f"{name}:{int(value)}" for name, value in sorted(reader.items()))
        corrected = f";correction={self.correction}" if self.correction else ""
        return f"{self.recon.describe()};reader={read}{corrected}"

    def to_json(self) -> dict[str, object]:
        """JSON-able form."""
        copied = ("reader", "objects", "routes", "routed")
        mappings = {name: dict(getattr(self, name)) for name in copied}
        return {**asdict(self), **mappings, "candidates": [dict(each) for each in self.candidates]}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Recipe:
        """Inverse of `to_json`."""
        return cls(
            recon=_settings(document["recon"]),
            reader=document["reader"],
            objects=document["objects"],
            weights=document["weights"],
            weights_sha256=document["weights_sha256"],
            software_version=document["software_version"],
            correction=document.get("correction", ""),
            rule=document.get("rule", ""),
            candidates=tuple(document.get("candidates", ())),
            routes=document.get("routes", {}),
            routed=document.get("routed", {}),
        )

    def chosen(self, facts: Facts) -> Recipe:
        """The recipe of one scan of the measurement: that of the first pipeline that fits its header.

        The reading directions are the gateway's, whatever fits.
        """
        rules = [Rule.of(each["name"], each["only"]) for each in self.candidates]
        answer = first_that_fits(rules, facts)
        fitting = next((each for each in self.candidates if answer and each["name"] == answer.rule), None)
        among = None if fitting is None else fitting["destinations"]
        routed = {
            name: answer_of(Rule.of(name, only), facts).fits and (among is None or name in among)
            for name, only in self.routes.items()
        }
        plain = replace(self, candidates=(), routes={}, routed=routed)
        if fitting is None:
            return plain
        return replace(
            plain,
            recon=_settings(fitting["recon"]),
            objects=fitting["objects"],
            weights=fitting["weights"],
            weights_sha256=fitting["weights_sha256"],
            rule=fitting["name"],
        )

    def own_weights(self) -> list[tuple[str, str]]:
        """Files of a site's own weights that scans of this recipe may need, each with its SHA-256."""
        pairs = [(self.weights, self.weights_sha256)]
        pairs += [(each["weights"], each["weights_sha256"]) for each in self.candidates]
        return [(path, sha256) for path, sha256 in pairs if path]

    @classmethod
    def of(cls, config: Config, calling_ae: str = "") -> Recipe:
        """The recipe that the configuration asks for, for what ``calling_ae`` sent.

        Raises
        ------
        lfmri_node.recon.errors.InvalidModel
            The weights are missing or altered; the message names the pipeline that they are of.
        """
        recon = config.recon
        return cls(
            recon=recon.settings(),
            reader=config.gateway(calling_ae).reader(),
            objects=config.objects.model_dump(),
            weights=str(recon.weights) if recon.weights else None,
            weights_sha256=_weights_sha256(recon),
            software_version=software_version(),
            candidates=tuple(_candidate(pipeline, config) for pipeline in config.pipelines),
            routes={item.name: item.only.conditions() if item.only else {} for item in config.destinations},
        )


def _weights_sha256(recon: ReconSection) -> str:
    if recon.method is not Method.LF_MRI:
        return ""
    return weights_identity(recon.weights, sha256=recon.weights_sha256)[1]


def _candidate(pipeline: PipelineSection, config: Config) -> dict[str, Any]:
    """A pipeline with everything that it changes, as it stands in the row of a measurement."""
    given = pipeline.model_dump(exclude_none=True, exclude={"name", "only", "destinations", "outputs"})
    if pipeline.weights is not None:
        given.setdefault("weights_sha256", None)
    recon = config.recon.model_copy(
        update={name: value for name, value in given.items() if name in type(config.recon).model_fields}
    )
    objects = config.objects.model_copy(
        update={name: value for name, value in given.items() if name in type(config.objects).model_fields}
    )
    outputs = {} if pipeline.outputs is None else {"outputs": list(pipeline.outputs)}
    try:
        sha256 = _weights_sha256(recon)
    except InvalidModel as error:
        raise InvalidModel(error.code, f"pipeline '{pipeline.name}': {error.message}", error.hint) from error
    return {
        "name": pipeline.name,
        "only": pipeline.only.conditions(),
        "destinations": list(pipeline.destinations) if pipeline.destinations is not None else None,
        "recon": asdict(recon.settings()),
        "objects": {**objects.model_dump(), **outputs},
        "weights": str(recon.weights) if recon.weights else None,
        "weights_sha256": sha256,
    }


def _settings(document: Mapping[str, Any]) -> ReconSettings:
    return ReconSettings(
        method=Method(document["method"]),
        lesion=LesionWeighting(document["lesion"]),
        fallback=Method(document["fallback"]),
        always_fallback=document["always_fallback"],
        n_virtual_coils=document["n_virtual_coils"],
    )


def goes_to(recipe: Mapping[str, Any], destination: str, *, ruled: bool) -> bool:
    """Whether a scan with this recipe (JSON) goes to a destination of the present configuration.

    One that was not configured when the scan came in gets it unless it is ``ruled``, has conditions: what
    they ask about is not known any more.
    """
    routed: Mapping[str, bool] = recipe.get("routed", {})
    return routed.get(destination, not ruled)


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
