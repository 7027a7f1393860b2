"""The count of a campaign, and the gateways that send without pause."""

from __future__ import annotations

import contextlib
import random
import threading
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from scans import store

from lfmri_node.dicom_io.status import meaning_of


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
        Times that the healthy PACS got nothing for 90 s, or for five starts of the node on a slow machine;
        that anything was left to do or to send after five minutes of peace and a second a scan.
    second_nodes
        Times that a second node was let in on the same folder.
    own_exits
        Times that the node ended by itself, as at a start on a full disk, and was started again.
    by_watcher
        Scans of ``acknowledged`` that ``lfmri-node gateway watch`` sent.
    owed
        Scans that had to be sent again because a backup was restored that did not know them.
    remade
        Objects that came again with another time of making and nothing else that differed.
    commitment
        Requests for storage commitment, by what the archive made of them.
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
    by_watcher: int = 0
    owed: int = 0
    remade: int = 0
    commitment: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0
    faults: Counter[str] = field(default_factory=Counter)
    remarks: list[str] = field(default_factory=list)

    @property
    def good(self) -> bool:
        """Nothing lost, doubled, put aside, turned away or starved, and one node at a time."""
        wrong = (self.lost, self.doubled, self.quarantined, self.turned_away, self.starved, self.second_nodes)
        return not any(wrong)


class Sending(Protocol):
    """What gateways share.

    Attributes
    ----------
    acknowledged
        Scans that the node has promised.
    owed
        Scans that it had promised before its memory was lost: they are sent again, before all others.
    """

    verdict: Verdict
    acknowledged: set[int]
    owed: set[int]

    @property
    def port(self) -> int: ...

    def full(self) -> bool:
        """Whether so much is under way that gateways wait."""
        ...

    def next_number(self) -> int | None:
        """A new scan; None where there are no more."""
        ...

    def some_again(self, rng: random.Random) -> int:
        """One that was acknowledged."""
        ...

    def scan(self, number: int) -> list[Path]: ...


class Gateway(threading.Thread):
    """Sends one scan after the other, some twice, each until it is acknowledged.

    Attributes
    ----------
    busy
        Is held while a scan is under way and until it is known what was answered.
    last
        No new scan from now on; ends when nothing is owed.
    """

    def __init__(self, campaign: Sending, seed: int, *, again_share: float = 0.2) -> None:
        super().__init__(daemon=True)
        self._campaign = campaign
        self._again_share = again_share
        self._rng = random.Random(seed)
        self.busy = threading.Lock()
        self.pause = threading.Event()
        self.stopped = threading.Event()
        self.last = False

    def run(self) -> None:
        while not self.stopped.is_set():
            number = self._next()
            if number is not None:
                self.send(number)
            elif self.last:
                return
            else:
                self.pause.wait(0.2)

    def _next(self) -> int | None:
        with contextlib.suppress(KeyError):
            return self._campaign.owed.pop()
        if self.last or self._campaign.full():
            return None
        if self._rng.random() < self._again_share and self._campaign.acknowledged:
            return self._campaign.some_again(self._rng)
        return self._campaign.next_number()

    def send(self, number: int) -> None:
        """Send until success is answered, as a gateway does; to be stopped ends it as well."""
        (path,) = self._campaign.scan(number)
        while not self.stopped.is_set() and not self._sent(path, number):
            self.pause.wait(0.2)

    def _sent(self, path: Path, number: int) -> bool:
        verdict = self._campaign.verdict
        with self.busy:
            status = store(path, self._campaign.port)
            verdict.answers["none" if status is None else f"0x{status:04X}"] += 1
            if status == 0:
                self._campaign.acknowledged.add(number)
                self._campaign.owed.discard(number)
                return True
        verdict.turned_away += status is not None and not meaning_of(status).transient
        return False
