"""``make bench``: every figure that the README states, with its rivals, in one run; choices and scaling only
by name.

Writes a JSON array of objects name, value, unit, rival, rival_value, ratio. Naming sections runs only
these and writes ``results-<section>.json`` instead.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import brain
import choices
import coils
import espirit
import fallback
import ingest
import latency
import one_slice
import scaling
import takeover
import whole_job
import workers
from report import Report
from timing import seconds

SECTIONS = {
    "espirit": espirit.measure,
    "ingest": ingest.measure,
    "slice": one_slice.measure,
    "complete": whole_job.measure_complete,
    "job": whole_job.measure,
    "latency": latency.measure,
    "brain": brain.measure,
    "coils": coils.measure,
    "fallback": fallback.measure,
    "workers": workers.measure,
    "takeover": takeover.measure,
    "choices": choices.measure,
    "scaling": scaling.measure,
}
USUAL = [name for name in SECTIONS if name not in ("choices", "scaling")]


def main() -> None:
    """Run the sections that are named, or the usual ones."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "sections", nargs="*", help=f"of {', '.join(SECTIONS)}; all but choices and scaling without one"
    )
    chosen = parser.parse_args().sections or USUAL
    if unknown := set(chosen) - set(SECTIONS):
        parser.error(f"no section {', '.join(sorted(unknown))}")
    suffix = "" if chosen == USUAL else "-" + "-".join(chosen)
    out = Path("bench") / f"results{suffix}.json"
    report = Report()
    for name in chosen:
        print(f"{name} ...", flush=True)
        taken = seconds(lambda measure=SECTIONS[name]: measure(report))
        print(f"{name}: {taken:.0f} s", flush=True)
        report.write(out)
    report.print()
    print(f"written to {out}")


if __name__ == "__main__":
    main()
