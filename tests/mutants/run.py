"""Whether the tests bite: one important place after another is changed, and a test has to fail.

``make mutants`` (``ARGS="name ..."`` for some of them, ``ARGS=--list`` for their names). Every mutant of
`mutants.MUTANTS` is made in a copy of the sources; the fast tests that it names run there and must fail. The
same tests pass on the copy as it is, which is checked first. Exit status 1 where a mutant survives.

Each run of pytest is a fork of this process, which has imported the libraries and nothing of ours: starting
Python with torch and SigPy anew would take most of the time.
"""

from __future__ import annotations

import argparse
import importlib
import multiprocessing
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path

import pytest
from mutants import MUTANTS, Mutant, mutated

ROOT = Path(__file__).parents[2]
LAYERS = ("node", "dicom_io", "recon")
COPIED = (*LAYERS, "tests", "deploy", "config.toml", "pyproject.toml", "README.md", "CHANGELOG.md")
LIBRARIES = ("torch", "sigpy.mri.app", "sigpy.app", "highdicom", "pynetdicom", "h5py", "scipy.ndimage")
LIMIT_S = 600.0
HUNG_S = 60
"""For one of the fast tests: a mutant that makes one wait for ever is killed by that."""
PASSED, FAILED = 0, 1
"""Exit statuses of pytest; any other means that it could not run the tests."""


class Verdict(StrEnum):
    """What became of a mutant."""

    KILLED = "killed"
    HUNG = "killed (the tests hung)"
    SURVIVED = "SURVIVED"
    NOT_RUN = "NOT RUN"

    @property
    def good(self) -> bool:
        return self in (Verdict.KILLED, Verdict.HUNG)


class Copy:
    """The sources in ``folder``, with ``lfmri_node`` coming from there."""

    def __init__(self, folder: Path) -> None:
        self.tree = folder / "tree"
        self.tree.mkdir()
        for name in COPIED:
            if (ROOT / name).is_dir():
                shutil.copytree(ROOT / name, self.tree / name, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(ROOT / name, self.tree)
        names = folder / "names" / "lfmri_node"
        names.mkdir(parents=True)
        for layer in LAYERS:
            (names / layer).symlink_to(self.tree / layer)
        self._names, self._log = names.parent, folder / "log"

    def test(self, tests: Sequence[str]) -> tuple[int | None, str]:
        """Exit status of pytest, None where it had to be stopped, and the last line that matters."""
        child = multiprocessing.get_context("fork").Process(target=self._pytest, args=(tests,))
        child.start()
        child.join(LIMIT_S)
        if child.exitcode is None:
            child.kill()
            child.join()
            return None, f"stopped after {LIMIT_S:.0f} s"
        lines = [line for line in self._log.read_text(encoding="utf-8").splitlines() if line.strip()]
        told = [line for line in lines if line.startswith(("FAILED", "ERROR"))] or lines
        return child.exitcode, told[-1] if told else ""

    def _pytest(self, tests: Sequence[str]) -> None:
        """In the fork: pytest in the copy, its words in the log; ends the process."""
        os.chdir(self.tree)
        sys.path.insert(0, str(self._names))
        os.environ.update(PYTHONPATH=str(self._names), LFMRI_REQUIRE_INTEGRATION="0")
        with self._log.open("wb") as log:
            os.dup2(log.fileno(), sys.stdout.fileno())
            os.dup2(log.fileno(), sys.stderr.fileno())
        status = pytest.main(["-q", "-x", "-p", "no:cacheprovider", f"--timeout={HUNG_S}", *tests])
        sys.stdout.flush()
        os._exit(int(status))

    def judge(self, mutant: Mutant) -> tuple[Verdict, str]:
        """Make the mutant, run its tests, put the file back."""
        path = self.tree / mutant.file
        intact = path.read_text(encoding="utf-8")
        path.write_text(mutated(mutant, intact), encoding="utf-8")
        try:
            status, told = self.test(mutant.tests)
        finally:
            path.write_text(intact, encoding="utf-8")
        if status is None:
            return Verdict.HUNG, told
        return {PASSED: Verdict.SURVIVED, FAILED: Verdict.KILLED}.get(status, Verdict.NOT_RUN), told


def chosen(names: Sequence[str]) -> list[Mutant]:
    """All mutants, or those whose name begins with one of ``names``."""
    unknown = [name for name in names if not any(m.name.startswith(name) for m in MUTANTS)]
    if unknown:
        raise SystemExit(f"no mutant begins with {', '.join(unknown)}; --list shows all")
    return [m for m in MUTANTS if not names or m.name.startswith(tuple(names))]


def main() -> int:
    parser = argparse.ArgumentParser(description="Change important places one by one; the tests must fail.")
    parser.add_argument("names", nargs="*", help="beginnings of names; all mutants without one")
    parser.add_argument("--list", action="store_true", help="names and what they break, nothing is run")
    options = parser.parse_args()
    mutants = chosen(options.names)
    if options.list:
        for mutant in mutants:
            print(f"{mutant.name:42} {mutant.breaks}")
        return 0
    # no byte code: a change that keeps size and second of a file would not be seen
    sys.dont_write_bytecode, os.environ["PYTHONDONTWRITEBYTECODE"] = True, "1"
    for library in LIBRARIES:
        importlib.import_module(library)
    with tempfile.TemporaryDirectory(prefix="lfmri-mutants-") as folder:
        return run(Copy(Path(folder)), mutants)


def run(copy: Copy, mutants: Sequence[Mutant]) -> int:
    """Judge each; 0 where all were killed."""
    begun = time.monotonic()
    for tests in dict.fromkeys(mutant.tests for mutant in mutants):
        status, told = copy.test(tests)
        if status != PASSED:
            print(f"{', '.join(tests)} fails without any mutant: {told}")
            return 1
    print(f"intact: the tests pass, {time.monotonic() - begun:.0f} s", flush=True)
    bad = []
    for mutant in mutants:
        since = time.monotonic()
        verdict, told = copy.judge(mutant)
        print(f"{verdict:10} {time.monotonic() - since:5.1f} s  {mutant.name}", flush=True)
        if not verdict.good:
            bad.append(mutant.name)
            print(f"           {mutant.file}: {mutant.breaks} ({told})", flush=True)
    seconds = time.monotonic() - begun
    print(f"{len(mutants) - len(bad)} of {len(mutants)} mutants killed, {seconds:.0f} s")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
