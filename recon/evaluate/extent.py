"""How much is evaluated, and the command that makes the same evaluation."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Cases(StrEnum):
    """Kinds of test cases.

    Simulated scans of test subjects, without and with the line errors of a measurement, and with a kind of
    lesion never trained on; patients with real lesions; measured and published k-space.
    """

    HELD_OUT = "held-out"
    MEASURED_LIKE = "measured-like"
    UNSEEN_KIND = "unseen-kind"
    REAL_LESIONS = "real-lesions"
    MEASURED_BRAIN = "measured-brain"
    MEASURED_OTHER = "measured-other"
    PUBLISHED = "published"


@dataclass(frozen=True, slots=True, kw_only=True)
class Extent:
    """How much is evaluated.

    Parameters
    ----------
    n_slices
        Simulated slices for each acceleration, of each kind; half as many of the unseen one.
    n_strokes
        Test patients with a stroke; half as many without one come with them.
    n_masks
        Masks of the measured brain for each flip angle and pattern.
    seed
        Of all that is drawn.
    only
        Kinds of cases; all where empty.
    shipped
        Whether the weights of the node, as they are and with the lesion term off, are compared too.
    """

    n_slices: int
    n_strokes: int
    n_masks: int
    seed: int = 0
    accelerations: tuple[float, ...] = (4.0, 8.0)
    only: tuple[Cases, ...] = ()
    shipped: bool = False

    def wants(self, cases: Cases) -> bool:
        """Whether cases of this kind are evaluated."""
        return not self.only or cases in self.only

    @property
    def command(self) -> str:
        """The command that makes the same evaluation, without folders."""
        parts = ["lfmri-lab evaluate", f"--slices {self.n_slices}", f"--strokes {self.n_strokes}"]
        parts += [f"--masks {self.n_masks}", f"--seed {self.seed}"]
        parts += [f"--acceleration {acceleration:g}" for acceleration in self.accelerations]
        parts += [f"--only {cases}" for cases in self.only]
        return " ".join([*parts, *(["--shipped"] if self.shipped else [])])
