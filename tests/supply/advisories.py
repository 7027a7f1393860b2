"""Known vulnerabilities of what constraints.txt pins: ``python tests/supply/advisories.py``.

Asks PyPI's advisories through pip-audit. Where they cannot be had, that is said and is no failure: a machine
without network can still check everything else. Exit status 1: something vulnerable is pinned.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

_CONSTRAINTS = Path(__file__).parents[2] / "constraints.txt"
_LIMIT_S = 300


def asked(constraints: Path) -> list[dict[str, Any]] | None:
    """What pip-audit says of each package; None where it says nothing."""
    with tempfile.TemporaryDirectory() as folder:
        answer = Path(folder) / "answer.json"
        command = [sys.executable, "-m", "pip_audit", "--disable-pip", "--no-deps", "--progress-spinner=off"]
        command += ["-r", str(constraints), "-f", "json", "-o", str(answer)]
        try:
            subprocess.run(command, capture_output=True, timeout=_LIMIT_S, check=False)
            found: list[dict[str, Any]] = json.loads(answer.read_text(encoding="utf-8"))["dependencies"]
        except (OSError, ValueError, KeyError, subprocess.TimeoutExpired):
            return None
    return found


def verdict(packages: list[dict[str, Any]] | None) -> tuple[str, int]:
    """Words, and the exit status. A package that the service does not know was not checked."""
    if packages is None:
        return "not checked for known vulnerabilities: the service cannot be reached", 0
    checked = [package for package in packages if "skip_reason" not in package]
    bad = [
        f"{p['name']} {p['version']}: {', '.join(v['id'] for v in p['vulns'])}" for p in checked if p["vulns"]
    ]
    if bad:
        return "\n".join(["known vulnerabilities:", *bad]), 1
    if not checked:
        return "not checked for known vulnerabilities: the service knows none of the packages", 0
    return f"{len(checked)} of {len(packages)} packages checked: no known vulnerability", 0


if __name__ == "__main__":
    words, status = verdict(asked(_CONSTRAINTS))
    print(words)
    sys.exit(status)
