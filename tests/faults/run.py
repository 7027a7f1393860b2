"""``make faults``: kill -9 and every other fault at random; what was acknowledged arrives.

Writes a report as JSON and prints it as a table. Exit status 1 where a scan was lost, doubled, put into
quarantine, turned away or kept waiting, or where two nodes worked on one folder.
"""

from __future__ import annotations

import argparse
import sys
from concurrent.futures import ThreadPoolExecutor
from math import inf
from pathlib import Path
from time import monotonic

from campaign import Campaign
from report import print_table, report_of, show, working_folder, write

REAL_SHARE, SHARED_SHARE = 0.1, 0.3
"""Of the kills: on the service as installed; on three workers with PostgreSQL. All but the first run on
numerics of a few lines."""


def split(kills: int, real_share: float, shared_share: float, side_by_side: int) -> dict[str, int]:
    """Name of each part -> its kills; the parts run at the same time, each with a node of its own."""
    n_real, n_shared = round(kills * real_share), round(kills * shared_share)
    n_light = kills - n_real - n_shared
    shares = {f"light {i + 1}": n_light // side_by_side for i in range(side_by_side)}
    shares["light 1"] += n_light % side_by_side
    return {name: n for name, n in {**shares, "shared": n_shared, "real": n_real}.items() if n}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--real-share", type=float, default=REAL_SHARE, help="of the kills, on real numerics")
    parser.add_argument("--shared-share", type=float, default=SHARED_SHARE, help="of the kills, on workers")
    parser.add_argument("--side-by-side", type=int, default=2, help="nodes with light numerics at a time")
    parser.add_argument("--minutes", type=float, default=inf, help="no more faults after so long")
    parser.add_argument("--out", type=Path, default=Path("faults-out/fault-report.json"))
    parser.add_argument("--keep", type=Path, help="folder for logs and data; a temporary one without it")
    given = parser.parse_args()
    parts = split(given.kills, given.real_share, given.shared_share, given.side_by_side)
    with working_folder(given.keep) as folder, ThreadPoolExecutor(len(parts)) as pool:
        campaigns = {
            name: Campaign(folder / name.replace(" ", "-"), name=name, seed=given.seed, show=show)
            for name in parts
        }
        until = monotonic() + 60.0 * given.minutes
        runs = {name: pool.submit(campaigns[name].run, kills, until) for name, kills in parts.items()}
        verdicts = {name: run.result() for name, run in runs.items()}
    report = report_of(verdicts, given.seed)
    write(report, given.out)
    print_table(report)
    for name, verdict in verdicts.items():
        for remark in verdict.remarks:
            print(f"{name}: {remark}")
    return 0 if all(verdict.good for verdict in verdicts.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
