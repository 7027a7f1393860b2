"""Every sentence in our objects, cut to what its value representation holds (PS3.5 section 6.2)."""

from __future__ import annotations

import re
from collections.abc import Sequence

from lfmri_node.dicom_io.objects.codes import Role
from lfmri_node.dicom_io.uids import JobKey
from lfmri_node.recon.types import LesionMap, Method, Quality, Reconstruction, Verdict

_LO, _ST, _LT = 64, 1024, 10240
_ELLIPSIS = "..."
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
    Role.MAP: "Activation map",
    Role.SEGMENTATION: "Activation SEG",
    Role.FUSED: "Activation fused",
}
_OF_THE_MAP = (Role.MAP, Role.SEGMENTATION, Role.FUSED)
_CONTENT = {Role.MAP: "Class activation", Role.SEGMENTATION: "Thresholded activation"}
NOTHING_MARKED = "nothing was marked; this does not exclude a lesion"


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
    return text if len(text) <= limit else text[: limit - len(_ELLIPSIS)] + _ELLIPSIS


def method_name(method: Method) -> str:
    """The method as readers know it."""
    return _METHOD_NAMES[method]


def series_description(reconstruction: Reconstruction, key: JobKey, role: Role) -> str:
    """What a reader sees in the list of series; always says RESEARCH, and all that restricts its use.

    FALLBACK stands first where the network was not trusted; NOT VALIDATED while the model card's figures
    on real lesions do not reach their aims; GEOMETRY UNKNOWN where positions are a stand-in; C and R number
    the contrast and repetition where the measurement has more than the first.
    """
    lesion, provenance = reconstruction.lesion, reconstruction.provenance
    words = [
        "FALLBACK" if reconstruction.quality.verdict is Verdict.FALLBACK else "",
        _NAMES.get(role) or method_name(provenance.method),
        "RESEARCH",
        "NOT VALIDATED" if role in _OF_THE_MAP and lesion is not None and not lesion.validated else "",
        "" if reconstruction.geometry.known else "GEOMETRY UNKNOWN",
        f"C{key.contrast}R{key.repetition}" if key.contrast or key.repetition else "",
    ]
    return long_string(" ".join(word for word in words if word))


def image_comments(reconstruction: Reconstruction, role: Role, software_version: str) -> str:
    """(0020,4000): what the picture is, how far to trust it, and why it is a fallback where it is one."""
    quality = reconstruction.quality
    sentences = [
        "For research use only, not for diagnosis.",
        *(_reasons(quality) if quality.verdict is Verdict.FALLBACK else ()),
        f"{_subject(reconstruction, role)}.",
        *_of_the_map(reconstruction.lesion),
        f"Software lfmri-node {software_version}; {reconstruction.provenance.settings}.",
        f"Verdict {quality.verdict}; acceleration {quality.acceleration:.3g};"
        f" data residual {quality.data_residual:.3g}.",
        *_choice(reconstruction),
        reconstruction.provenance.convention.describe(),
    ]
    if not reconstruction.geometry.known:
        sentences.append("The measurement names no usable position; the positions here are a stand-in.")
    return long_text(" ".join(sentences))


def derivation_description(reconstruction: Reconstruction, role: Role) -> str:
    """(0008,2111): the derivation in one sentence, the reasons of a fallback, and the limits of a map."""
    quality = reconstruction.quality
    reasons = _reasons(quality) if quality.verdict is Verdict.FALLBACK else []
    sentence = (
        f"{_subject(reconstruction, role)}, from ISMRMRD k-space,"
        f" acceleration {quality.acceleration:.3g}, data residual {quality.data_residual:.3g};"
        f" {reconstruction.provenance.settings}."
    )
    orientation = reconstruction.provenance.convention.describe()
    return short_text(" ".join([*reasons, sentence, *_of_the_map(reconstruction.lesion), orientation]))


def content_description(lesion: LesionMap, role: Role) -> str:
    """(0070,0081) of map and segmentation: what it is, gate and threshold; or that nothing was marked."""
    if not lesion.mask.any():
        return long_string(_sentence(NOTHING_MARKED))
    return long_string(f"{_CONTENT[role]}, {_limits(lesion)}")


def legend_lines(lesion: LesionMap, s: int) -> list[str]:
    """Remarks under the colour picture of slice ``s`` (from 0); what is marked is told of that slice."""
    lines = ["RESEARCH - NOT FOR DIAGNOSIS", f"Activation, outline at the threshold; {_limits(lesion)}"]
    if not lesion.validated:
        lines.append("Activation NOT VALIDATED")
    if not lesion.mask[s].any():
        lines.append(_sentence(NOTHING_MARKED))
    return lines


def map_summary(lesion: LesionMap) -> str:
    """What came of the lesion map, for a terminal and the headings of pictures."""
    n_voxels = int(lesion.mask.sum())
    summary = f"{n_voxels} voxels marked" if n_voxels else NOTHING_MARKED
    return summary if lesion.validated else f"{summary}; NOT VALIDATED"


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


def _choice(reconstruction: Reconstruction) -> list[str]:
    """Why the delivered fallback is by this method and no other; nothing where the site's setting decided."""
    choice = reconstruction.provenance.choice
    if choice is None or reconstruction.quality.verdict is not Verdict.FALLBACK:
        return []
    return [f"Method of the fallback: {choice}."]


def _subject(reconstruction: Reconstruction, role: Role) -> str:
    name = method_name(reconstruction.provenance.method)
    return {
        Role.LF_MRI: "Magnitude image, LF-MRI reconstruction",
        Role.REFERENCE: "Magnitude image, LF-MRI network with the lesion term switched off",
        Role.FALLBACK: f"Magnitude image, {name} reconstruction without a trained network",
        Role.MAP: "Class activation of the lesion classifier on the LF-MRI image, 0 to 1, no probability",
        Role.SEGMENTATION: "Voxels whose class activation reaches the threshold",
        Role.FUSED: "Class activation in colour over the LF-MRI image",
    }[role]


def _reasons(quality: Quality) -> list[str]:
    """All codes first, so that a cut text still holds them; then each with its message and instances."""
    codes = ", ".join(dict.fromkeys(reason.code for reason in quality.reasons))
    sentences = [f"FALLBACK: {codes}."]
    for reason in quality.reasons:
        where = f" (instances {_ranges([s + 1 for s in reason.slices])})" if reason.slices else ""
        sentences.append(f"{reason.code}: {reason.message.rstrip('.')}{where}.")
    return sentences


def _of_the_map(lesion: LesionMap | None) -> list[str]:
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
        sentences.append(
            "NOT VALIDATED: the lesion map has not reached its aims on real lesions of held-out patients."
        )
    return sentences


def _limits(lesion: LesionMap) -> str:
    return f"gate {lesion.operating_score:.3g}, threshold {lesion.threshold:.3g}"


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
