"""Conditions by which scans are told apart, and what is done with those that meet them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from lfmri_node.node.config.kinds import FilePath, Name, Section
from lfmri_node.node.rules import Rule
from lfmri_node.recon.settings import LesionWeighting, Method


def _as_list(value: object) -> object:
    return (value,) if isinstance(value, str) else value


def _range(value: tuple[float, float]) -> tuple[float, float]:
    if value[0] > value[1]:
        raise ValueError("a range is [low, high]")
    return value


_Pattern = Annotated[str, Field(min_length=1, max_length=64)]
_Number = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Patterns = Annotated[tuple[_Pattern, ...], Field(min_length=1, strict=False), BeforeValidator(_as_list)]
Range = Annotated[tuple[_Number, _Number], Field(strict=False), AfterValidator(_range)]


class OnlySection(Section):
    """Conditions of which every one that is given has to be met; see `lfmri_node.node.rules.Facts`."""

    calling_ae: Patterns | None = None
    protocol: Patterns | None = None
    series_description: Patterns | None = None
    sequence: Patterns | None = None
    body_part: Patterns | None = None
    manufacturer: Patterns | None = None
    model: Patterns | None = None
    serial_number: Patterns | None = None
    station: Patterns | None = None
    institution: Patterns | None = None
    field_strength_t: Range | None = None
    repetition_time_ms: Range | None = None
    echo_time_ms: Range | None = None
    inversion_time_ms: Range | None = None
    flip_angle_deg: Range | None = None
    three_dimensional: bool | None = None

    def conditions(self) -> dict[str, object]:
        """Those that are given, JSON-able."""
        return self.model_dump(mode="json", exclude_none=True)

    def rule(self, name: str) -> Rule:
        """Them as a rule."""
        return Rule.of(name, self.conditions())


Output = Literal[
    "lf-mri",
    "reference",
    "difference",
    "map",
    "segmentation",
    "fused",
    "report",
    "fallback",
    "corrected",
    "summary",
]
"""Values of `lfmri_node.dicom_io.objects.codes.Role`, whose import takes longer than a command may."""


def _series(outputs: tuple[Output, ...]) -> tuple[Output, ...]:
    if len(set(outputs)) != len(outputs):
        raise ValueError("every series is named once")
    if not {"lf-mri", "fallback"} & set(outputs):
        raise ValueError(
            "the image itself cannot be left out: name 'lf-mri', or 'fallback' of another method"
        )
    if "report" in outputs and "segmentation" not in outputs:
        raise ValueError("'report' needs 'segmentation': its marks are segments of it")
    return outputs


Outputs = Annotated[tuple[Output, ...], Field(strict=False), AfterValidator(_series)]
_SWITCHES = ("fused", "receive_field_correction", "summary")


class PipelineSection(Section):
    """What is done with scans that meet ``only``, where it differs from ``[recon]`` and ``[objects]``."""

    name: Name
    only: OnlySection
    method: Annotated[Method, Field(strict=False)] | None = None
    lesion: Annotated[LesionWeighting, Field(strict=False)] | None = None
    fallback: Annotated[Method, Field(strict=False)] | None = None
    n_virtual_coils: Annotated[int, Field(ge=1, le=1024)] | None = None
    weights: FilePath | None = None
    weights_sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None = None
    fused: bool | None = None
    receive_field_correction: bool | None = None
    summary: bool | None = None
    outputs: Outputs | None = None
    destinations: Annotated[tuple[Name, ...], Field(strict=False)] | None = None

    @model_validator(mode="after")
    def _weights_are_used(self) -> PipelineSection:
        if self.weights is None and self.weights_sha256 is not None:
            raise ValueError("weights_sha256 belongs to weights")
        if self.weights is not None and self.method not in (None, Method.LF_MRI):
            raise ValueError(f"method '{self.method}' uses no weights")
        return self

    @model_validator(mode="after")
    def _series_are_said_once(self) -> PipelineSection:
        said = [name for name in _SWITCHES if getattr(self, name) is not None]
        if self.outputs is not None and said:
            raise ValueError(f"outputs names every series that is made: leave out {', '.join(said)}")
        return self


def require_known(pipelines: Sequence[PipelineSection], destinations: Sequence[str]) -> None:
    """Check that pipelines have names of their own and name destinations that there are.

    Raises
    ------
    ValueError
    """
    names = [pipeline.name for pipeline in pipelines]
    if len(set(names)) != len(names):
        raise ValueError("pipelines: every pipeline needs its own name")
    for pipeline in pipelines:
        unknown = sorted(set(pipeline.destinations or ()) - set(destinations))
        if unknown:
            raise ValueError(f"pipelines '{pipeline.name}': no destination is called {', '.join(unknown)}")
