"""What `lfmri-node demo` shows over many phantoms: how often lesions are marked, and which is typical."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from scipy import ndimage

from lfmri_node.recon.method.weights import Model
from lfmri_node.recon.metrics import POINTING_TOLERANCE_PX, compare
from lfmri_node.recon.mrd.measurement import open_measurement
from lfmri_node.recon.phantom.demo_scan import write_demo_scan
from lfmri_node.recon.reconstruct import reconstruct
from lfmri_node.recon.types import Bool, ReconSettings, Reconstruction, Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """One phantom: slices with a lesion, those of them where a mark lies on it, marks on no lesion.

    ``gain_db``: PSNR of LF-MRI less that of the fallback, magnitude of the whole volume.
    """

    seed: int
    trusted: bool
    lesions: int
    found: int
    false_marks: int
    gain_db: float

    @property
    def marked(self) -> bool:
        """Whether the map marks anything, rightly or not."""
        return self.found + self.false_marks > 0


def shown(seed: int, model: Model) -> Shown:
    """Reconstruct the demonstration scan of ``seed`` as the node does, and count."""
    with tempfile.TemporaryDirectory() as folder:
        scan_file = Path(folder) / "scan.h5"
        truth_file = write_demo_scan(scan_file, seed=seed)
        with np.load(truth_file, allow_pickle=False) as f:
            truth, lesions = f["truth"], f["lesions"]
        with open_measurement(scan_file) as measurement:
            made = reconstruct(measurement.scan(0, 0), model, ReconSettings(always_fallback=True))
    counted = count_marks(_mask_of(made, lesions), lesions)
    gain = 0.0
    if made.quality.verdict is Verdict.TRUSTED and made.fallback is not None:
        ours, plain = (compare(np.abs(image), truth).psnr_db for image in (made.image, made.fallback))
        gain = ours - plain
    return Shown(seed=seed, trusted=made.quality.verdict is Verdict.TRUSTED, gain_db=gain, **counted)


def _mask_of(made: Reconstruction, lesions: Bool) -> Bool:
    return made.lesion.mask if made.lesion is not None else np.zeros_like(lesions)


def count_marks(mask: Bool, lesions: Bool) -> dict[str, int]:
    """Marks of a volume against its lesions, both bool (s, y, x), slice by slice.

    A mark is a connected region of a slice; it is on a lesion where it comes within
    `metrics.POINTING_TOLERANCE_PX` of it.

    Returns
    -------
    ``lesions``: slices that hold one; ``found``: those of them with a mark on it; ``false_marks``.
    """
    n_lesions, found, false_marks = 0, 0, 0
    for marked, lesion in zip(mask, lesions, strict=True):
        regions, n_regions = ndimage.label(marked, np.ones((3, 3)))
        on = 0
        if lesion.any():
            n_lesions += 1
            distance = ndimage.distance_transform_edt(~lesion)
            nearest = ndimage.minimum(distance, regions, np.arange(1, n_regions + 1))
            on = int(np.sum(np.asarray(nearest) <= POINTING_TOLERANCE_PX))
            found += on > 0
        false_marks += n_regions - on
    return {"lesions": n_lesions, "found": found, "false_marks": false_marks}


def summary(phantoms: Sequence[Shown]) -> dict[str, object]:
    """The entry ``demonstration`` of a card: sums, and the seed that the demonstration shows."""
    gains = [one.gain_db for one in phantoms]
    return {
        "phantoms": len(phantoms),
        "trusted": sum(one.trusted for one in phantoms),
        "lesions": sum(one.lesions for one in phantoms),
        "found": sum(one.found for one in phantoms),
        "false_marks": sum(one.false_marks for one in phantoms),
        "unmarked": sum(not one.marked for one in phantoms),
        "median_gain_db": round(float(np.median(gains)), 2),
        "typical_seed": typical(phantoms).seed,
        "each": [asdict(one) for one in phantoms],
    }


def typical(phantoms: Sequence[Shown]) -> Shown:
    """Of the phantoms in which something is marked (where there are any) the one nearest to their medians of
    found, false marks and gain, each in mean absolute deviations."""
    phantoms = [one for one in phantoms if one.marked] or phantoms
    rows = np.array([(one.found, one.false_marks, one.gain_db) for one in phantoms])
    away = np.abs(rows - np.median(rows, axis=0))
    return phantoms[int(np.argmin((away / np.maximum(away.mean(axis=0), 1e-9)).sum(axis=1)))]


def add_to_card(card: Path, found: dict[str, object]) -> None:
    """Write the entry into a card's JSON: its text for people does not hold it."""
    entries = json.loads(card.read_text())
    entries["record"]["demonstration"] = found
    card.write_text(json.dumps(entries, indent=1) + "\n")
