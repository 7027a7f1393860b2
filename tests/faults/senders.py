"""The count of a campaign, and the gateways that send without pause."""

from __future__ import annotations

import random
import threading
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from surroundings import store

from lfmri_node.dicom_io.status import meaning_of

BACKLOG = 3
"""Scans on their way to the PACS at which a gateway waits."""

_AGAIN_SHARE = 0.2


@dataclass
class Verdict:
    """What came of a campaign.

    Parameters
    ----------
    acknowledged, delivered, lost, quarantined
        Scans. Delivered: every object is in both PACS with the pixels of an undisturbed run.
    doubled
        Objects that are there twice, or that an undisturbed run does not make.
    turned_away
        Times that a scan without fault was answered with a status that tells the sender to give up.
    starved
        Times that the healthy PACS got nothing for 90 s, or for five starts of the node on a slow machine.
    second_nodes
        Times that a second node was let in on the same folder.
    own_exits
        Times that the node ended by itself, as at a start on a full disk, and was started again.
    """

    kills: int = 0
    acknowledged: int = 0
    delivered: int = 0
    lost: int = 0
    doubled: int = 0
    quarantined: int = 0
    answers: Counter[str] = field(default_factory=Counter)
    turned_away: int = 0
    starved: int = 0
    second_nodes: int = 0
    own_exits: int = 0
    seconds: float = 0.0
    faults: Counter[str] = field(default_factory=Counter)
    remarks: list[str] = field(default_factory=list)

    @property
    def good(self) -> bool:
        """Nothing lost, doubled, put aside, turned away or starved, and one node at a time."""
        wrong = (self.lost, self.doubled, self.quarantined, self.turned_away, self.starved, self.second_nodes)
        return not any(wrong)


class Sending(Protocol):
    """What gateways share: the scans, the port they go to, what was acknowledged, the count."""

    verdict: Verdict
    acknowledged: set[int]

    @property
    def port(self) -> int: ...

    def backlog(self) -> int: ...

    def next_number(self) -> int: ...

    def scan(self, number: int) -> list[Path]: ...


class Gateway(threading.Thread):
    """Sends one scan after the other, some twice, each until it is acknowledged."""

    def __init__(self, campaign: Sending, seed: int) -> None:
        super().__init__(daemon=True)
        self._campaign = campaign
        self._rng = random.Random(seed)
        self.pause = threading.Event()
        self.stopped = threading.Event()
        self.last = False

    def run(self) -> None:
        while not self.last and not self.stopped.is_set():
            again = self._rng.random() < _AGAIN_SHARE
            if self._campaign.backlog() >= BACKLOG:
                self.pause.wait(0.5)
            elif again and self._campaign.acknowledged:
                self.send(self._rng.choice(sorted(self._campaign.acknowledged)))
            else:
                self.send(self._campaign.next_number())

    def send(self, number: int) -> None:
        """Send until success is answered, as a gateway does; to be stopped ends it as well."""
        (path,) = self._campaign.scan(number)
        verdict = self._campaign.verdict
        while not self.stopped.is_set():
            status = store(path, self._campaign.port)
            verdict.answers["none" if status is None else f"0x{status:04X}"] += 1
            if status == 0:
                self._campaign.acknowledged.add(number)
                return
            verdict.turned_away += status is not None and not meaning_of(status).transient
            self.pause.wait(0.2)
