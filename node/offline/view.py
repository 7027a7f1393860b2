"""``lfmri-node reconstruct``: from options to a run, and the summary that it prints."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from lfmri_node.node.jobs.recipe import Recipe
from lfmri_node.node.offline.explain import Explanation
from lfmri_node.node.offline.orient import Findings
from lfmri_node.node.offline.pictures import TITLES
from lfmri_node.node.offline.reconstruct import Outcome, reconstruct_file
from lfmri_node.node.terminal.steps import Steps
from lfmri_node.node.terminal.tables import console, print_json, print_table
from lfmri_node.recon.metrics import ImageQuality
from lfmri_node.recon.settings import Device, Precision


def run_offline(
    source: Path,
    out: Path,
    recipe: Recipe,
    *,
    given: Mapping[str, str],
    group: str | None = None,
    device: Device = Device.CPU,
    precision: Precision = Precision.AUTO,
) -> list[Outcome]:
    """Reconstruct ``source``; progress on stderr."""
    with Steps() as steps:
        return reconstruct_file(
            source,
            out,
            recipe=recipe,
            given=given,
            show=steps.show,
            group=group,
            device=device,
            precision=precision,
        )


def print_outcomes(outcomes: Sequence[Outcome], out: Path, *, as_json: bool) -> None:
    """The summary: one JSON document, or a table for each scan."""
    if as_json:
        print_json({"out": str(out), "scans": [outcome.to_json() for outcome in outcomes]})
        return
    for outcome in outcomes:
        _print_outcome(outcome, several=len(outcomes) > 1)
    console().print("Research use only. Not for diagnosis.", style="bold")


def _print_outcome(outcome: Outcome, *, several: bool) -> None:
    found = outcome.found
    title = f"contrast {outcome.contrast}, repetition {outcome.repetition}" if several else "reconstruction"
    rows: list[tuple[object, object]] = [
        ("verdict", found["verdict"]),
        ("method of the delivered image", found["method"]),
        ("weights", found["weights"] or "none"),
        ("computed on", found["device"]),
        ("matrix (slices, rows, columns)", found["matrix"]),
        ("acceleration", f"{found['acceleration']:.2f}"),
        ("data residual", f"{found['data_residual']:.4f}"),
    ]
    reasons = found["reasons"]
    assert isinstance(reasons, list)
    rows += [(f"reason {reason['code']}", reason["message"]) for reason in reasons]
    notes = found["device_notes"]
    assert isinstance(notes, list)
    rows += [("memory", note) for note in notes]
    rows += lesion_rows(found)
    rows.append(("orientation", str(found["orientation"]).removeprefix("Orientation: ")))
    if not outcome.geometry_known:
        rows.append(("GEOMETRY UNKNOWN", "the header's directions are unusable; positions are a stand-in"))
    if not outcome.identity_known:
        rows.append(("IDENTITY UNKNOWN", "the header names no patient; give --patient-id or --identity"))
    rows += [(f"seconds, {stage}", f"{seconds:.2f}") for stage, seconds in outcome.seconds.items()]
    print_table(title, ("", ""), rows)
    if outcome.quality:
        print_quality(outcome.quality)
    folder = outcome.objects[0].path.parent
    console().print(f"{len(outcome.objects)} DICOM objects in {folder}", markup=False, soft_wrap=True)
    for path in outcome.pictures:
        console().print(f"picture {path}", markup=False, soft_wrap=True)


def print_explanation(found: Explanation, *, as_json: bool) -> None:
    """What `explain` found: one JSON document, or tables."""
    if as_json:
        print_json(found.to_json())
        return
    rows: list[tuple[object, object]] = [("identity", _IDENTITY[found.identity])]
    if found.missing:
        rows.append(("HELD", f"nobody names {', '.join(found.missing)}; see `lfmri-node assign`"))
    rows += [(name, _words(value)) for name, value in found.reader.items()]
    if found.refused is not None:
        rows.append((f"REFUSED {found.refused['code']}", found.refused["message"]))
        rows.append(("what to do", found.refused["hint"]))
    print_table("what the node would do", ("", ""), rows)
    for scan in found.scans:
        title = f"contrast {scan.contrast}, repetition {scan.repetition}"
        rows = [(name, _words(value)) for name, value in scan.header.items()]
        rows += [(f"pipeline {a.rule} {'fits' if a.fits else 'does not fit'}", a.why) for a in scan.pipelines]
        rows += [(name, _words(value or None)) for name, value in scan.used.items()]
        rows += [(f"falls back {code}", text) for code, text in scan.fallback_because]
        rows.append(("expected", "unknown" if scan.expected_s is None else f"{scan.expected_s:g} s"))
        rows.append(("a stage is stopped after", f"{scan.limit_s:g} s"))
        print_table(title, ("", ""), rows)
        print_table(
            "beside what the network was trained on",
            ("condition", "this scan", "from", "to", "inside"),
            [(c.name, f"{c.value:g}", c.low, c.high, _INSIDE[c.inside]) for c in scan.conditions],
            right=("this scan", "from", "to"),
        )
    console().print("Noise, coils and motion are measured when it is reconstructed.", markup=False)


_IDENTITY = {
    "dicom": "from the DICOM attributes",
    "header": "from the ISMRMRD header",
}
_INSIDE = {True: "yes", False: "NO", None: "no range"}


def _words(value: object) -> object:
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    return "none" if value is None else value


def lesion_rows(found: Mapping[str, object]) -> list[tuple[object, object]]:
    """What `stages.findings` says of the lesion map, with gate and threshold; no row without a map."""
    if found.get("lesion_map") is None:
        return []
    return [
        ("lesion map", found["lesion_map"]),
        ("gate (slice score)", f"{found['lesion_gate']:.3g}"),
        ("threshold (activation)", f"{found['lesion_threshold']:.3g}"),
    ]


def print_quality(quality: Mapping[str, ImageQuality]) -> None:
    """Figures of each kind of image against the truth."""
    print_table(
        "against the truth (range: maximum of the truth volume)",
        ("image", "PSNR dB", "SSIM"),
        [(TITLES[kind], f"{figure.psnr_db:.2f}", f"{figure.ssim:.4f}") for kind, figure in quality.items()],
        right=("PSNR dB", "SSIM"),
    )


def print_findings(found: Findings, *, as_json: bool) -> None:
    """What `orient` found: one JSON document, or a table and the lines for ``config.toml``."""
    document = found.to_json()
    if as_json:
        print_json(document)
        return
    candidates = document["candidates"]
    assert isinstance(candidates, list)
    print_table(
        f"conventions for {found.calling_ae}",
        ("", "keys", "correlation", "best against it", "standard errors"),
        [
            (
                number,
                ", ".join(f"{name} = {json.dumps(value)}" for name, value in one["keys"].items())
                or "(defaults)",
                *(_rounded(one[name]) for name in ("correlation", "evidence_against", "standard_errors")),
            )
            for number, one in enumerate(candidates, start=1)
        ],
        right=("correlation", "best against it", "standard errors"),
    )
    out = console()
    if found.picture is not None:
        out.print(f"picture {found.picture}", markup=False, soft_wrap=True)
    if found.right is not None:
        y, x = found.likeness.displacement_mm if found.likeness is not None else (0.0, 0.0)
        out.print(f"the scanner's images lie {y:+.1f} mm (down), {x:+.1f} mm (right) beside ours")
        agrees = (
            "config.toml reads it so already"
            if found.agrees(found.right)
            else "config.toml reads it otherwise"
        )
        out.print(f"{agrees}; its lines, in place of what it says of this gateway:", markup=False)
        out.print(str(document["config"]), markup=False, soft_wrap=True)


def _rounded(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"
