"""Who is trained on, who is tuned on, who is tested on: one split of all patients, never of slices.

Measured k-space is for testing alone and appears here not at all. The names are those of the data folder; a
stroke patient of SOOP is ``soop-`` and the number.
"""

from __future__ import annotations

import zlib
from enum import StrEnum

STROKE = "soop-"
_TUNED_TENTH, _TESTED_TENTHS = 7, (8, 9)


class Part(StrEnum):
    """Train: weights and training labels. Tune: all that is chosen. Test: the figures, looked at last."""

    TRAIN = "train"
    TUNE = "tune"
    TEST = "test"


SUBJECTS: dict[str, Part] = {
    # bodies and joints
    "knee": Part.TRAIN,
    "legs": Part.TEST,
    "spine": Part.TRAIN,
    "abdomen": Part.TRAIN,
    # heads without a lesion
    "head_t1": Part.TRAIN,
    "ds000031_sub-01": Part.TRAIN,
    "ds001499_CSI1": Part.TRAIN,
    "ds001499_CSI2": Part.TUNE,
    "ds001499_CSI3": Part.TEST,
    "decubitus_prisma": Part.TRAIN,
    "fnndsc_child3y": Part.TEST,
    "uih_uMR770": Part.TRAIN,
    "t1_crop": Part.TUNE,
    "allineate_t2": Part.TRAIN,
    "fernando": Part.TEST,
    # heads with a lesion
    "brain_stroke": Part.TRAIN,
    "arc_M2265": Part.TRAIN,
    **{f"ms_long_{n}": Part.TRAIN for n in ("01", "03", "04", "12", "19")},
    **{f"ms_long_{n}": Part.TUNE for n in ("09", "20")},
    **{f"ms_cross_{n}": Part.TEST for n in ("07", "19")},
    "glioma_6692": Part.TEST,
    **dict.fromkeys(("F6A", "F6B", "F7A", "S6A"), Part.TEST),
    # label maps, from which anatomies are drawn
    **{f"label_{n:02d}": Part.TRAIN for n in range(1, 16)},
    **{f"label_{n:02d}": Part.TUNE for n in (16, 17)},
    **{f"label_{n:02d}": Part.TEST for n in (18, 19, 20)},
    "knee_labels": Part.TRAIN,
    "thigh_labels": Part.TRAIN,
    "trunk_labels": Part.TRAIN,
}

LESIONED = frozenset(
    name
    for name in SUBJECTS
    if name.startswith(("ms_", "arc_", "glioma_", "brain_stroke")) or name in ("F6A", "F7A", "S6A")
)
"""Subjects whose images hold a real lesion: never a negative for a classifier. F6B's slices show none."""


def part_of(subject: str) -> Part:
    """The part of a subject; of strokes by a hash of the number: seven tenths, one, two.

    Raises KeyError for a name that is nobody's.
    """
    if not subject.startswith(STROKE):
        return SUBJECTS[subject]
    tenth = zlib.crc32(subject.encode("ascii")) % 10
    if tenth in _TESTED_TENTHS:
        return Part.TEST
    return Part.TUNE if tenth == _TUNED_TENTH else Part.TRAIN


def named(part: Part) -> tuple[str, ...]:
    """The subjects of ``part`` but for the strokes."""
    return tuple(name for name, where in SUBJECTS.items() if where is part)
