"""``make faults``: kill -9, full disks, clock steps and silent PACS at random; what was acknowledged arrives.

Writes a report as JSON and prints it as a table. Exit status 1 where a scan was lost, doubled, put into
quarantine, turned away or kept waiting, or where two nodes worked on one folder.
"""

from __future__ import annotations

import argparse
import json
import platform
import shutil
import sys
import tempfile
import warnings
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from math import inf
from pathlib import Path
from time import monotonic

from campaign import Campaign
from senders import Verdict

REAL_SHARE, SHARED_SHARE = 0.1, 0.3
"""Of the kills: on the service as installed; on three workers with PostgreSQL. All but the first run on
numerics of a few lines."""
_SUMS = ("kills", "acknowledged", "delivered", "lost", "doubled", "quarantined")
_MORE = ("turned_away", "starved", "second_nodes", "own_exits")


def report_of(verdicts: dict[str, Verdict], seed: int) -> dict[str, object]:
    """The report: the sums, and each part."""
    parts = verdicts.values()
    sums = {name: sum(getattr(verdict, name) for verdict in parts) for name in (*_SUMS, *_MORE)}
    packages = ("lfmri-node", "dbos", "pynetdicom", "pydicom")
    return {
        **sums,
        "seed": seed,
        "seconds": round(max(verdict.seconds for verdict in parts)),
        "versions": {"python": platform.python_version(), **{name: version(name) for name in packages}},
        "faults": dict(sum((verdict.faults for verdict in parts), Counter())),
        "parts": {
            name: {**vars(verdict), "seconds": round(verdict.seconds)} for name, verdict in verdicts.items()
        },
    }


def print_table(report: dict[str, object]) -> None:
    faults = report["faults"]
    assert isinstance(faults, dict)
    rows = [(name, report[name]) for name in (*_SUMS, *_MORE, "seconds", "seed")]
    for name, value in (*rows, *((f"fault: {name}", count) for name, count in sorted(faults.items()))):
        print(f"{name.replace('_', ' '):<28} {value:>6}")


def show(text: str) -> None:
    print(text, flush=True)


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
    warnings.simplefilter(
        "ignore", ResourceWarning
    )  # shown because of ismrmrd.image; pynetdicom leaves sockets
    folder = given.keep or Path(tempfile.mkdtemp(prefix="lfmri-faults-"))
    parts = split(given.kills, given.real_share, given.shared_share, given.side_by_side)
    campaigns = {
        name: Campaign(folder / name.replace(" ", "-"), name=name, seed=given.seed, show=show)
        for name in parts
    }
    try:
        with ThreadPoolExecutor(len(parts)) as pool:
            until = monotonic() + 60.0 * given.minutes
            runs = {name: pool.submit(campaigns[name].run, kills, until) for name, kills in parts.items()}
            verdicts = {name: run.result() for name, run in runs.items()}
    finally:
        if given.keep is None:
            shutil.rmtree(folder, ignore_errors=True)
    report = report_of(verdicts, given.seed)
    given.out.parent.mkdir(parents=True, exist_ok=True)
    given.out.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    print_table(report)
    for name, verdict in verdicts.items():
        for remark in verdict.remarks:
            print(f"{name}: {remark}")
    return 0 if all(verdict.good for verdict in verdicts.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
