"""The model card for people: Markdown made from the entries of the JSON card, number by number."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lfmri_node.recon.method.modelcard import VALIDATED_IMAGE_AUC, VALIDATED_POINTING
from lfmri_node.recon.trust.verdict import FEW_LINES, MEANING, SUFFIX_FEW

_OF_THE_SCAN = {
    "acceleration": ("LF-QUA-101", "lines of the full grid over lines measured, of a slice"),
    "points": ("LF-QUA-101", "acceleration in two phase directions, in points"),
    "n_coils": ("LF-QUA-102", "coils, or what they are compressed to"),
    "size": ("LF-QUA-103", "side of the matrix in pixels"),
    "network_residual": ("LF-QUA-118", "part of the data that the network's image leaves unexplained"),
}

_HEAD = """# {name}

LF-MRI cascade for accelerated multi-coil Cartesian MRI. **Research use only: not a medical device, not
for diagnosis.** This file is made from `{name}.json` by `lfmri-lab export`.

- SHA-256 of `{name}.safetensors`: `{sha256}`
- Architecture: {architecture}
- Method: Ju et al., Medical Image Analysis 107 (2026) 103806; our reading of what the paper leaves open is
  marked in the docstrings of `cascade.py`, `denoiser.py` and `lesion.py` in `recon/method/`.
- What its images are worth beside classical methods: "Figures" in the README
"""


def card_text(entries: Mapping[str, Any]) -> str:
    """Markdown text of a card. ``entries`` are those of the JSON file."""
    architecture = entries["architecture"]
    record = entries["record"]
    shape = (
        f"{architecture['n_stages']} stages, U-Net channels {architecture['denoiser']['channels']}, "
        f"{architecture['n_cg']} conjugate-gradient steps a stage"
    )
    head = _HEAD.format(name=entries["name"], sha256=entries["sha256"], architecture=shape)
    parts = [head, _training(record["training"]), _domain(entries), _verdicts(record["verdicts"])]
    parts.append(_lesion(entries["lesion"], record))
    parts.append("## Limits\n\n" + "\n".join(f"- {line}" for line in record["training"]["limits"]) + "\n")
    return "\n".join(parts)


def _training(training: Mapping[str, Any]) -> str:
    rows = "\n".join(
        f"| {s['name']} | {s['use']} | {s['content']} | {s['licence']} | {s['origin']} |"
        for s in training["sources"]
    )
    steps = "\n".join(f"{i}. {line}" for i, line in enumerate(training["steps"], start=1))
    tried = "\n".join(f"- {line}" for line in training["tried"])
    return f"""## Training

| source | use | content | licence | origin |
|---|---|---|---|---|
{rows}

Multi-coil data are simulated from these magnitudes: {training["simulation"]}

{steps}

What was tried and did not make it:

{tried}
"""


def _domain(entries: Mapping[str, Any]) -> str:
    rows = "\n".join(
        f"| {name} | {_meaning(name)} | {low:.4g} | {high:.4g} |"
        for name, (low, high) in (*entries["limits"].items(), *entries["domain"].items())
    )
    return f"""## Domain

Outside these ranges the node delivers the fallback and says why (`recon/trust/verdict.py`). Codes:
`deploy/docs/errors.md`.

| property | what it is | low | high |
|---|---|---|---|
{rows}
"""


def _meaning(name: str) -> str:
    """A property in words, with the code of its reason."""
    kind = name.removesuffix(SUFFIX_FEW)
    code, words = _OF_THE_SCAN.get(kind) or MEANING[kind]
    few = f", where the calibration square is below {FEW_LINES} lines" if kind != name else ""
    return f"{words}{few} ({code})"


def _verdicts(table: list[Mapping[str, Any]]) -> str:
    rows = "\n".join(
        f"| {row['input']} | {row['n']} | {row['trusted']} | {row['fallback']} | "
        f"{', '.join(f'{code} ({count})' for code, count in row['codes'].items())} |"
        for row in table
    )
    battery = table[1:-1]
    caught = sum(row["fallback"] for row in battery) / sum(row["n"] for row in battery)
    return f"""Verdicts on simulated single slices of held-out subjects.
Of the battery (all rows but the first and the last) {100 * caught:.1f} % fall back.

| input | slices | TRUSTED | FALLBACK | reasons (slices) |
|---|---|---|---|---|
{rows}
"""


def _lesion(lesion: Mapping[str, float], record: Mapping[str, Any]) -> str:
    rows = "\n".join(
        f"| {acceleration} | {held['n_images']} | {held['n_lesions']} | {held['image_auc']:.3f} | "
        f"{held['pointing_game']:.3f} |"
        for acceleration, held in record["lesion_held_out"].items()
    )
    return f"""## Lesion map

Inserted {record["training"]["lesion_kinds"]} lesions, image-level labels only, on the network's own
reconstructions of held-out subjects. Pointing game: the peak of the map lies within 4 px of the lesion.

| acceleration | slices | with a lesion | image AUC | pointing game |
|---|---|---|---|---|
{rows}

- {_real(lesion)}
- a slice whose score stays below {lesion["operating_score"]:.3f} (90 % specificity on training subjects)
  shows no map; the segmentation begins at an activation of {lesion["threshold"]:.3f}
"""


def _real(lesion: Mapping[str, float]) -> str:
    found = "not measured"
    if {"real_image_auc", "real_pointing_game", "real_pointing_chance"} <= lesion.keys():
        found = (
            f"image AUC {lesion['real_image_auc']:.3f}, pointing game {lesion['real_pointing_game']:.3f}"
            f" (chance {lesion['real_pointing_chance']:.3f})"
        )
    return (
        f"on real lesions of held-out patients: {found}; until an image AUC of\n  {VALIDATED_IMAGE_AUC:.2f}"
        f" and a pointing game of {VALIDATED_POINTING:.2f} are reached there, the node says NOT VALIDATED"
    )
