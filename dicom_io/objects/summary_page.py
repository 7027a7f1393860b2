"""What stands on the summary page of a job: verdict, figures, marks, pictures, series. No patient."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from lfmri_node.dicom_io.objects import texts
from lfmri_node.dicom_io.objects.attributes import ObjectJob, SiteOptions
from lfmri_node.dicom_io.objects.codes import Role
from lfmri_node.dicom_io.objects.colour import fuse, two_colours
from lfmri_node.dicom_io.objects.intensity import LARGEST_STORED, Scaling, Window
from lfmri_node.dicom_io.objects.marks import Mark
from lfmri_node.dicom_io.objects.pdf import (
    Block,
    Columns,
    Heading,
    Picture,
    Pictures,
    Scale,
    Table,
    Text,
    one_page,
)
from lfmri_node.dicom_io.objects.plane import patient_orientation
from lfmri_node.recon.types import Complex, Figure, LesionMap, Method, Real, Reconstruction, Verdict

TITLE = "RESEARCH ONLY - summary of a reconstruction"
NO_PATIENT = (
    "This page names no patient. Whose it is stands in the header of the DICOM object that holds it: printed"
    " or exported, nothing tells any more."
)
_MOST_REASONS, _MOST_MARKS = 10, 8
_LONGEST_REASON = 240
_COLOURS = 255
"""Of a scale; odd, so that there is one for no change."""


def summary_pdf(
    job: ObjectJob,
    series: Mapping[Role, int],
    marks: Sequence[Mark],
    s: int,
    *,
    scaling: Scaling,
    window: Window,
) -> bytes:
    """The page as PDF; same arguments, same bytes.

    Parameters
    ----------
    series
        How many objects each series of the job has.
    s
        Slice of the pictures, from 0.
    scaling, window
        Of the job's images.
    """
    reconstruction = job.reconstruction
    blocks: list[Block] = [
        Heading(text=_title(job)),
        Text(text=NO_PATIENT, quiet=True),
        *_verdict(reconstruction),
        Columns(
            columns=((Heading(text="Scan"), _scan(job)), (Heading(text="Quality"), _figures(reconstruction)))
        ),
        *_marked(job, marks),
        Heading(text=_of_slice(reconstruction, s)),
        _pictures(job, s, scaling, window),
        Heading(text="What each series is"),
        _series(job, series),
        *(Text(text=line, quiet=True) for line in _provenance(job)),
    ]
    return one_page(TITLE, _banner(reconstruction), blocks)


def slice_to_show(reconstruction: Reconstruction) -> int:
    """From 0: the highest score, then the strongest activation; without a map the middle one."""
    lesion, n_slices = reconstruction.lesion, reconstruction.geometry.matrix[0]
    if lesion is None:
        return n_slices // 2
    strongest = lesion.activation.max(axis=(1, 2))
    middle = -np.abs(np.arange(n_slices) - n_slices // 2)
    return int(np.lexsort((middle, strongest, lesion.scores.max(axis=1)))[-1])


def _banner(reconstruction: Reconstruction) -> list[str]:
    lines = ["RESEARCH ONLY - NOT FOR DIAGNOSIS"]
    if reconstruction.quality.verdict is Verdict.FALLBACK:
        lines.append("FALLBACK: these are not images of the network")
    if reconstruction.lesion is not None and not reconstruction.lesion.validated:
        lines.append(texts.NOT_VALIDATED)
    return lines


def _title(job: ObjectJob) -> str:
    return " - ".join(filter(None, ("Summary of a reconstruction", texts.long_string(job.protocol))))


def _verdict(reconstruction: Reconstruction) -> list[Block]:
    quality, name = reconstruction.quality, texts.method_name(reconstruction.provenance.method)
    if quality.verdict is not Verdict.FALLBACK:
        trusted = (
            "TRUSTED: the scan is like those that the network was trained for, and its image fits the data."
            if reconstruction.provenance.method is Method.LF_MRI
            else f"{quality.verdict}: {name}, without a network, as the site asks."
        )
        return [Text(text=trusted, bold=True)]
    reasons = [_cut(sentence) for sentence in texts.reason_sentences(quality)]
    rest = len(reasons) - _MOST_REASONS
    more = [f"{rest} more: all stand in the images' comments."] if rest > 0 else []
    head = f"FALLBACK: the images are a classical reconstruction ({name}), not the network's, because:"
    lines = [*reasons[:_MOST_REASONS], *more, *texts.choice_of_fallback(reconstruction)]
    return [Text(text=head, bold=True), *(Text(text=line) for line in lines)]


def _cut(sentence: str) -> str:
    return sentence if len(sentence) <= _LONGEST_REASON else f"{sentence[:_LONGEST_REASON]}..."


def _scan(job: ObjectJob) -> Table:
    reconstruction = job.reconstruction
    sequence, geometry, attributes = reconstruction.sequence, reconstruction.geometry, job.context.attributes
    scanner = (job.context.equipment.manufacturer, job.context.equipment.model_name)
    n_slices, rows, columns = geometry.matrix
    between, spacing_y, spacing_x = geometry.spacing_mm
    facts = {
        "Protocol": texts.long_string(job.protocol),
        "Body part": str(attributes.get("BodyPartExamined") or ""),
        "Scanner": " ".join(filter(None, scanner)),
        "Field": _number(sequence.field_strength_t, "T"),
        "Sequence": sequence.sequence_name or "",
        "TR": _number(sequence.repetition_time_ms, "ms"),
        "TE": _number(sequence.echo_time_ms, "ms"),
        "TI": _number(sequence.inversion_time_ms, "ms"),
        "Flip angle": _number(sequence.flip_angle_deg, "degrees"),
        "Images": f"{n_slices} of {rows} x {columns}, {'3-D' if sequence.three_dimensional else '2-D'}",
        "Voxel": f"{spacing_y:.3g} x {spacing_x:.3g} mm, {geometry.thickness_mm:.3g} mm thick",
        "Distance": f"{between:.3g} mm from slice to slice" if n_slices > 1 else "",
        "Contrast, repetition": f"{job.key.contrast}, {job.key.repetition}",
        "Place": "" if geometry.known else "GEOMETRY UNKNOWN: positions are a stand-in",
    }
    return Table(rows=tuple((name, value) for name, value in facts.items() if value), shares=(1, 2.4))


def _figures(reconstruction: Reconstruction) -> Table:
    quality = reconstruction.quality
    delivered = Figure(name="data residual of the delivered image", value=quality.data_residual)
    figures = quality.figures or (Figure(name="acceleration", value=quality.acceleration),)
    rows = tuple(
        (
            figure.name,
            f"{figure.value:.3g}",
            limits := figure.range_in_words,
            f"{figure.n_outside}" if limits else "",
        )
        for figure in (*figures, delivered)
    )
    if any(limits for _, _, limits, _ in rows):
        head = ("worst slice", "value", "trained for", "slices outside")
        return Table(head=head, rows=rows, shares=(2.7, 0.9, 1.3, 1.3))
    without = tuple(row[:2] for row in rows)
    return Table(
        head=("worst slice (no range: no network was asked for)", "value"), rows=without, shares=(4, 1)
    )


def _where_marks_stand(site: SiteOptions) -> str:
    places = {Role.REPORT: "in the lesion list", Role.SEGMENTATION: "in the segmentation"}
    return " and ".join(text for role, text in places.items() if site.makes(role)) or "in no object"


def _marked(job: ObjectJob, marks: Sequence[Mark]) -> list[Block]:
    lesion = job.reconstruction.lesion
    if lesion is None:
        return [Heading(text="Lesion map"), Text(text=texts.NO_MAP, bold=True)]
    blocks: list[Block] = [Heading(text="Lesion map"), Text(text=texts.count_of_marks(len(marks)), bold=True)]
    if marks:
        blocks.append(_table_of(marks[:_MOST_MARKS]))
    if len(marks) > _MOST_MARKS:
        blocks.append(
            Text(text=f"The {len(marks) - _MOST_MARKS} smallest stand {_where_marks_stand(job.site)}.")
        )
    limits, *_ = texts.of_the_map(lesion)
    unchanged = job.reconstruction.reference is not None and not job.reference_differs
    sentences = [
        limits,
        "An activation is no probability of disease.",
        *([texts.UNCHANGED] if unchanged else []),
    ]
    return [*blocks, Text(text=" ".join(sentences))]


def _table_of(marks: Sequence[Mark]) -> Table:
    rows = tuple(
        (
            f"{mark.number}",
            "-".join(dict.fromkeys(f"{s + 1}" for s in mark.slices)),
            "instance {}, row {}, column {}".format(*(i + 1 for i in mark.peak)),
            texts.position(mark.centre_mm),
            f"{mark.volume_mm3:.0f}",
            f"{mark.maximum_activation:.2f}",
            f"{mark.score:.2f}",
        )
        for mark in marks
    )
    head = ("mark", "instances", "highest activation at", "centre", "mm3", "activation", "slice score")
    return Table(head=head, rows=rows, shares=(0.6, 1, 2.6, 2.4, 0.9, 1, 1.1))


def _of_slice(reconstruction: Reconstruction, s: int) -> str:
    n_slices, lesion = reconstruction.geometry.matrix[0], reconstruction.lesion
    why = "the middle one" if lesion is None else f"highest score, {float(lesion.scores[s].max()):.3g}"
    return f"Instance {s + 1} of {n_slices}: {why}"


def _pictures(job: ObjectJob, s: int, scaling: Scaling, window: Window) -> Pictures:
    reconstruction = job.reconstruction
    geometry, lesion = reconstruction.geometry, reconstruction.lesion
    reference = reconstruction.reference if job.reference_differs else None
    name = texts.method_name(reconstruction.provenance.method)
    image = _grey(reconstruction.image[s], scaling, window)
    right, below = patient_orientation(geometry) if geometry.known else ("?", "?")
    where = f"{name}; right side {right}, lower side {below}"
    pictures = [Picture(pixels=_u8(image), caption=where)]
    if lesion is not None and reconstruction.fallback is not None:
        fallback = _grey(reconstruction.fallback[s], scaling, window)
        by = texts.method_name(reconstruction.provenance.fallback or Method.WAVELET)
        pictures.insert(0, Picture(pixels=_u8(fallback), caption=f"Fallback ({by}), same grey window"))
    elif reference is not None:
        plain = _grey(reference[s], scaling, window)
        pictures.insert(0, Picture(pixels=_u8(plain), caption="Reference: lesion term off, same grey window"))
    if lesion is not None:
        pictures.append(_map_picture(lesion, s, image))
    if reference is not None:
        white = window.white * scaling.slope
        pictures.append(_change_picture(reconstruction.image, reference, s, white))
    _, rows, columns = geometry.matrix
    _, spacing_y, spacing_x = geometry.spacing_mm
    return Pictures(pictures=tuple(pictures), aspect=rows * spacing_y / (columns * spacing_x))


def _map_picture(lesion: LesionMap, s: int, image: Real) -> Picture:
    caption = "Activation in colour over the image, outline at the threshold"
    ramp = np.linspace(0.0, 1.0, _COLOURS, dtype=np.float32)[None]
    scale = Scale(colours=fuse(np.full_like(ramp, 0.5), ramp)[0], labels=("0", "activation", "1"))
    return Picture(
        pixels=fuse(image, lesion.activation[s], outline=lesion.mask[s]),
        caption=caption if lesion.validated else f"{caption}. NOT VALIDATED",
        scale=scale,
    )


def _change_picture(image: Complex, reference: Complex, s: int, white: float) -> Picture:
    """``white``: what is white in the grey pictures, in the unit of ``image``."""
    change = (np.abs(image) - np.abs(reference)).astype(np.float32)
    largest = float(np.abs(change).max())
    return Picture(
        pixels=two_colours(change[s], largest),
        caption="Change by the lesion term: orange more, blue less signal;"
        f" white of the grey pictures is {white:.3g}",
        scale=Scale(
            colours=two_colours(np.linspace(-1.0, 1.0, _COLOURS, dtype=np.float32), 1.0),
            labels=(f"-{largest:.3g}", "0, images' unit", f"+{largest:.3g}"),
        ),
    )


def _grey(plane: Complex, scaling: Scaling, window: Window) -> Real:
    """Grey in [0, 1] of a slice c64 (y, x), as a viewer shows the stored image."""
    stored = np.minimum(np.rint(np.abs(plane) / scaling.slope), LARGEST_STORED)
    return window.apply(stored.astype(np.uint16))


def _u8(grey: Real) -> np.ndarray:
    return np.rint(grey * 255).astype(np.uint8)


def _series(job: ObjectJob, series: Mapping[Role, int]) -> Table:
    reconstruction = job.reconstruction
    rows = tuple(
        (
            f"{job.series_number(role)}",
            texts.series_description(reconstruction, job.key, role, job.protocol),
            f"{count}",
            texts.subject(reconstruction, role),
        )
        for role, count in series.items()
    )
    return Table(head=("number", "series", "objects", "content"), rows=rows, shares=(0.6, 3, 0.6, 3.6))


def _provenance(job: ObjectJob) -> list[str]:
    provenance = job.reconstruction.provenance
    weights = (
        f"Weights {provenance.weights_name or 'unnamed'}, SHA-256 {provenance.weights_sha256}."
        if provenance.weights_sha256
        else "No trained weights."
    )
    return [
        f"Software lfmri-node {job.software_version}; {provenance.settings}. {weights}"
        f" Raw data (ISMRMRD) SHA-256 {provenance.source_sha256}. {provenance.convention.describe()}"
        f" Job {job.key.hex[:12]}, objects of {job.moment:%Y-%m-%d %H:%M:%S %z}.",
    ]


def _number(value: float | None, unit: str) -> str:
    return "" if value is None else f"{value:.4g} {unit}"
