"""One campaign: scans are sent without pause while whatever is around fails at random."""

from __future__ import annotations

import contextlib
import math
import random
import signal
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from time import monotonic

from archive import HABITS
from archives import Identity, Orthanc, StoragePacs, storage_pacs
from crew import Crew
from faults import Faults, answer
from postgres_cluster import running_cluster
from scans import make_scan, store, study_of, write_file
from senders import Gateway, Verdict
from surroundings import Clock, Disk, Node, installed, wait_until
from watched import WatchedFolder
from yesterday import Backups

from lfmri_node.node.viewer.orthanc_server import OrthancServer, find_orthanc

_STARVED_S = 90.0
_PEACE_S = 300.0
_WATCHED_MOST = 4


class Campaign:
    """A node under faults, two PACS, gateways, and the verdict.

    Attributes
    ----------
    acknowledged, owed
        See `senders.Sending`.

    Parameters
    ----------
    name
        Begins with the kind of node: ``light`` or ``real``, see `Node`, or ``shared``, see `Crew`.
    seed
        Of every random choice. Moments depend on the machine as well.
    most
        Scans there are at all: after them nothing more arrives, however long one waits.
    """

    n_gateways = 2
    again_share = 0.2
    watched_every = 8
    """One scan of so many lies in the folder that ``lfmri-node gateway watch`` looks at."""
    backlog = 3
    """Scans on their way to the PACS at which gateways wait."""
    disk_mb = 96
    habits: tuple[str, ...] = HABITS
    """How the archive answers requests for commitment; then, in peace."""
    honest: tuple[str, ...] = ("here", "later")

    def __init__(
        self, folder: Path, *, name: str, seed: int, show: Callable[[str], None], most: float = math.inf
    ) -> None:
        self.verdict = Verdict()
        self.acknowledged: set[int] = set()
        self.owed: set[int] = set()
        self.gateways: list[Gateway] = []
        self.pause = threading.Event()
        self.start_s = 5.0
        self.most = most
        self._rng = random.Random(f"{seed} {name}")
        self._folder = folder
        self._name = name
        self._kind = name.partition(" ")[0]
        self._show = show
        self._turn = threading.Lock()
        self._number = 0
        self._by_watcher: set[int] = set()

    def run(self, kills: int, until: float) -> Verdict:
        """So many kills with the other faults among them (none after ``until``), then peace and the count."""
        begun = monotonic()
        with contextlib.ExitStack() as stack:
            self._set_up(stack)
            self.start()
            self.watched.start()
            self.gateways += [
                Gateway(self, self._rng.randrange(1 << 30), again_share=self.again_share)
                for _ in range(self.n_gateways)
            ]
            for gateway in self.gateways:
                gateway.start()
            self._suffer(kills, until)
            self._peace()
            self._count()
        self.verdict.seconds = monotonic() - begun
        return self.verdict

    def _suffer(self, kills: int, until: float) -> None:
        faults = Faults(self, self._rng)
        for fault in faults.plan(kills):
            if monotonic() > until:
                break
            self.happen(faults, fault)

    def happen(self, faults: Faults, fault: str) -> None:
        """One fault."""
        self._show(f"{self._name}: {fault}, {len(self.acknowledged)} scans acknowledged")
        self.verdict.faults[fault] += 1
        self.keep_up()
        faults.happen(fault)

    def _set_up(self, stack: contextlib.ExitStack) -> None:
        folder = self._folder
        self.clock = Clock(folder / "clock")
        self.disk = Disk(folder / "node" / "data", size_mb=self.disk_mb)
        stack.callback(self.disk.remove)
        self.moody = stack.enter_context(storage_pacs(folder / "moody", self._rng, commitment=True))
        self.healthy: StoragePacs | Orthanc
        environment = dict(self.clock.environment)
        if program := find_orthanc():
            server = OrthancServer(program, folder / "orthanc", overwrite=False)
            self.healthy = Orthanc(stack.enter_context(server))
            environment |= self.healthy.environment
        else:
            self.healthy = stack.enter_context(storage_pacs(folder / "healthy", self._rng))
        tables = [self.moody.destination("moody"), self.healthy.destination("healthy")]
        self.node = stack.enter_context(self._node(stack, folder / "node", tables, environment))
        self.moody.archive.node_port = self.node.port
        self.moody.archive.habits = self.habits
        self.watched = WatchedFolder(folder / "gateway", self.write, self.node.port)
        stack.callback(self.watched.end, signal.SIGKILL)
        self.backups = Backups(folder / "backups", self.node)

    def _node(
        self, stack: contextlib.ExitStack, place: Path, tables: list[str], environment: dict[str, str]
    ) -> Node:
        if self._kind != "shared":
            return Node(place, self._kind, tables, environment)
        cluster = stack.enter_context(running_cluster(installed))
        return Crew(place, tables, environment, cluster=cluster, rng=self._rng)

    @property
    def port(self) -> int:
        return self.node.port

    def next_number(self) -> int | None:
        """See `senders.Sending`; now and then one is for the watched folder."""
        number = self._taken()
        while number is not None and number % self.watched_every == 0 and self._has_time():
            self.watched.export(number)
            self._by_watcher.add(number)
            number = self._taken()
        return number

    def _has_time(self) -> bool:
        return len(self.watched.waiting()) < _WATCHED_MOST

    def _taken(self) -> int | None:
        with self._turn:
            self._number += 1
            return self._number

    def some_again(self, rng: random.Random) -> int:
        return rng.choice(sorted(self.acknowledged - self._by_watcher) or [1])

    def likeness(self, number: int) -> int:
        """The number whose images a scan has."""
        return number

    def write(self, number: int, path: Path) -> dict[str, str]:
        """See `scans.write_file`."""
        return write_file(number, path, likeness=self.likeness(number))

    def scan(self, number: int) -> list[Path]:
        """Raw Data objects of a scan, made when they are first wanted."""
        with self._turn:
            made = sorted((self._folder / "scans" / f"scan-{number:04d}").glob("*.dcm"))
            return made or make_scan(self._folder / "scans", number, likeness=self.likeness(number))

    def full(self) -> bool:
        """Whether so many scans are acknowledged and not in the healthy PACS yet."""
        self.collect()
        return len(self.acknowledged) - self.healthy.n_studies() >= self.backlog

    def collect(self) -> None:
        """Learn what the watched folder has got rid of."""
        self.acknowledged |= set(self.watched.sent())

    def start(self) -> None:
        """Start the node and, like a supervisor, start it again where it ends by itself."""
        begun = monotonic()
        while not self.node.start():
            self.verdict.own_exits += 1
            if monotonic() - begun > _PEACE_S:
                raise RuntimeError(f"the node does not start: see {self.node.log}")
        self.start_s = monotonic() - begun

    @property
    def patience_s(self) -> float:
        """How long something may take that has to happen; a slow machine gets more."""
        return max(_STARVED_S, 5 * self.start_s)

    def wait_arrivals(self, n_scans: int, when: str) -> None:
        """Wait until so many more scans are in the healthy PACS; count it where they do not come."""
        wanted = min(self.healthy.n_studies() + n_scans, self.most)

        def came() -> bool:
            self.keep_up()
            return self.healthy.n_studies() >= wanted

        if not wait_until(came, self.patience_s, every_s=0.5):
            self._starved(f"the healthy PACS got nothing for {self.patience_s:.0f} s, {when}")

    def _starved(self, remark: str) -> None:
        self.verdict.starved += 1
        self.verdict.remarks.append(remark)

    def _peace(self) -> None:
        """No more faults: whatever was acknowledged has to arrive now, without an operator."""
        self.disk.empty(self.node)
        self.moody.wire.change("open")
        answer(self.moody.archive, 0x0000)
        self.moody.archive.habits = self.honest
        self.keep_up()
        self.watched.end(signal.SIGTERM)  # started anew it waits for nothing
        self.watched.start()
        for gateway in self.gateways:
            gateway.last = True
        if not wait_until(self._all_is_sent, _PEACE_S, every_s=0.5):
            self._starved(f"gateways were not done after {_PEACE_S:.0f} s of peace")
        for gateway in self.gateways:
            gateway.stopped.set()
            gateway.join()
        limit_s = _PEACE_S + len(self.acknowledged)
        if not wait_until(self._has_nothing_left, limit_s, every_s=1.0):
            self._starved(f"jobs were unfinished after {limit_s:.0f} s of peace")
        self.collect()

    def _all_is_sent(self) -> bool:
        self.keep_up()
        return not any(gateway.is_alive() for gateway in self.gateways) and not self.watched.waiting()

    def _has_nothing_left(self) -> bool:
        """Ask the node, which a supervisor starts again where it has ended."""
        self.keep_up()
        return bool(self.node.status()["unfinished"] == 0)

    def keep_up(self) -> None:
        """Start again whatever of the node has ended by itself."""
        if not self.node.alive:
            self.verdict.own_exits += 1
            self.start()
        elif isinstance(self.node, Crew):
            self.node.supervise()

    def _count(self) -> None:
        verdict, scans = self.verdict, sorted(self.acknowledged | self.owed)
        verdict.acknowledged = len(scans)
        verdict.by_watcher = len(self.watched.sent())
        verdict.commitment = self.moody.archive.asked
        verdict.turned_away += len(self.watched.failed())
        verdict.quarantined = self.node.status()["stages"].get("quarantined", 0)
        expected = self._expected(scans)
        lost = {study_of(number) for number in self.watched.waiting()}
        for name, pacs in (("healthy", self.healthy), ("moody", self.moody)):
            held = pacs.held()
            pixels = {item.identity: item.pixels for item in held}
            wrong = {identity[0] for identity, digest in expected.items() if pixels.get(identity) != digest}
            doubled = len(held) - len(pixels.keys() & expected.keys()) + pacs.conflicts()
            verdict.doubled += doubled
            verdict.remade += pacs.remade()
            lost |= wrong
            if wrong or doubled:
                verdict.remarks.append(
                    f"{name}: {len(wrong)} scans not as expected, {doubled} objects doubled"
                )
        verdict.lost = sum(study_of(number) in lost for number in scans)
        verdict.delivered = verdict.acknowledged - verdict.lost

    def _expected(self, scans: Sequence[int]) -> dict[Identity, str]:
        """SHA-256 of the pixels of every object that there has to be."""
        likes = sorted({self.likeness(number) for number in scans})
        made = undisturbed(self._folder / "reference", self.node.kind, [self.scan(n)[0] for n in likes])
        of = {study_of(number): number for number in likes}
        by_likeness: dict[int, list[tuple[Identity, str]]] = {}
        for identity, digest in made.items():
            by_likeness.setdefault(of[identity[0]], []).append((identity, digest))
        return {
            (study_of(number), series, instance): digest
            for number in scans
            for (_, series, instance), digest in by_likeness[self.likeness(number)]
        }


def undisturbed(folder: Path, kind: str, scans: list[Path]) -> dict[Identity, str]:
    """SHA-256 of the pixels of every object that a node makes of ``scans`` when nothing fails."""
    with storage_pacs(folder / "pacs", random.Random(0)) as pacs:
        with Node(folder / "node", kind, [pacs.destination("pacs")]) as node:
            node.start()
            if any(store(scan, node.port) != 0 for scan in scans):
                raise RuntimeError(f"the undisturbed node refuses a scan: see {node.log}")
            wait_until(lambda: pacs.n_studies() == len(scans), 60.0 + 30.0 * len(scans))
            wait_until(lambda: node.status()["unfinished"] == 0, _PEACE_S, every_s=1.0)
        return {item.identity: item.pixels for item in pacs.held()}
