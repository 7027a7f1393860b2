"""What may be said of a mean: spread, counts, bootstrap intervals by subject, paired comparison.

Slices of one subject are not independent, so subjects are resampled, each with all of its slices. A
paired p-value is given only from six held-out subjects on: below that the Wilcoxon signed-rank test
cannot reach 0.05 in both directions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.stats import PermutationMethod, wilcoxon

MINIMUM_SUBJECTS = 6
EXACT_LIMIT = 14
N_RESAMPLES = 2000
COVERAGE = 0.95

Values = Sequence[float] | NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """A weighted mean and how sure it is.

    Parameters
    ----------
    std
        Standard deviation over the entries (ddof 1); nan for one entry.
    interval
        95 % bootstrap interval by subject; None with fewer than two subjects.
    """

    mean: float
    std: float
    n_subjects: int
    n_entries: int
    interval: tuple[float, float] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """Ours minus theirs on the same entries.

    Parameters
    ----------
    p_value
        Wilcoxon signed-rank, two-sided, on subject means; None below six subjects.
    """

    mean: float
    interval: tuple[float, float] | None
    p_value: float | None
    n_subjects: int
    n_entries: int

    @property
    def is_sure(self) -> bool:
        """The whole interval lies above zero, and at least six subjects are behind it.

        With fewer the percentile interval is little more than the range of the subjects.
        """
        return self.interval is not None and self.interval[0] > 0 and self.n_subjects >= MINIMUM_SUBJECTS

    @property
    def p_text(self) -> str:
        if self.p_value is None:
            return f"not stated: n < {MINIMUM_SUBJECTS}"
        return f"{self.p_value:.3f}" if self.p_value >= 0.001 else "< 0.001"


def percentile_interval(drawn: NDArray[np.float64]) -> tuple[float, float] | None:
    """95 % percentile interval of a figure over resamples; nan: not defined in that resample.

    None where it is defined in less than half of them. Source: Efron and Tibshirani, An Introduction to
    the Bootstrap, 1993, chapter 13.
    """
    defined = drawn[np.isfinite(drawn)]
    if defined.size < drawn.size / 2:
        return None
    tail = (1 - COVERAGE) / 2
    low, high = np.quantile(defined, (tail, 1 - tail))
    return float(low), float(high)


@lru_cache(maxsize=32)
def times_drawn(n: int, seed: int) -> NDArray[np.float64]:
    """f64 (resamples, n): how often each of ``n`` subjects is in each resample with replacement."""
    draws = np.random.default_rng(seed).integers(n, size=(N_RESAMPLES, n))
    return np.stack([(draws == i).sum(1) for i in range(n)], axis=1).astype(np.float64)


def _mean_interval(
    values: NDArray[np.float64], weights: NDArray[np.float64], subjects: Sequence[str], seed: int
) -> tuple[float, float] | None:
    """Interval of the weighted mean, from each subject's sums; None with fewer than two subjects."""
    names, group = np.unique(np.asarray(subjects), return_inverse=True)
    if len(names) < 2:
        return None
    sums = np.bincount(group, weights=values * weights, minlength=len(names))
    totals = np.bincount(group, weights=weights, minlength=len(names))
    times = times_drawn(len(names), seed)
    return percentile_interval((times @ sums) / (times @ totals))


def summarise(
    values: Values, subjects: Sequence[str], weights: Values | None = None, *, seed: int = 0
) -> Summary | None:
    """Weighted mean over entries with its interval by subject; None without entries.

    ``weights`` are positive counts (boxes of a slice); one each where None. Entries of infinite value
    (no error at all) stay in the mean.
    """
    array = np.asarray(values, dtype=np.float64)
    if array.size == 0:
        return None
    factors = np.ones_like(array) if weights is None else np.asarray(weights, dtype=np.float64)
    return Summary(
        mean=float(np.average(array, weights=factors)),
        std=float(np.std(array, ddof=1)) if array.size > 1 else float("nan"),
        n_subjects=len(set(subjects)),
        n_entries=array.size,
        interval=_mean_interval(array, factors, subjects, seed),
    )


def paired_difference(
    ours: Values, theirs: Values, subjects: Sequence[str], weights: Values | None = None, *, seed: int = 0
) -> Difference | None:
    """Ours minus theirs, entry by entry; None without entries. Raises ValueError where the sizes differ."""
    difference = np.asarray(ours, dtype=np.float64) - np.asarray(theirs, dtype=np.float64)
    summary = summarise(difference, subjects, weights, seed=seed)
    if summary is None:
        return None
    return Difference(
        mean=summary.mean,
        interval=summary.interval,
        p_value=signed_rank_p(subject_means(difference, subjects)),
        n_subjects=summary.n_subjects,
        n_entries=summary.n_entries,
    )


def subject_means(values: Values, subjects: Sequence[str]) -> NDArray[np.float64]:
    """Mean of each subject's entries, subjects in alphabetical order."""
    names = np.asarray(subjects)
    array = np.asarray(values, dtype=np.float64)
    return np.array([array[names == name].mean() for name in np.unique(names)])


def signed_rank_p(differences: NDArray[np.float64]) -> float | None:
    """Two-sided Wilcoxon signed-rank p-value of one difference a subject; None below six subjects.

    Exact by all sign patterns, ties as mean ranks, zeros left out, up to `EXACT_LIMIT` differences; the
    normal approximation beyond. Source: Wilcoxon, Biometrics Bulletin 1 (1945) 80.
    """
    if differences.size < MINIMUM_SUBJECTS:
        return None
    given = differences[differences != 0]
    if given.size == 0:
        return 1.0
    exact = PermutationMethod(n_resamples=2**EXACT_LIMIT)
    return float(wilcoxon(given, method=exact if given.size <= EXACT_LIMIT else "approx").pvalue)
