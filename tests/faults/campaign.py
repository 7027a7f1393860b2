"""One campaign: scans are sent without pause while node, worker, disk, clock and PACS fail at random."""

from __future__ import annotations

import contextlib
import math
import random
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import cycle, islice
from pathlib import Path
from time import monotonic

from archives import Identity, Orthanc, StoragePacs, Wire, storage_pacs
from crew import Crew
from hostile import ATTACKS, under_attack
from postgres_cluster import running_cluster
from senders import BACKLOG, Gateway, Verdict
from surroundings import Clock, Disk, Node, free_port, installed, make_scan, store, study_of, wait_until

from lfmri_node.node.viewer.orthanc_server import OrthancServer, find_orthanc

KILLS = {"node": 0.35, "worker": 0.3, "both": 0.2, "starting": 0.15}
"""What is killed, and how often in a hundred."""

FREEZES = ("node", "worker")
"""What is stopped by SIGSTOP for a while, as on a machine that swaps or is moved: it comes back."""

_CROWD, _CROWD_EVERY = 64, 20
_STARVED_S = 90.0
_PEACE_S = 300.0
_CLOCK_STEPS_S = (-86_400, 3_600, -3_600, 86_400, 0)


class Campaign:
    """A node under faults, two PACS, gateways, and the verdict.

    Parameters
    ----------
    name
        Begins with the kind of node: ``light`` or ``real``, see `Node`, or ``shared``, see `Crew`.
    seed
        Of every random choice. Moments depend on the machine as well.
    """

    def __init__(self, folder: Path, *, name: str, seed: int, show: Callable[[str], None]) -> None:
        self.verdict = Verdict()
        self.acknowledged: set[int] = set()
        self._rng = random.Random(f"{seed} {name}")
        self._folder = folder
        self._name = name
        self._kind = name.partition(" ")[0]
        self._show = show
        self._turn = threading.Lock()
        self._number = 0
        self._start_s = 5.0

    def run(self, kills: int, until: float) -> Verdict:
        """So many kills with the other faults among them (none after ``until``), then peace and the count."""
        begun = monotonic()
        faults = {
            "kill": self._kill,
            "freeze": self._freeze,
            "postgres": self._postgres,
            "crowd": self._crowd,
            "silent": self._silent,
            "full": self._full,
            "second": self._second,
            "clock": self._step_clock,
        }
        with contextlib.ExitStack() as stack:
            self._set_up(stack)
            self._start()
            gateways = [Gateway(self, self._rng.randrange(1 << 30)) for _ in range(2)]
            for gateway in gateways:
                gateway.start()
            for number, fault in enumerate(self._plan(kills), start=1):
                if monotonic() > until:
                    break
                self._show(f"{self._name}: {number} {fault}, {len(self.acknowledged)} scans acknowledged")
                self.verdict.faults[fault] += 1
                name, _, how = fault.partition(" ")
                if not self.node.alive:
                    self.verdict.own_exits += 1
                    self._start()
                faults[name](how)
            self._peace(gateways)
            self._count()
        self.verdict.seconds = monotonic() - begun
        return self.verdict

    def _set_up(self, stack: contextlib.ExitStack) -> None:
        folder = self._folder
        self._clock = Clock(folder / "clock")
        self._disk = Disk(folder / "node" / "data")
        stack.callback(self._disk.remove)
        self.moody = stack.enter_context(storage_pacs(folder / "moody", self._rng))
        self.healthy: StoragePacs | Orthanc
        environment = dict(self._clock.environment)
        if program := find_orthanc():
            self.healthy = Orthanc(stack.enter_context(OrthancServer(program, folder / "orthanc")))
            environment |= self.healthy.environment
        else:
            self.healthy = stack.enter_context(storage_pacs(folder / "healthy", self._rng))
        tables = [self.moody.destination("moody"), self.healthy.destination("healthy")]
        place = folder / "node"
        if self._kind != "shared":
            self.node = stack.enter_context(Node(place, self._kind, tables, environment))
            return
        cluster = stack.enter_context(running_cluster(installed))
        crew = Crew(place, tables, environment, cluster=cluster, rng=self._rng)
        self.node = stack.enter_context(crew)

    def _plan(self, kills: int) -> list[str]:
        """Names of faults in random order; a freeze and three of the others for every ten kills."""
        plan = [f"kill {self._rng.choices(list(KILLS), list(KILLS.values()))[0]}" for _ in range(kills)]
        plan += [f"freeze {what}" for what in islice(cycle(FREEZES), math.ceil(0.1 * kills))]
        plan += ["postgres"] * math.ceil(0.1 * kills) if self._kind == "shared" else []
        plan += ["crowd"] * (kills // _CROWD_EVERY)
        others = ["silent", "full", "second", "second other-name"]
        others += ["full start"] if self._disk.mounted else []
        others += ["clock"] if self._clock.works else []
        self._rng.shuffle(others)
        plan += list(islice(cycle(others), math.ceil(0.3 * kills)))
        self._rng.shuffle(plan)
        return plan

    @property
    def port(self) -> int:
        return self.node.port

    def next_number(self) -> int:
        with self._turn:
            self._number += 1
            return self._number

    def scan(self, number: int) -> list[Path]:
        """Raw Data objects of a scan, made when they are first wanted."""
        with self._turn:
            made = sorted((self._folder / "scans" / f"scan-{number:04d}").glob("*.dcm"))
            return made or make_scan(self._folder / "scans", number)

    def backlog(self) -> int:
        """Scans that are acknowledged and not in the healthy PACS yet."""
        return len(self.acknowledged) - self.healthy.n_studies()

    def _start(self) -> None:
        """Start the node and, like a supervisor, start it again where it ends by itself."""
        begun = monotonic()
        while not self.node.start():
            self.verdict.own_exits += 1
            if monotonic() - begun > _PEACE_S:
                raise RuntimeError(f"the node does not start: see {self.node.log}")
        self._start_s = monotonic() - begun

    @property
    def _patience_s(self) -> float:
        """How long something may take that has to happen; a slow machine gets more."""
        return max(_STARVED_S, 5 * self._start_s)

    def _some_time(self, longest_s: float) -> None:
        threading.Event().wait(self._rng.uniform(0.0, longest_s))

    def _kill(self, what: str) -> None:
        """One kill -9 at a random moment, in a random mood of one PACS; the node is started again."""
        self.moody.wire.change(self._rng.choice(("open", "open", *Wire.MOODS)))
        self.moody.pacs.before_answer = self._rng.choice((_taken, _taken, _taken, _no_space))
        self.verdict.kills += 1
        if what == "worker":
            self._kill_worker()
            return
        self._some_time(2.0)
        if what == "both":
            self.node.kill_worker()
        self.node.kill()
        if what == "starting":
            self.node.launch()
            self._some_time(self._start_s)
            self.node.kill()
        self._start()

    def _kill_worker(self) -> None:
        """Not twice without a scan in between: that would be a scan that kills its worker."""
        self._wait_arrivals(1, "before a worker was to be killed")
        self._some_time(1.0)
        wait_until(self.node.kill_worker, self._patience_s)

    def _freeze(self, what: str) -> None:
        """SIGSTOP for a while, then SIGCONT."""
        frozen = self.node.freeze(what)
        self._some_time(max(2.0 * self._start_s, self.node.longest_freeze_s))
        self.node.thaw(frozen)

    def _postgres(self, _how: str) -> None:
        """The database server restarts."""
        assert isinstance(self.node, Crew)
        self._some_time(2.0)
        self.node.restart_database()

    def _crowd(self, _how: str) -> None:
        """64 gateways send a new scan at once, beside 64 connections of a stranger that mean no good."""
        gateways = [Gateway(self, 0) for _ in range(_CROWD)]
        numbers = [self.next_number() for _ in gateways]
        for number in numbers:
            self.scan(number)
        kind = self._rng.choice(sorted(ATTACKS))
        with under_attack(self.port, ATTACKS[kind], source="127.0.0.2"), ThreadPoolExecutor(_CROWD) as pool:
            list(pool.map(Gateway.send, gateways, numbers))

    def _wait_arrivals(self, n_scans: int, when: str) -> None:
        wanted = self.healthy.n_studies() + n_scans
        if not wait_until(lambda: self.healthy.n_studies() >= wanted, self._patience_s, every_s=0.5):
            self.verdict.starved += 1
            self.verdict.remarks.append(f"the healthy PACS got nothing for {self._patience_s:.0f} s, {when}")

    def _silent(self, _how: str) -> None:
        """One PACS takes connections and says nothing; scans go on arriving in the other one."""
        self.moody.wire.change("silent")
        self._wait_arrivals(BACKLOG, "beside a silent one")
        self.moody.wire.change("open")

    def _full(self, how: str) -> None:
        """The disk is full for a while; also while the node starts."""
        self._disk.fill(self.node)
        self._some_time(2.0)
        if how == "start":
            self.node.kill()
            self.node.launch()
            self._some_time(2.0 * self._start_s)
        self._disk.empty(self.node)

    def _second(self, how: str) -> None:
        """Another node on the same folder, also under another name, has to leave by itself."""
        config = self.node.configure("second.toml", free_port())
        if how:
            text = config.read_text(encoding="utf-8")
            config.write_text(text.replace("[node]", '[node]\nexecutor_id = "node-2"'), encoding="utf-8")
        second = self.node.launch(config)
        if not wait_until(lambda: second.poll() is not None, self._patience_s):
            self.verdict.second_nodes += 1
            self.verdict.remarks.append(f"a second node on the same folder was let in ({how or 'same name'})")
            second.kill()
        second.wait()

    def _step_clock(self, _how: str) -> None:
        """The wall clock of the node jumps by an hour or a day, also backwards, while deliveries wait."""
        self.moody.wire.change("closed")
        self._some_time(2.0)
        self._clock.step_to(self._rng.choice(_CLOCK_STEPS_S))
        self.moody.wire.change("open")

    def _peace(self, gateways: list[Gateway]) -> None:
        """No more faults: whatever was acknowledged has to arrive now, without an operator."""
        self._disk.empty(self.node)
        self.moody.wire.change("open")
        self.moody.pacs.before_answer = _taken
        if not self.node.alive:
            self._start()
        for gateway in gateways:
            gateway.last = True
        for gateway in gateways:
            gateway.join(_PEACE_S)
            gateway.stopped.set()

        if not wait_until(lambda: self.node.status()["unfinished"] == 0, _PEACE_S, every_s=1.0):
            self.verdict.remarks.append(f"jobs were unfinished after {_PEACE_S:.0f} s of peace")

    def _count(self) -> None:
        verdict, scans = self.verdict, sorted(self.acknowledged)
        verdict.acknowledged = len(scans)
        verdict.quarantined = self.node.status()["stages"].get("quarantined", 0)
        expected = undisturbed(self._folder / "reference", self.node.kind, [self.scan(n)[0] for n in scans])
        lost = set()
        for name, pacs in (("healthy", self.healthy), ("moody", self.moody)):
            held = pacs.held()
            pixels = {item.identity: item.pixels for item in held}
            wrong = {identity[0] for identity, digest in expected.items() if pixels.get(identity) != digest}
            doubled = len(held) - len(pixels.keys() & expected.keys()) + pacs.conflicts()
            verdict.doubled += doubled
            lost |= wrong
            if wrong or doubled:
                verdict.remarks.append(
                    f"{name}: {len(wrong)} scans not as expected, {doubled} objects doubled"
                )
        verdict.lost = sum(study_of(number) in lost for number in scans)
        verdict.delivered = verdict.acknowledged - verdict.lost


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


def _taken(_uid: str) -> int:
    return 0x0000


def _no_space(_uid: str) -> int:
    return 0xA700
