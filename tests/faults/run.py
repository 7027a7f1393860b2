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
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path

from campaign import Campaign, Verdict

REAL_SHARE = 0.1
"""Of the kills: on the service as installed. The others run on numerics of a few lines."""
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
        "seconds": round(sum(verdict.seconds for verdict in parts)),
        "versions": {"python": platform.python_version(), **{name: version(name) for name in packages}},
        "faults": dict(sum((verdict.faults for verdict in parts), Counter())),
        "parts": {
            name: {**asdict(verdict), "seconds": round(verdict.seconds)} for name, verdict in verdicts.items()
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


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--real-share", type=float, default=REAL_SHARE, help="of the kills, on the real worker"
    )
    parser.add_argument("--out", type=Path, default=Path("faults-out/fault-report.json"))
    parser.add_argument("--keep", type=Path, help="folder for logs and data; a temporary one without it")
    given = parser.parse_args()
    warnings.simplefilter(
        "ignore", ResourceWarning
    )  # shown because of ismrmrd.image; pynetdicom leaves sockets
    n_real = round(given.kills * given.real_share)
    folder = given.keep or Path(tempfile.mkdtemp(prefix="lfmri-faults-"))
    verdicts = {}
    try:
        for kind, kills in (("light", given.kills - n_real), ("real", n_real)):
            if kills:
                verdicts[kind] = Campaign(folder / kind, kind=kind, seed=given.seed, show=show).run(kills)
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
