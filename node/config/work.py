"""How scans are reconstructed, what becomes of them, and how long what is kept."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from lfmri_node.node.backoff import Backoff, Patience
from lfmri_node.node.config.kinds import Days, FilePath, Gigabytes, LongString, Seconds, Section
from lfmri_node.recon.settings import VIRTUAL_COILS, Device, LesionWeighting, Method, Precision, ReconSettings


class ReconSection(Section):
    """Method, weights, and the limits of the worker process."""

    method: Annotated[Method, Field(strict=False)] = Method.LF_MRI
    lesion: Annotated[LesionWeighting, Field(strict=False)] = LesionWeighting.FOCUSED
    fallback: Annotated[Method, Field(strict=False)] = Method.WAVELET
    always_fallback: bool = False
    n_virtual_coils: Annotated[int, Field(ge=1, le=1024)] = VIRTUAL_COILS
    weights: FilePath | None = None
    weights_sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None = None
    device: Annotated[Device, Field(strict=False)] = Device.AUTO
    precision: Annotated[Precision, Field(strict=False)] = Precision.AUTO
    threads: Annotated[int, Field(ge=0, le=1024)] = 0
    memory_limit_gb: Annotated[Gigabytes, Field(ge=1)] | None = None
    stage_limit_s: Seconds = 300.0
    slice_limit_s: Seconds = 30.0
    max_crashes: Annotated[int, Field(ge=1, le=1000)] = 3
    sandbox: Literal["auto", "required", "off"] = "auto"

    def settings(self) -> ReconSettings:
        """What `recon.reconstruct` is asked for."""
        return ReconSettings(
            method=self.method,
            lesion=self.lesion,
            fallback=self.fallback,
            always_fallback=self.always_fallback,
            n_virtual_coils=self.n_virtual_coils,
        )


class ObjectsSection(Section):
    """What a site chooses about the DICOM objects; see `dicom_io.objects.attributes.SiteOptions`."""

    device_serial_number: LongString = "1"
    first_series_number: Annotated[int, Field(ge=1, le=100_000)] = 9001
    fused: bool = True
    receive_field_correction: bool = False
    summary: bool = False


class RetrySection(Section):
    """Waiting times between tries after transient failures, and when they end; 0: never."""

    base_s: Seconds = 5.0
    cap_s: Seconds = 900.0
    max_attempts: Annotated[int, Field(ge=0, le=1_000_000)] = 0
    give_up_days: Days = 0.0

    @model_validator(mode="after")
    def _in_order(self) -> RetrySection:
        if self.cap_s < self.base_s:
            raise ValueError("cap_s is shorter than base_s")
        return self

    def backoff(self) -> Backoff:
        return Backoff(base_s=self.base_s, cap_s=self.cap_s)

    def patience(self) -> Patience:
        return Patience(max_attempts=self.max_attempts, days=self.give_up_days)


class RetentionSection(Section):
    """How long what is kept; without a limit nothing of a scan is ever deleted."""

    raw_days: Days | None = None
    results_days: Days | None = None
    quarantined_days: Days | None = None
    incomplete_days: Days | None = None
    records_days: Days | None = None
    max_total_gb: Annotated[Gigabytes, Field(gt=0)] | None = None
    workflows_days: Days = 30.0


class LoggingSection(Section):
    """How much is logged; stderr always, a file where one is named, renamed when it is full."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["text", "json"] = "text"
    file: FilePath | None = None
    max_mb: Annotated[Gigabytes, Field(ge=0.01)] = 10.0
    keep: Annotated[int, Field(ge=1, le=1000)] = 5
