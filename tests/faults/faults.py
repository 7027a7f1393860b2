"""The faults of a campaign: each is brought about, and most are ended, by one method of `Faults`."""

from __future__ import annotations

import contextlib
import math
import random
import signal
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import cycle, islice
from typing import TYPE_CHECKING

from archive import Archive
from archives import Wire
from crew import Crew
from hostile import ATTACKS, under_attack
from senders import Gateway
from surroundings import free_port, wait_until

if TYPE_CHECKING:
    from campaign import Campaign

KILLS = {
    "node": 0.3,
    "worker": 0.27,
    "both": 0.15,
    "starting": 0.13,
    "gateway": 0.07,
    "node and gateway": 0.08,
}
"""What is killed, and how often in a hundred."""

FREEZES = ("node", "worker")
"""What is stopped by SIGSTOP for a while, as on a machine that swaps or is moved: it comes back."""

_CROWD, _CROWD_EVERY = 64, 20
_POSTGRES_SHARE, _OTHERS_SHARE = 0.2, 0.4
_CLOCK_STEPS_S = (-86_400, 3_600, -3_600, 86_400, 0)
_HOUR_S, _DAY_H = 3600, 24
_FEW = 3
_ANSWERS = (0x0000, 0x0000, 0x0000, 0xA700, 0x0110, 0xB000, 0xB006, 0xB007, 0x0111)
_DUPLICATE = 0x0111


def answer(archive: Archive, status: int) -> None:
    """Have an archive answer a C-STORE so; 0x0111, duplicate, only for what it has already."""

    def answered(uid: str) -> int:
        return 0 if status == _DUPLICATE and archive.instances()[uid].stores == 1 else status

    archive.before_answer = answered


class Faults:
    """Does things to what belongs to a campaign."""

    def __init__(self, campaign: Campaign, rng: random.Random) -> None:
        self._campaign = campaign
        self._rng = rng
        self._deeds = {
            "kill": self._kill,
            "freeze": self._freeze,
            "postgres": self._postgres,
            "crowd": self._crowd,
            "silent": self._silent,
            "away": self._away,
            "full": self._full,
            "second": self._second,
            "clock": self._step_clock,
            "backup": self._back_up,
            "restore": self._restore,
        }

    def plan(self, kills: int) -> list[str]:
        """Names of faults in random order; for every ten kills a freeze and four of the others."""
        crew = isinstance(self._campaign.node, Crew)
        plan = [f"kill {self._rng.choices(list(KILLS), list(KILLS.values()))[0]}" for _ in range(kills)]
        plan += [f"freeze {what}" for what in islice(cycle(FREEZES), math.ceil(0.1 * kills))]
        plan += ["postgres"] * math.ceil(_POSTGRES_SHARE * kills) if crew else []
        plan += ["crowd"] * (kills // _CROWD_EVERY)
        others = ["silent", "full", "second", "second other-name"]
        others += ["full start"] if self._campaign.disk.mounted else []
        others += ["clock", "away"] if self._campaign.clock.works else []
        others += [] if crew else ["backup", "restore"]
        self._rng.shuffle(others)
        plan += list(islice(cycle(others), math.ceil(_OTHERS_SHARE * kills)))
        self._rng.shuffle(plan)
        return plan

    def happen(self, fault: str) -> None:
        """Bring a fault about; the node runs again afterwards, unless it ended by itself."""
        name, _, how = fault.partition(" ")
        self._deeds[name](how)

    def _some_time(self, longest_s: float) -> None:
        self._campaign.pause.wait(self._rng.uniform(0.0, longest_s))

    def _kill(self, what: str) -> None:
        """One kill -9 at a random moment, in a random mood of one PACS; started again, in any order."""
        campaign = self._campaign
        campaign.moody.wire.change(self._rng.choice(("open", "open", *Wire.MOODS)))
        answer(campaign.moody.archive, self._rng.choice(_ANSWERS))
        campaign.verdict.kills += 1
        if what == "worker":
            self._kill_worker()
            return
        self._some_time(2.0)
        if what == "both":
            campaign.node.kill_worker()
        if what != "gateway":
            campaign.node.kill()
        if what == "starting":
            campaign.node.launch()
            self._some_time(campaign.start_s)
            campaign.node.kill()
        starts = [] if what == "gateway" else [campaign.start]
        if "gateway" in what:
            campaign.watched.end(signal.SIGKILL)
            starts.append(campaign.watched.start)
        self._rng.shuffle(starts)
        for start in starts:
            start()

    def _kill_worker(self) -> None:
        """Not twice without a scan in between: that would be a scan that kills its worker."""
        self._campaign.wait_arrivals(1, "before a worker was to be killed")
        self._some_time(1.0)
        wait_until(self._campaign.node.kill_worker, self._campaign.patience_s)

    def _freeze(self, what: str) -> None:
        """SIGSTOP for a while, then SIGCONT."""
        node = self._campaign.node
        frozen = node.freeze(what)
        self._some_time(max(2.0 * self._campaign.start_s, node.longest_freeze_s))
        node.thaw(frozen)

    def _postgres(self, _how: str) -> None:
        """The database server restarts."""
        node = self._campaign.node
        assert isinstance(node, Crew)
        self._some_time(2.0)
        node.restart_database()

    def _crowd(self, _how: str) -> None:
        """64 gateways send a new scan at once, beside 64 connections of a stranger that mean no good."""
        campaign = self._campaign
        numbers = [number for _ in range(_CROWD) if (number := campaign.next_number()) is not None]
        gateways = [Gateway(campaign, 0) for _ in numbers]
        for number in numbers:
            campaign.scan(number)
        kind = self._rng.choice(sorted(ATTACKS))
        with (
            under_attack(campaign.port, ATTACKS[kind], source="127.0.0.2"),
            ThreadPoolExecutor(_CROWD) as pool,
        ):
            list(pool.map(Gateway.send, gateways, numbers))

    def _silent(self, _how: str) -> None:
        """One PACS takes connections and says nothing; scans go on arriving in the other one."""
        self._campaign.moody.wire.change("silent")
        self._campaign.wait_arrivals(_FEW, "beside a silent one")
        self._campaign.moody.wire.change("open")

    def _away(self, _how: str) -> None:
        """One PACS is away for 24 hours of the node's clock, while scans come."""
        campaign = self._campaign
        campaign.moody.wire.change("closed")
        campaign.wait_arrivals(_FEW, "beside one that is away")
        for _ in range(_DAY_H):
            campaign.clock.step_to(campaign.clock.shows_s + _HOUR_S)
            self._some_time(0.3)
        campaign.moody.wire.change("open")

    def _full(self, how: str) -> None:
        """The disk is full for a while; also while the node starts."""
        campaign = self._campaign
        campaign.disk.fill(campaign.node)
        self._some_time(2.0)
        if how == "start":
            campaign.node.kill()
            campaign.node.launch()
            self._some_time(2.0 * campaign.start_s)
        campaign.disk.empty(campaign.node)

    def _second(self, how: str) -> None:
        """Another node on the same folder, also under another name, has to leave by itself."""
        node, verdict = self._campaign.node, self._campaign.verdict
        config = node.configure("second.toml", free_port())
        if how:
            text = config.read_text(encoding="utf-8")
            config.write_text(text.replace("[node]", '[node]\nexecutor_id = "node-2"'), encoding="utf-8")
        second = node.launch(config)
        if not wait_until(lambda: second.poll() is not None, self._campaign.patience_s):
            verdict.second_nodes += 1
            verdict.remarks.append(f"a second node on the same folder was let in ({how or 'same name'})")
            second.kill()
        second.wait()

    def _step_clock(self, _how: str) -> None:
        """The wall clock of the node jumps by an hour or a day, also backwards, while deliveries wait."""
        campaign = self._campaign
        campaign.moody.wire.change("closed")
        self._some_time(2.0)
        campaign.clock.step_to(max(0, campaign.clock.shows_s + self._rng.choice(_CLOCK_STEPS_S)))
        campaign.moody.wire.change("open")

    def _back_up(self, _how: str) -> None:
        """What a later restore will bring back."""
        campaign = self._campaign
        campaign.collect()
        if not campaign.backups.take(campaign.acknowledged):
            campaign.verdict.remarks.append("a backup came to nothing")

    def _restore(self, _how: str) -> None:
        """The disk is lost, the latest backup takes its place; what it does not know is sent again."""
        campaign = self._campaign
        if campaign.backups.latest is None:
            self._back_up("")
            self._some_time(4.0)
        if campaign.backups.latest is None:
            return
        with contextlib.ExitStack() as nobody_sends:
            for gateway in campaign.gateways:
                nobody_sends.enter_context(gateway.busy)
            campaign.watched.end(signal.SIGTERM)
            campaign.node.kill()
            campaign.collect()
            campaign.backups.restore()
            owed = campaign.acknowledged - campaign.backups.known
            campaign.acknowledged -= owed
            by_watcher = owed & set(campaign.watched.sent())
            campaign.watched.put_back(by_watcher)
            campaign.owed |= owed - by_watcher
            campaign.verdict.owed += len(owed)
            starts = [campaign.start, campaign.watched.start]
            self._rng.shuffle(starts)
            for start in starts:
                start()


def in_order(plan: Sequence[str], exams: int, rng: random.Random) -> list[tuple[int, str]]:
    """Each fault with the number of exams after which it happens, spread at random."""
    return list(zip(sorted(rng.randrange(exams) for _ in plan), plan, strict=True))
