"""What is installed here: version, commit where it is known, Python."""

from __future__ import annotations

import json
import platform
import subprocess
from importlib.metadata import distribution
from pathlib import Path


def about() -> str:
    """One line for ``--version``."""
    found = commit()
    said = f" (commit {found})" if found else ""
    return f"lfmri-node {distribution('lfmri-node').version}{said}, Python {platform.python_version()}"


def commit() -> str | None:
    """From pip's record of an installation out of a repository, or from git beside editable sources.

    ``-dirty`` at its end: files differ from that commit. None where neither knows it.
    """
    record = distribution("lfmri-node").read_text("direct_url.json")
    origin = json.loads(record) if record else {}
    if "vcs_info" in origin:
        return str(origin["vcs_info"]["commit_id"])[:12]
    if not origin.get("dir_info", {}).get("editable", False):
        return None
    folder = str(Path(__file__).resolve().parent)
    command = ["git", "-C", folder, "describe", "--always", "--dirty", "--exclude=*", "--abbrev=12"]
    try:
        told = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return None
    return told.stdout.strip() or None
