"""What may be said of a mean: spread, counts, bootstrap intervals by subject, paired comparison.

Slices of one subject are not independent, so subjects are resampled, each with all of its slices. A
paired p-value is given only from six held-out subjects on: below that the Wilcoxon signed-rank test
cannot reach 0.05 in both directions.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import DegenerateDataWarning, PermutationMethod, bootstrap, wilcoxon

MINIMUM_SUBJECTS = 6
EXACT_LIMIT = 14
N_RESAMPLES = 2000
TAIL = 0.025
"""Of either side of a 95 % interval."""

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
    by_subject
        Mean difference of each subject.
    """

    mean: float
    interval: tuple[float, float] | None
    by_subject: tuple[float, ...]
    n_entries: int

    @property
    def n_subjects(self) -> int:
        return len(self.by_subject)

    @property
    def p_value(self) -> float | None:
        """Wilcoxon signed-rank, two-sided, on subject means; None below six subjects."""
        return signed_rank_p(np.array(self.by_subject))

    @property
    def is_sure(self) -> bool:
        """The whole interval lies above zero, and at least six subjects are behind it.

        With fewer the percentile interval is little more than the range of the subjects.
        """
        return self.interval is not None and self.interval[0] > 0 and self.n_subjects >= MINIMUM_SUBJECTS

    @property
    def p_text(self) -> str:
        p_value = self.p_value
        if p_value is None:
            return f"not stated: n < {MINIMUM_SUBJECTS}"
        return f"{p_value:.3f}" if p_value >= 0.001 else "< 0.001"


def interval_by_subject(
    samples: Sequence[NDArray[Any]], statistic: Callable[..., NDArray[np.float64]], seed: int
) -> tuple[float, float] | None:
    """95 % percentile interval of a figure over resamples of whole subjects; None below two subjects.

    Parameters
    ----------
    samples
        Arrays with one entry a subject, resampled together.
    statistic
        ``statistic(*samples, axis)`` of arrays (resamples, subjects); nan where it is not defined. The
        interval is that of the resamples where it is, None where these are less than half.

    Source: Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13.
    """
    if len(samples[0]) < 2:
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DegenerateDataWarning)  # SciPy's own interval is not asked for
        drawn = bootstrap(
            samples,
            statistic,
            paired=True,
            vectorized=True,
            method="percentile",
            n_resamples=N_RESAMPLES,
            random_state=np.random.default_rng(seed),
        ).bootstrap_distribution
    defined = drawn[np.isfinite(drawn)]
    if defined.size < drawn.size / 2:
        return None
    low, high = np.quantile(defined, (TAIL, 1 - TAIL))
    return float(low), float(high)


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
        interval=interval_by_subject(_sums(array, factors, subjects), _ratio, seed),
    )


def _sums(
    values: NDArray[np.float64], weights: NDArray[np.float64], subjects: Sequence[str]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Weighted sum of the values and sum of the weights of each subject."""
    group = np.unique(np.asarray(subjects), return_inverse=True)[1]
    sums, totals = (np.bincount(group, given).astype(np.float64) for given in (values * weights, weights))
    return sums, totals


def _ratio(sums: NDArray[np.float64], totals: NDArray[np.float64], axis: int) -> NDArray[np.float64]:
    return np.asarray(sums.sum(axis) / totals.sum(axis))


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
        by_subject=tuple(subject_means(difference, subjects)),
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


class ScoredPairs:
    """Pairs of a positive and a negative of one network, summed by subject: what an AUC is made of.

    ``won`` f64 (subject of positive, subject of negative): pairs in the right order, ties half;
    ``positives``, ``negatives`` int (subjects,): entries.
    """

    def __init__(
        self, scores: Sequence[float], labels: Sequence[bool], subjects: Sequence[str], names: Sequence[str]
    ) -> None:
        values, positive = np.asarray(scores, dtype=np.float64), np.asarray(labels, dtype=bool)
        member = np.asarray(subjects, dtype=str)[:, None] == np.asarray(names, dtype=str)[None, :]
        gap = np.subtract.outer(values[positive], values[~positive])
        ordered = (gap > 0) + 0.5 * (gap == 0)
        self.won = member[positive].T.astype(float) @ ordered @ member[~positive].astype(float)
        self.positives, self.negatives = member[positive].sum(0), member[~positive].sum(0)


def area_with_interval(networks: Sequence[ScoredPairs], *, seed: int = 0) -> Summary | None:
    """Mean over ``networks`` of the area under the curve; None where none has both classes.

    A network that lacks a class in a resample is left out of that one's mean. All are of the same subjects.
    """
    n = len(networks[0].positives) if networks else 0
    value = _mean_area(networks, np.ones((1, n)))
    if not np.isfinite(value[0]):
        return None

    def of_resamples(drawn: NDArray[np.int64], axis: int) -> NDArray[np.float64]:
        return _mean_area(networks, np.stack([(drawn == i).sum(axis) for i in range(n)], axis=-1))

    return Summary(
        mean=float(value[0]),
        std=float("nan"),
        n_subjects=n,
        n_entries=int(sum(found.positives.sum() + found.negatives.sum() for found in networks)),
        interval=interval_by_subject([np.arange(n)], of_resamples, seed),
    )


def _mean_area(networks: Sequence[ScoredPairs], times: NDArray[Any]) -> NDArray[np.float64]:
    """For each row of ``times`` (resample, subject), how often a subject is drawn; nan where not defined."""
    total, n = np.zeros(len(times)), np.zeros(len(times))
    for found in networks:
        pairs = (times @ found.positives) * (times @ found.negatives)
        won = np.einsum("rs,st,rt->r", times, found.won, times)
        total += np.divide(won, pairs, out=np.zeros(len(times)), where=pairs > 0)
        n += pairs > 0
    return np.asarray(np.divide(total, n, out=np.full(len(times), np.nan), where=n > 0))
