"""What a campaign reports, and where it works."""

from __future__ import annotations

import json
import platform
import shutil
import sys
import tempfile
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path

from page import write_page
from senders import Verdict

_SUMS = ("kills", "acknowledged", "delivered", "lost", "doubled", "quarantined")
_MORE = ("turned_away", "starved", "second_nodes", "own_exits", "by_watcher", "owed", "remade")


def report_of(verdicts: dict[str, Verdict], seed: int) -> dict[str, object]:
    """The report: the sums, and each part."""
    parts = verdicts.values()
    sums = {name: sum(getattr(verdict, name) for verdict in parts) for name in (*_SUMS, *_MORE)}
    packages = ("lfmri-node", "dbos", "pynetdicom", "pydicom")
    return {
        "command": _command(sys.argv),
        **sums,
        "seed": seed,
        "seconds": round(max(verdict.seconds for verdict in parts)),
        "versions": {"python": platform.python_version(), **{name: version(name) for name in packages}},
        "commitment": dict(sum((verdict.commitment for verdict in parts), Counter())),
        "faults": dict(sum((verdict.faults for verdict in parts), Counter())),
        "parts": {
            name: {**vars(verdict), "seconds": round(verdict.seconds)} for name, verdict in verdicts.items()
        },
    }


def _command(words: Sequence[str]) -> str:
    """Without where it wrote to."""
    options = iter(words[1:])
    kept = [word for word in options if word not in ("--keep", "--out") or next(options) is None]
    return " ".join(["python", f"tests/faults/{Path(words[0]).name}", *kept])


def write(report: dict[str, object], out: Path) -> None:
    """As JSON, and the page of all reports beside it."""
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    write_page(out.parent)


def print_table(report: dict[str, object]) -> None:
    """For people."""
    faults = report["faults"]
    assert isinstance(faults, dict)
    rows = [(name, report[name]) for name in (*_SUMS, *_MORE, "seconds", "seed")]
    for name, value in (*rows, *((f"fault: {name}", count) for name, count in sorted(faults.items()))):
        print(f"{name.replace('_', ' '):<28} {value:>6}")


def show(text: str) -> None:
    print(text, flush=True)


@contextmanager
def working_folder(keep: Path | None) -> Iterator[Path]:
    """Where logs and data lie: ``keep``, or a folder that is removed at the end."""
    # Shown because of ismrmrd.image; pynetdicom leaves sockets.
    warnings.simplefilter("ignore", ResourceWarning)
    folder = keep or Path(tempfile.mkdtemp(prefix="lfmri-faults-"))
    try:
        yield folder
    finally:
        if keep is None:
            shutil.rmtree(folder, ignore_errors=True)
