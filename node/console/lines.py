"""Lines of the node's log that name one job."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Collection
from pathlib import Path

_TAIL_BYTES = 4_000_000
_MOST = 200
_OURS = re.compile(r"^\d{4}-\d\d-\d\dT[\d:.]+\+00:00 (?:debug|info|warning|error|critical) [\w.]+ ")


def lines_of(jobs: Collection[str], file: Path) -> list[str]:
    """The latest lines about jobs of these names, oldest first, from the end of ``file`` and of ``file.1``.

    Only lines that `node.logs` wrote: they hold no patient data, whatever else was written to that file.
    """
    wanted = re.compile(rf" job=(?:{'|'.join(map(re.escape, jobs))})(?: |$)")
    found: deque[str] = deque(maxlen=_MOST)
    for path in (file.with_name(f"{file.name}.1"), file):
        found.extend(line for line in _tail(path) if _OURS.match(line) and wanted.search(line))
    return list(found)


def _tail(path: Path) -> list[str]:
    try:
        with path.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(max(size - _TAIL_BYTES, 0))
            return file.read().decode("utf-8", errors="replace").splitlines()
    except FileNotFoundError:
        return []
