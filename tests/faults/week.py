"""``week.py --exams 5000``: a simulated week of small exams at one node, with every fault at random.

The node's wall clock goes on by an equal part of the week with every exam. Retention deletes what was
delivered a day ago, as at a site. Exit status and report are those of `run.py`.
"""

from __future__ import annotations

import argparse
import random
import sys
from collections.abc import Callable
from contextlib import ExitStack
from math import inf
from pathlib import Path
from time import monotonic

from campaign import Campaign
from faults import Faults, in_order
from report import print_table, report_of, show, working_folder, write
from surroundings import Node, wait_until

DAYS = 7
_LIKENESSES = 50
_EXAMS_A_KILL = 80
_LATEST = 50
_STALLED_S = 300.0
_MORE = """
[retention]
raw_days = 1
results_days = 1
workflows_days = 2
"""


class Week(Campaign):
    """So many exams over a simulated week.

    Parameters
    ----------
    exams
        How many; for every 80 of them something is killed, and half as often something else happens.
    """

    n_gateways = 3
    again_share = 0.05
    watched_every = 50
    backlog = 16
    disk_mb = 2048
    """All exams fit: retention keeps what the misbehaving archive has still to take."""
    habits = (*["later"] * 6, "twice", "failing", "silent", "refusing")
    honest = ("later",)

    def __init__(self, folder: Path, *, exams: int, seed: int, show: Callable[[str], None]) -> None:
        super().__init__(folder, name="light week", seed=seed, show=show, most=exams)
        self._exams = exams
        self._step_s = DAYS * 86_400 / exams

    def _node(self, stack: ExitStack, place: Path, tables: list[str], environment: dict[str, str]) -> Node:
        return Node(place, self._kind, tables, environment, housekeeping_s=10, more=_MORE)

    def _taken(self) -> int | None:
        with self._turn:
            if self._number >= self._exams:
                return None
            self._number += 1
            before, after = ((n * self._step_s) // 1 for n in (self._number - 1, self._number))
            self.clock.step_to(self.clock.shows_s + int(after - before))
            return self._number

    def likeness(self, number: int) -> int:
        return number % _LIKENESSES or _LIKENESSES

    def some_again(self, rng: random.Random) -> int:
        """One of the latest."""
        latest = [n for n in range(self._number - _LATEST, self._number) if n % self.watched_every]
        return rng.choice(sorted(self.acknowledged.intersection(latest)) or [1])

    def _suffer(self, kills: int, until: float) -> None:
        """Each fault when so many exams were acknowledged; the exams that are left after the last."""
        faults = Faults(self, self._rng)
        for n_exams, fault in in_order(faults.plan(kills), self._exams, self._rng):
            if not self._has(n_exams, until):
                break
            self.happen(faults, fault)
        self._has(self._exams, until)

    def _has(self, n_exams: int, until: float) -> bool:
        """Wait for so many acknowledged exams; False where the time is over before."""
        while len(self.acknowledged) < n_exams:
            if monotonic() > until:
                return False
            self.keep_up()
            before = len(self.acknowledged)
            if not wait_until(lambda n=before: self._grown(n), _STALLED_S, every_s=0.2):
                self._starved(f"no exam was acknowledged for {_STALLED_S:.0f} s")
                return False
        return True

    def _grown(self, before: int) -> bool:
        self.collect()
        return len(self.acknowledged) > before or not self.node.alive


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--exams", type=int, default=5000)
    parser.add_argument("--kills", type=int, help="one for every 80 exams without it")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--minutes", type=float, default=inf, help="no more exams after so long")
    parser.add_argument("--out", type=Path, default=Path("faults-out/week-report.json"))
    parser.add_argument("--keep", type=Path, help="folder for logs and data; a temporary one without it")
    given = parser.parse_args()
    with working_folder(given.keep) as folder:
        week = Week(folder / "week", exams=given.exams, seed=given.seed, show=show)
        kills = given.exams // _EXAMS_A_KILL if given.kills is None else given.kills
        verdict = week.run(kills, monotonic() + 60.0 * given.minutes)
    days = DAYS * verdict.acknowledged / given.exams
    report = {"exams": given.exams, "days": round(days, 2), **report_of({"week": verdict}, given.seed)}
    write(report, given.out)
    print_table(report)
    for remark in verdict.remarks:
        show(remark)
    return 0 if verdict.good else 1


if __name__ == "__main__":
    sys.exit(main())
