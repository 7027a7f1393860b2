"""The sentences in our objects, cut to what its value representation holds (PS3.5 section 6.2)."""

from __future__ import annotations

import re
from collections.abc import Sequence

from lfmri_node.dicom_io.objects.codes import Role
from lfmri_node.dicom_io.objects.marks import Mark
from lfmri_node.dicom_io.uids import JobKey
from lfmri_node.recon.types import (
    Figure,
    LesionMap,
    Method,
    Provenance,
    Quality,
    Reconstruction,
    Vector,
    Verdict,
)

_LO, _ST, _LT = 64, 1024, 10240
_ELLIPSIS = "..."
_SHORTEST_CUT = 8
_CONTROL = re.compile(r"[\x00-\x1f\x7f\\]+")
_METHOD_NAMES = {
    Method.LF_MRI: "LF-MRI",
    Method.WAVELET: "Wavelet SENSE",
    Method.L1_WAVELET: "L1-wavelet",
    Method.CG_SENSE: "CG-SENSE",
    Method.ZERO_FILLED: "zero-filled",
}
_NAMES = {
    Role.LF_MRI: "LF-MRI",
    Role.REFERENCE: "LF-MRI reference",
    Role.DIFFERENCE: "LF-MRI change",
    Role.MAP: "Activation map",
    Role.SEGMENTATION: "Activation SEG",
    Role.FUSED: "Activation fused",
    Role.REPORT: "Lesion list",
    Role.SUMMARY: "Summary",
}
_OF_THE_MAP = (Role.MAP, Role.SEGMENTATION, Role.FUSED, Role.REPORT, Role.SUMMARY)
_CONTENT = {Role.MAP: "Class activation", Role.SEGMENTATION: "Thresholded activation"}
UNCHANGED = "The lesion term changed nothing: no reference and no difference are sent."
DIFFERENCE_CONTENT = "What the lesion term changed, in the images' unit"
NOTHING_MARKED = "nothing was marked; this does not exclude a lesion"
NO_MAP = "No lesion map was made: only images of the network have one. This does not exclude a lesion."
NOT_VALIDATED = "NOT VALIDATED: the lesion map has not reached its aims on real lesions of held-out patients."


def long_string(text: str) -> str:
    """``text`` as one LO value: control characters and backslashes become spaces; at most 64 characters."""
    return _fit(_CONTROL.sub(" ", text).strip(), _LO)


def short_text(text: str) -> str:
    """``text`` as ST: at most 1024 characters."""
    return _fit(text, _ST)


def long_text(text: str) -> str:
    """``text`` as LT: at most 10240 characters."""
    return _fit(text, _LT)


def _fit(text: str, limit: int) -> str:
    """At most ``limit`` bytes of UTF-8: the standard counts characters, but dciodvfy bytes."""
    encoded = text.encode("utf-8")
    if len(encoded) <= limit:
        return text
    return encoded[: limit - len(_ELLIPSIS)].decode("utf-8", errors="ignore") + _ELLIPSIS


def method_name(method: Method) -> str:
    """The method as readers know it."""
    return _METHOD_NAMES[method]


def series_description(reconstruction: Reconstruction, key: JobKey, role: Role, protocol: str) -> str:
    """What a reader sees in the list of series; what restricts its use stands first, viewers cut the end off.

    RESEARCH always; NOT VALIDATED while the model card's figures on real lesions do not reach their aims;
    FALLBACK where the network was not trusted. Then what it is, and of the rest what there is room for, in
    this order of worth: GEOMETRY UNKNOWN where positions are a stand-in; C and R, the numbers of contrast and
    repetition, where the measurement has more than the first; the weights, so that re-runs can be told apart;
    the source's protocol.
    """
    lesion, provenance = reconstruction.lesion, reconstruction.provenance
    words = [
        "RESEARCH",
        "NOT VALIDATED" if role in _OF_THE_MAP and lesion is not None and not lesion.validated else "",
        "FALLBACK" if reconstruction.quality.verdict is Verdict.FALLBACK else "",
        _NAMES.get(role) or _name_of_images(provenance.method, role),
    ]
    scan = f"C{key.contrast}R{key.repetition}" if key.contrast or key.repetition else ""
    place = "" if reconstruction.geometry.known else "GEOMETRY UNKNOWN"
    head, protocol = " ".join(word for word in words if word), long_string(protocol)
    tail = " ".join(word for word in (place, scan) if word)
    for word in (long_string(provenance.weights_name or ""), protocol):
        room = _LO - len(f"{head} {tail}".strip()) - 1
        if word and room >= min(len(word), _SHORTEST_CUT):
            tail = f"{tail} {_fit(word, room)}".strip()
    return long_string(f"{head} {tail}".strip())


def _name_of_images(method: Method, role: Role) -> str:
    return f"{method_name(method)} intensity corrected" if role is Role.CORRECTED else method_name(method)


def image_comments(
    reconstruction: Reconstruction, role: Role, software_version: str, *, reference_differs: bool
) -> str:
    """(0020,4000): what the picture is, how far to trust it, and why it is a fallback where it is one."""
    quality = reconstruction.quality
    unchanged = reconstruction.reference is not None and not reference_differs
    sentences = [
        "For research use only, not for diagnosis.",
        *(_reasons(quality) if quality.verdict is Verdict.FALLBACK else ()),
        f"{subject(reconstruction, role)}.",
        *_correction(reconstruction, role),
        *([UNCHANGED] if unchanged else []),
        *([NO_MAP] if reconstruction.provenance.method is not Method.LF_MRI else []),
        *of_the_map(reconstruction.lesion),
        f"Software lfmri-node {software_version}; {reconstruction.provenance.settings}.",
        f"Verdict {quality.verdict}; acceleration {quality.acceleration:.3g};"
        f" data residual {quality.data_residual:.3g}.",
        *choice_of_fallback(reconstruction),
        *_computed_on(reconstruction),
        reconstruction.provenance.convention.describe(),
    ]
    if not reconstruction.geometry.known:
        sentences.append("The measurement names no usable position; the positions here are a stand-in.")
    return long_text(" ".join(sentences))


def derivation_description(reconstruction: Reconstruction, role: Role, rule: str = "") -> str:
    """(0008,2111): the derivation in one sentence, the reasons of a fallback, and the limits of a map.

    ``rule``: name of the site's rule by which it was made so.
    """
    quality = reconstruction.quality
    reasons = _reasons(quality) if quality.verdict is Verdict.FALLBACK else []
    sentence = (
        f"{subject(reconstruction, role)}, from ISMRMRD k-space,"
        f" acceleration {quality.acceleration:.3g}, data residual {quality.data_residual:.3g};"
        f" {reconstruction.provenance.settings}{f'; rule {rule}' if rule else ''}."
    )
    orientation = reconstruction.provenance.convention.describe()
    correction = _correction(reconstruction, role)
    sentences = [*correction, *reasons, sentence, *of_the_map(reconstruction.lesion), orientation]
    return short_text(" ".join(sentences))


def content_description(lesion: LesionMap, role: Role) -> str:
    """(0070,0081) of map and segmentation: what it is, gate and threshold; or that nothing was marked."""
    if not lesion.mask.any():
        return long_string(_sentence(NOTHING_MARKED))
    return long_string(f"{_CONTENT[role]}, {_limits(lesion)}")


def legend_lines(lesion: LesionMap, s: int) -> list[str]:
    """Remarks under the colour picture of slice ``s`` (from 0); what is marked is told of that slice.

    As many for every slice, so that the pictures of a series have one size and readers take them as a volume.
    """
    lines = ["RESEARCH - NOT FOR DIAGNOSIS", f"Activation, outline at the threshold; {_limits(lesion)}"]
    if not lesion.validated:
        lines.append("Activation NOT VALIDATED")
    lines.append("Marked: what is outlined" if lesion.mask[s].any() else _sentence(NOTHING_MARKED))
    return lines


def map_summary(lesion: LesionMap) -> str:
    """What came of the lesion map, for a terminal and the headings of pictures."""
    n_voxels = int(lesion.mask.sum())
    summary = f"{n_voxels} voxels marked" if n_voxels else NOTHING_MARKED
    return summary if lesion.validated else f"{summary}; NOT VALIDATED"


def algorithm_name(provenance: Provenance) -> str:
    """What marks lesions, with its weights."""
    return long_string(f"LF-MRI activation, weights {provenance.weights_name or 'unnamed'}")


def place_of_mark(mark: Mark) -> str:
    """Where a mark is, for a person; instances are counted from 1 as the images are."""
    first, last = (s + 1 for s in mark.slices)
    instances = f"instance {first}" if first == last else f"instances {first} to {last}"
    s, y, x = mark.peak
    return (
        f"Mark {mark.number}: {instances}; highest activation {mark.maximum_activation:.2f}"
        f" at instance {s + 1}, row {y + 1}, column {x + 1}; centre at {position(mark.centre_mm)};"
        f" {mark.volume_mm3:.0f} mm3."
    )


def count_of_marks(n_marks: int) -> str:
    """How many regions were marked; where there is none, what that does not mean."""
    count = "1 region was marked" if n_marks == 1 else f"{n_marks} regions were marked"
    return f"{_sentence(count if n_marks else NOTHING_MARKED)}."


def report_sentences(reconstruction: Reconstruction, lesion: LesionMap, n_marks: int) -> list[str]:
    """What the report says in words, the most important first."""
    quality = reconstruction.quality
    return [
        count_of_marks(n_marks),
        "For research use only, not for diagnosis.",
        *of_the_map(lesion),
        f"Verdict {quality.verdict}; acceleration {quality.acceleration:.3g};"
        f" data residual {quality.data_residual:.3g}.",
        *(_figure_sentence(figure) for figure in quality.figures),
    ]


def _figure_sentence(figure: Figure) -> str:
    """A figure of the gate beside its range; of several slices it is the worst."""
    trained = f"trained for {figure.range_in_words}" if figure.range_in_words else "no range"
    places = "1 place" if figure.n_outside == 1 else f"{figure.n_outside} places"
    outside = f"; outside in {places}" if figure.n_outside else ""
    return f"Quality: {figure.name} {figure.value:.3g}; {trained}{outside}."


def contribution_description(reconstruction: Reconstruction) -> str:
    """(0018,A003) of the node: method, weights and source with their SHA-256, settings, orientation."""
    provenance = reconstruction.provenance
    weights = (
        f"; weights {provenance.weights_name or 'unnamed'} sha256 {provenance.weights_sha256}"
        if provenance.weights_sha256
        else "; no trained weights"
    )
    return short_text(
        f"Reconstruction by {method_name(provenance.method)}{weights};"
        f" ISMRMRD sha256 {provenance.source_sha256}; {provenance.settings}."
        f" {provenance.convention.describe()}"
    )


def _correction(reconstruction: Reconstruction, role: Role) -> list[str]:
    """How the intensity of a corrected image was evened out; nothing for every other."""
    field = reconstruction.receive_field
    return [field.description] if field is not None and role is Role.CORRECTED else []


def _computed_on(reconstruction: Reconstruction) -> list[str]:
    """The accelerator, whose roundings are its own; nothing of the processor alone."""
    provenance = reconstruction.provenance
    if provenance.device == "cpu":
        return []
    return [f"Computed on {provenance.device}.", *(f"{note}." for note in provenance.device_notes)]


def choice_of_fallback(reconstruction: Reconstruction) -> list[str]:
    """Why the delivered fallback is by this method and no other; nothing where the site's setting decided."""
    choice = reconstruction.provenance.choice
    if choice is None or reconstruction.quality.verdict is not Verdict.FALLBACK:
        return []
    return [f"Method of the fallback: {choice}."]


def subject(reconstruction: Reconstruction, role: Role) -> str:
    """What an object of a role is."""
    name = method_name(reconstruction.provenance.method)
    return {
        Role.LF_MRI: "Magnitude image, LF-MRI reconstruction",
        Role.REFERENCE: "Magnitude image, LF-MRI network with the lesion term switched off",
        Role.DIFFERENCE: "What the lesion term changed: magnitude of LF-MRI less that of its reference",
        Role.FALLBACK: f"Magnitude image, {name} reconstruction without a trained network",
        Role.CORRECTED: f"Magnitude image, {name} reconstruction over an estimate of the receive field",
        Role.MAP: "Class activation of the lesion classifier on the LF-MRI image, 0 to 1, no probability",
        Role.SEGMENTATION: "Voxels whose class activation reaches the threshold",
        Role.FUSED: "Class activation in colour over the LF-MRI image",
        Role.REPORT: "List of the marked regions",
        Role.SUMMARY: "This page",
    }[role]


def _reasons(quality: Quality) -> list[str]:
    """All codes first, so that a cut text still holds them; then each with its message and instances."""
    codes = ", ".join(dict.fromkeys(reason.code for reason in quality.reasons))
    return [f"FALLBACK: {codes}.", *reason_sentences(quality)]


def reason_sentences(quality: Quality) -> list[str]:
    """Each reason with its code, message and instances."""
    sentences = []
    for reason in quality.reasons:
        where = f" (instances {_ranges([s + 1 for s in reason.slices])})" if reason.slices else ""
        sentences.append(f"{reason.code}: {reason.message.rstrip('.')}{where}.")
    return sentences


def of_the_map(lesion: LesionMap | None) -> list[str]:
    """Gate and threshold, what came of them, and whether the map was validated; nothing without a map."""
    if lesion is None:
        return []
    s, k = divmod(int(lesion.scores.argmax()), len(lesion.labels))
    sentences = [
        f"Lesion map: {_limits(lesion)}; a slice that scores below the gate shows no activation and has no"
        f" lesion term; highest slice score {float(lesion.scores[s, k]):.2f}"
        f" ({lesion.labels[k]}, instance {s + 1})."
    ]
    if not lesion.mask.any():
        sentences.append(f"{_sentence(NOTHING_MARKED)}.")
    if not lesion.validated:
        sentences.append(NOT_VALIDATED)
    return sentences


def _limits(lesion: LesionMap) -> str:
    return f"gate {lesion.operating_score:.3g}, threshold {lesion.threshold:.3g}"


def position(position_mm: Vector) -> str:
    """An LPS position in the words of a reader: ``L 12.5, P 3.0, H 40.1 mm``."""
    letters = (("L", "R"), ("P", "A"), ("H", "F"))
    parts = (f"{pair[0 if v >= 0 else 1]} {abs(v):.1f}" for pair, v in zip(letters, position_mm, strict=True))
    return ", ".join(parts) + " mm"


def _sentence(text: str) -> str:
    return text[0].upper() + text[1:]


def _ranges(numbers: Sequence[int]) -> str:
    """Ascending numbers as "1-3, 7"."""
    runs: list[list[int]] = []
    for n in sorted(set(numbers)):
        if runs and n == runs[-1][1] + 1:
            runs[-1][1] = n
        else:
            runs.append([n, n])
    return ", ".join(str(a) if a == b else f"{a}-{b}" for a, b in runs)
