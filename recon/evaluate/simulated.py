"""Cases of test subjects: simulated multi-coil measurements of magnitude images, lesions inserted.

Every slice is a volume of its own: its data range is the maximum of its own truth.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import numpy as np

from lfmri_node.recon.evaluate.cases import Case
from lfmri_node.recon.evaluate.lesion_metrics import Box, box_of, usable_boxes
from lfmri_node.recon.evaluate.sweep import CaseSource
from lfmri_node.recon.phantom.body import LESION_KINDS, UNSEEN_KIND
from lfmri_node.recon.sense.coilmaps import estimate
from lfmri_node.recon.train.anatomies import load_label_maps
from lfmri_node.recon.train.data import LABELS, ImageSource
from lfmri_node.recon.train.samples import SimulatedScan, draw_scan, load_coils, true_image
from lfmri_node.recon.train.split import Part
from lfmri_node.recon.train.subjects import BODY, HEAD, KNEE, load_subjects
from lfmri_node.recon.types import Bool, Complex

HELD_OUT, DISTURBED, UNSEEN = "held-out", "measured-like", "unseen-kind"
MIX = {HEAD: 0.5, KNEE: 0.15, BODY: 0.15, LABELS: 0.2}
"""Shares of the sources of images: patients without a real lesion, and anatomies painted on label maps."""
N_SEARCH = 4
"""Slices of tuning subjects on which the rivals' regularisation is searched."""
FIELD_STRENGTH_T = {**dict.fromkeys(("F6A", "F6B", "F7A", "S6A", "ds001499_CSI3"), 3.0)} | {
    "ms_cross_07": 3.0,
    "ms_cross_19": 3.0,
}
"""Of the subjects whose source states it."""


def group_of(subject: str) -> str:
    """Simulated anatomy of a subject."""
    if subject == "legs":
        return "simulated, legs"
    return "simulated, painted label maps" if subject.startswith("label_") else "simulated, heads"


def simulated_source(
    data: Path, n: int, seed: int, acceleration: float, dataset: str = HELD_OUT, part: Part = Part.TEST
) -> CaseSource:
    """``n`` slices of subjects of ``part`` without a real lesion; half of them get a lesion.

    The truth is free of noise. ``dataset`` `DISTURBED` adds the line errors of a real measurement; `UNSEEN`
    inserts the kind that no training has shown instead of the trained kinds. The i-th slice depends on data
    set, part, seed, acceleration and its own number alone.
    """
    kinds = (UNSEEN_KIND,) if dataset == UNSEEN else LESION_KINDS
    opened = _opener(data, part)
    keys = (list(Part).index(part), (HELD_OUT, DISTURBED, UNSEEN).index(dataset))

    def load(sample: str) -> Case:
        rng = np.random.default_rng([seed, int(acceleration), *keys, int(sample)])
        source, coils = opened()
        disturbed = dataset == DISTURBED
        scan = draw_scan(source, coils, rng, kinds, acceleration=acceleration, disturbed=disturbed)
        return case_of(scan, dataset, sample)

    return CaseSource(
        dataset=dataset,
        acceleration=acceleration,
        samples=tuple(f"{index:04d}" for index in range(n)),
        load=load,
        search=lambda: search_cases(data, seed, acceleration),
        setting=setting_of(acceleration),
        maps_only=dataset == UNSEEN,
        outlined=dataset == HELD_OUT,
    )


def setting_of(acceleration: float) -> str:
    """Name under which the regularisation of an acceleration is recorded."""
    return f"simulated, {acceleration:g}x"


def search_cases(data: Path, seed: int, acceleration: float) -> list[Case]:
    """Slices of the tuning subjects, for the rivals' regularisation."""
    source = simulated_source(data, N_SEARCH, seed, acceleration, part=Part.TUNE)
    return [source.load(sample) for sample in source.samples]


def _opener(data: Path, part: Part) -> Callable[[], tuple[ImageSource, Complex]]:
    @lru_cache(maxsize=1)
    def opened() -> tuple[ImageSource, Complex]:
        subjects = tuple(subject for subject in load_subjects(data, part) if not subject.has_lesion)
        return ImageSource(subjects, load_label_maps(data, part), mix=MIX), load_coils(data)

    return opened


def case_of(
    scan: SimulatedScan, dataset: str, name: str, *, boxes: tuple[Box, ...] | None = None, group: str = ""
) -> Case:
    """The case of a simulated scan.

    Parameters
    ----------
    boxes
        Of a real lesion, in pixels of the image; None takes the box around the inserted one.
    group
        As in `rows.Row`; that of the subject where empty.
    """
    kspace, entry = scan.kspace, scan.entry
    maps = estimate(kspace)
    truth = true_image(scan, maps.maps)
    size = (truth.shape[0], truth.shape[1])
    lesion = None if entry.lesion is None or not entry.lesion.mask.any() else entry.lesion
    inserted = None if lesion is None else box_of(lesion.mask)
    given = boxes if boxes is not None else () if inserted is None else (inserted,)
    usable, n_dropped = usable_boxes(given, size)

    def again(lines: Bool) -> Case:
        return case_of(replace(scan, sampled=lines), dataset, name, boxes=boxes, group=group)

    return Case(
        dataset=dataset,
        subject=entry.subject,
        volume=f"{dataset}/{scan.acceleration:g}/{name}",
        group=group or group_of(entry.subject),
        field_strength_t=FIELD_STRENGTH_T.get(entry.subject),
        acceleration=scan.acceleration,
        sample=name,
        kspace=kspace,
        maps=maps,
        truth=truth,
        peak=float(np.abs(truth).max()),
        label=entry.label,
        lesion_kind=lesion.kind if lesion is not None else "real" if entry.label else "",
        boxes=tuple(usable),
        boxes_dropped=n_dropped,
        lesion=None if lesion is None else lesion.mask,
        again=again,
    )
