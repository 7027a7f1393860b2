"""``/metrics`` in Prometheus' text format: facts of the job table, and what the process counts.

Labels have few values: stages, codes, verdicts, names of destinations. No job, patient, study, address or
AE title is one.
"""

from __future__ import annotations

import sqlite3
import threading
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import closing
from datetime import UTC, datetime

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from lfmri_node.dicom_io.receive.incomplete import incomplete_scans
from lfmri_node.node.config import Config
from lfmri_node.node.errors import NodeError
from lfmri_node.node.jobs.figures import Figures, Try
from lfmri_node.node.jobs.job import Stage
from lfmri_node.node.jobs.overview import Overview
from lfmri_node.node.jobs.tables import databases_of
from lfmri_node.node.layout import Layout
from lfmri_node.node.monitor.vitals import Vitals, bytes_free, ready

BUCKETS_S = (0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1000.0, 3000.0)
"""Upper bounds of the histogram of durations."""


class Durations:
    """Tries that came to an end since `begin`, whoever did the work: the table is asked for new ones."""

    def __init__(self) -> None:
        self._settled = 0
        self._seen: set[int] = set()
        self.outcomes: Counter[tuple[Stage, str]] = Counter()
        self.buckets: dict[Stage, list[int]] = {}
        self.sums: dict[Stage, float] = {}

    def begin(self, table: Figures) -> None:
        """Leave out what has come to an end by now."""
        self._settled = table.settled()
        self._seen = {item.id for item in table.tries_after(self._settled)}

    def update(self, table: Figures) -> None:
        """Count what has come to an end since the last time."""
        settled = table.settled()  # before the look: what ends in between is seen, or is not settled
        ended = table.tries_after(self._settled)
        for item in ended:
            if item.id not in self._seen:
                self._count(item)
        self._settled = settled
        self._seen = {item.id for item in ended if item.id > settled}

    def _count(self, item: Try) -> None:
        self.outcomes[item.stage, item.outcome] += 1
        if item.outcome == "done" and item.seconds is not None:
            counts = self.buckets.setdefault(item.stage, [0] * (len(BUCKETS_S) + 1))
            counts[bisect_left(BUCKETS_S, item.seconds)] += 1
            self.sums[item.stage] = self.sums.get(item.stage, 0.0) + item.seconds


class Metrics(Collector):
    """Everything, looked up when it is asked for.

    Parameters
    ----------
    vitals
        Of the serving process.
    """

    def __init__(self, config: Config, vitals: Vitals, *, version: str) -> None:
        self._config = config
        self._layout = Layout(root=config.node.data_dir)
        self._table = databases_of(config).table
        self._vitals = vitals
        self._version = version
        self._durations = Durations()
        self._one = threading.Lock()
        self._registry = CollectorRegistry()

    def begin(self) -> None:
        """Count from now on."""
        with closing(Figures(self._table)) as table:
            self._durations.begin(table)
        self._registry.register(self)

    def text(self) -> bytes:
        """The page."""
        with self._one:
            return generate_latest(self._registry)

    def describe(self) -> Iterable[Metric]:
        """Nothing beforehand: names are checked when they are collected."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """All families; without those of the job table where it cannot be read, which one of them says."""
        yield from self._of_process()
        yield from self._of_spool()
        found: list[Metric] = []
        try:
            with closing(Figures(self._table)) as table:
                self._durations.update(table)
                found += [*_of_jobs(table), *_of_tries(self._durations)]
            found += self._of_destinations()
        except (NodeError, sqlite3.Error):
            found.clear()
        yield _gauge("lfmri_job_table_readable", "1 where the job table answers", float(bool(found)))
        yield from found

    def _of_process(self) -> Iterator[Metric]:
        vitals, config = self._vitals, self._config
        about = GaugeMetricFamily("lfmri_build_info", "Always 1", labels=["version"])
        about.add_metric([self._version], 1)
        yield about
        is_ready = ready(
            vitals, self._table, self._layout.root, floor_gb=config.listener.free_space_floor_gb
        ).good
        yield _gauge("lfmri_ready", "1 where /readyz says that scans are taken", float(is_ready))
        yield _gauge("lfmri_disk_free_bytes", "Free space of node.data_dir", bytes_free(self._layout.root))
        floor = config.listener.free_space_floor_gb * 2**30
        yield _gauge("lfmri_disk_floor_bytes", "Below it C-STORE is refused", floor)
        starts = CounterMetricFamily("lfmri_worker_starts", "Reconstruction processes started")
        starts.add_metric([], vitals.worker_starts())
        yield starts
        associations = CounterMetricFamily(
            "lfmri_associations",
            "Associations accepted, and refusals of connections, associations and objects by code",
            labels=["outcome"],
        )
        for outcome, n in sorted(vitals.associations().items()):
            associations.add_metric([outcome], n)
        yield associations
        shut = GaugeMetricFamily(
            "lfmri_destination_shut", "1 while it is left alone after silence", labels=["destination"]
        )
        for name, is_shut in vitals.shut().items():
            shut.add_metric([name], float(is_shut))
        yield shut

    def _of_spool(self) -> Iterator[Metric]:
        present, after_s = datetime.now(UTC), self._config.listener.incomplete_after_s
        scans = incomplete_scans(self._layout.spool)
        overdue = sum(scan.overdue(present, after_s) for scan in scans)
        family = GaugeMetricFamily(
            "lfmri_incomplete_scans", "Scans that wait for parts, overdue or not", labels=["overdue"]
        )
        family.add_metric(["yes"], overdue)
        family.add_metric(["no"], len(scans) - overdue)
        yield family

    def _of_destinations(self) -> list[Metric]:
        family = GaugeMetricFamily(
            "lfmri_destination_failing_seconds",
            "Seconds since the first of the tries that all failed; 0 where the last was good",
            labels=["destination"],
        )
        with closing(Overview(self._table)) as table:
            for name in self._vitals.shut():
                since = table.backlog(name).held_since
                family.add_metric([name], _age_s(since) if since is not None else 0.0)
        return [family]


def _of_jobs(table: Figures) -> Iterator[Metric]:
    jobs = GaugeMetricFamily("lfmri_jobs", "Jobs on record, by the stage that is durable", labels=["stage"])
    counts = table.stage_counts()
    for stage in Stage:
        jobs.add_metric([stage.value], counts.get(stage, 0))
    yield jobs
    yield _gauge("lfmri_held_jobs", "Jobs held until somebody says whose they are", float(len(table.held())))
    quarantined = GaugeMetricFamily("lfmri_quarantined_jobs", "Jobs in quarantine", labels=["code"])
    for code, n in sorted(table.quarantined_by_code().items()):
        quarantined.add_metric([code], n)
    yield quarantined
    oldest = GaugeMetricFamily(
        "lfmri_oldest_waiting_seconds",
        "Seconds since the oldest unfinished job at a stage was received",
        labels=["stage"],
    )
    for stage, since in table.oldest_open().items():
        oldest.add_metric([stage.value], _age_s(since))
    yield oldest
    verdicts = GaugeMetricFamily("lfmri_scans", "Scans on record, by verdict", labels=["verdict"])
    for verdict, n in sorted(table.verdicts().items()):
        verdicts.add_metric([verdict], n)
    yield verdicts
    deliveries = GaugeMetricFamily(
        "lfmri_deliveries", "Jobs by destination: waiting, refused, done", labels=["destination", "state"]
    )
    for (destination, state), n in sorted(table.deliveries().items()):
        deliveries.add_metric([destination, state], n)
    yield deliveries


def _of_tries(durations: Durations) -> Iterator[Metric]:
    tries = CounterMetricFamily(
        "lfmri_tries",
        "Tries of a stage since the start, by outcome: done, drained, cut off, or a code",
        labels=["stage", "outcome"],
    )
    for (stage, outcome), n in sorted(durations.outcomes.items()):
        tries.add_metric([stage.value, outcome], n)
    yield tries
    seconds = HistogramMetricFamily(
        "lfmri_stage_seconds", "Durations of tries that were done, since the start", labels=["stage"]
    )
    for stage, counts in durations.buckets.items():
        bounds = [*map(str, BUCKETS_S), "+Inf"]
        running = [(bound, float(sum(counts[: n + 1]))) for n, bound in enumerate(bounds)]
        seconds.add_metric([stage.value], running, durations.sums[stage])
    yield seconds


def _gauge(name: str, what: str, value: float) -> Metric:
    family = GaugeMetricFamily(name, what)
    family.add_metric([], value)
    return family


def _age_s(since: datetime) -> float:
    return max((datetime.now(UTC) - since).total_seconds(), 0.0)
