"""``lfmri-node explain``: what the node would do with a scan, and why, without reconstructing it.

Opens foreign files, as `reconstruct` does: in the process of the command, never in the service.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median

from lfmri_node.dicom_io.errors import DicomIoError
from lfmri_node.dicom_io.objects.attributes import SiteOptions
from lfmri_node.dicom_io.objects.codes import Role
from lfmri_node.dicom_io.raw_data.context import context_of
from lfmri_node.dicom_io.raw_data.payload import open_payload, verify
from lfmri_node.dicom_io.raw_data.received import parse_measurement
from lfmri_node.dicom_io.raw_data.unassigned import from_header, missing_identity
from lfmri_node.dicom_io.types import StudyContext
from lfmri_node.dicom_io.uids import name_uid
from lfmri_node.node.config import Config
from lfmri_node.node.errors import NodeError
from lfmri_node.node.jobs.figures import Figures
from lfmri_node.node.jobs.recipe import Recipe
from lfmri_node.node.jobs.tables import databases_of, has_tables
from lfmri_node.node.offline.asked import is_raw_data
from lfmri_node.node.rules import Answer, Facts, Rule, explain
from lfmri_node.node.worker.facts import header_facts
from lfmri_node.node.worker.process import TimeLimit
from lfmri_node.node.worker.stages import check_geometry, check_identity
from lfmri_node.recon.errors import ReconError
from lfmri_node.recon.method.modelcard import ModelCard, read_card, shipped_weights
from lfmri_node.recon.mrd.measurement import Measurement, ReaderSettings, open_measurement
from lfmri_node.recon.sense.sampling import acceleration
from lfmri_node.recon.settings import Method
from lfmri_node.recon.trust.verdict import scan_reasons
from lfmri_node.recon.types import RawScan


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """One figure of a scan beside the range of the model card; ``low`` None: the card has none."""

    name: str
    value: float
    low: float | None = None
    high: float | None = None

    @property
    def inside(self) -> bool | None:
        return None if self.low is None or self.high is None else self.low <= self.value <= self.high

    def to_json(self) -> dict[str, object]:
        return {
            "name": self.name,
            "value": self.value,
            "trained": None if self.low is None else [self.low, self.high],
            "inside": self.inside,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class ScanExplained:
    """One contrast and repetition.

    Parameters
    ----------
    pipelines
        Every pipeline of the configuration in order, and why it fits or not: the first that fits is used.
    used
        Pipeline ("" for none), method, fallback, lesion, weights, outputs (every series that may come of it:
        which do is the verdict's), destinations.
    conditions
        What is known without computing; noise, motion and coils are measured when it is reconstructed.
    fallback_because
        Code and sentence of each reason that stands already.
    expected_s, limit_s
        By scans on record that were computed with this method, None where there is none; and when a stage
        is stopped.
    """

    contrast: int
    repetition: int
    header: Mapping[str, object]
    pipelines: tuple[Answer, ...]
    used: Mapping[str, object]
    conditions: tuple[Condition, ...]
    fallback_because: tuple[tuple[str, str], ...]
    expected_s: float | None
    limit_s: float

    def to_json(self) -> dict[str, object]:
        """JSON-able form."""
        return {
            "contrast": self.contrast,
            "repetition": self.repetition,
            "header": dict(self.header),
            "pipelines": [{"name": a.rule, "fits": a.fits, "why": a.why} for a in self.pipelines],
            "used": dict(self.used),
            "conditions": [item.to_json() for item in self.conditions],
            "fallback_because": [{"code": code, "message": text} for code, text in self.fallback_because],
            "expected_s": self.expected_s,
            "limit_s": self.limit_s,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """What would become of a file.

    Parameters
    ----------
    reader
        Reading directions of the gateway.
    refused
        ``code``, ``message``, ``hint`` where nothing would be reconstructed.
    identity
        Where patient and study come from: ``dicom`` or ``header``.
    missing
        What of it nobody names: the scan is reconstructed and held until somebody does.
    """

    reader: Mapping[str, object]
    identity: str
    missing: tuple[str, ...]
    refused: Mapping[str, str] | None
    scans: tuple[ScanExplained, ...]

    def to_json(self) -> dict[str, object]:
        """JSON-able form."""
        return {
            "reader": dict(self.reader),
            "identity": self.identity,
            "missing": list(self.missing),
            "refused": dict(self.refused) if self.refused is not None else None,
            "scans": [scan.to_json() for scan in self.scans],
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    measurement: Measurement
    context: StudyContext
    missing: tuple[str, ...]
    calling_ae: str
    given: frozenset[str] = frozenset()

    def facts(self, scan: RawScan, calling_ae: str) -> Facts:
        """What rules ask about."""
        stated, sender = self.measurement.stated, calling_ae or self.calling_ae
        return header_facts(self.context, scan.sequence, stated, calling_ae=sender)


def explain_file(source: Path, config: Config, *, calling_ae: str, group: str | None) -> Explanation:
    """Read a file as the node would, from ``calling_ae``, and say what would follow.

    Raises
    ------
    InvalidModel
        The weights are missing or altered.
    """
    recipe = Recipe.of(config, calling_ae)
    is_dicom, refused = is_raw_data(source, {}, group), None
    missing: tuple[str, ...] = ()
    scans: tuple[ScanExplained, ...] = ()
    try:
        with _opened(source, recipe, group) as found:
            missing = found.missing
            raw = [found.measurement.scan(*pair) for pair in found.measurement.scans]
            scans = tuple(_explained(scan, found.facts(scan, calling_ae), recipe, config) for scan in raw)
            if is_dicom:
                check_identity(found.measurement.identity, found.context, found.given)
            check_geometry(raw)
    except (ReconError, DicomIoError, NodeError) as error:
        refused = {"code": error.code, "message": error.message, "hint": error.hint}
    return Explanation(
        reader={name: value for name, value in recipe.reader.items() if value is not None},
        identity="dicom" if is_dicom else "header",
        missing=missing,
        refused=refused,
        scans=scans,
    )


@contextmanager
def _opened(source: Path, recipe: Recipe, group: str | None) -> Iterator[_Found]:
    reader = ReaderSettings(**dict(recipe.reader), group=group)
    if not is_raw_data(source, {}, group):
        with open_measurement(source, settings=reader) as measurement:
            stated = from_header(measurement.stated, measurement.source_sha256)
            context = context_of(stated.attributes, name_uid("raw object", measurement.source_sha256))
            yield _Found(measurement=measurement, context=context, missing=stated.missing, calling_ae="")
        return
    received = parse_measurement([source])
    verify(received.parts)
    reader = replace(reader, group=received.group)
    with (
        open_payload(received.parts) as window,
        open_measurement(window, sha256=received.sha256, settings=reader) as measurement,
    ):
        yield _Found(
            measurement=measurement,
            context=received.context,
            missing=missing_identity(received.context, received.sha256),
            calling_ae=received.calling_ae,
            given=received.given,
        )


def _card(recipe: Recipe) -> ModelCard:
    return read_card(Path(recipe.weights) if recipe.weights else shipped_weights())


def _explained(scan: RawScan, facts: Facts, measured: Recipe, config: Config) -> ScanExplained:
    recipe = measured.chosen(facts)
    card = _card(recipe) if recipe.recon.method is Method.LF_MRI else None
    sampled = [scan.load(s).sampled for s in range(scan.n_slices)]
    n_coils = min(scan.n_coils, recipe.recon.n_virtual_coils or scan.n_coils)
    size = (scan.shape[2], scan.shape[3])
    points = sampled[0].ndim == 2
    worst = max(acceleration(mask) for mask in sampled)
    limits = card.limits if card is not None else {}
    conditions = (
        _condition("acceleration", worst, limits.get("points" if points else "acceleration")),
        _condition("coils used", n_coils, limits.get("n_coils")),
        _condition("readout", size[0], limits.get("size")),
        _condition("phase encodes", size[1], limits.get("size")),
    )
    reasons = scan_reasons(sampled, n_coils, size, recipe.recon, card)
    header = {
        "slices": scan.n_slices,
        "coils": scan.n_coils,
        "matrix": list(scan.geometry.matrix),
        "spacing_mm": list(scan.geometry.spacing_mm),
        "geometry_known": scan.geometry.known,
        "three_dimensional": scan.sequence.three_dimensional,
        "protocol": scan.sequence.protocol,
        "vendor": scan.sequence.system_vendor,
        "field_strength_t": scan.sequence.field_strength_t,
        "repetition_time_ms": scan.sequence.repetition_time_ms,
        "echo_time_ms": scan.sequence.echo_time_ms,
        "averages": scan.n_averages,
        "noise_measured": scan.whitened,
    }
    limit = TimeLimit(stage_s=config.recon.stage_limit_s, slice_s=config.recon.slice_limit_s)
    return ScanExplained(
        contrast=scan.contrast,
        repetition=scan.repetition,
        header=header,
        pipelines=tuple(explain([Rule.of(p.name, p.only.conditions()) for p in config.pipelines], facts)),
        used={
            "pipeline": recipe.rule,
            "method": recipe.recon.method.value,
            "fallback": recipe.recon.fallback.value,
            "lesion": recipe.recon.lesion.value,
            "weights": card.name if card is not None else None,
            "outputs": _outputs(recipe),
            "destinations": [name for name, goes in recipe.routed.items() if goes],
        },
        conditions=conditions,
        fallback_because=tuple((reason.code, reason.message) for reason in reasons),
        expected_s=_expected_s(config, recipe, scan.n_slices),
        limit_s=limit.of({"n_slices": scan.n_slices}),
    )


def _outputs(recipe: Recipe) -> list[str]:
    """Roles in their order; only the network has others than the image and what is made of it."""
    options = SiteOptions(**dict(recipe.objects))
    without = (Role.FALLBACK, Role.CORRECTED, Role.SUMMARY)
    roles = Role if recipe.recon.method is Method.LF_MRI else without
    return [role.value for role in roles if options.makes(role)]


def _condition(name: str, value: float, limits: tuple[float, float] | None) -> Condition:
    low, high = limits if limits is not None else (None, None)
    return Condition(name=name, value=round(float(value), 3), low=low, high=high)


def _expected_s(config: Config, recipe: Recipe, n_slices: int) -> float | None:
    """Slices times the median time of a slice of scans on record with this method."""
    where = databases_of(config).table
    if not has_tables(where):
        return None
    with closing(Figures(where)) as table:
        per_slice = table.seconds_per_slice(recipe.recon.method.value)
    return round(median(per_slice) * n_slices, 1) if per_slice else None
