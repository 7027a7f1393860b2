"""Whose measurement it is, as told at the gateway: on the command line, by a file, or on standard input."""

from __future__ import annotations

import sys
import tomllib
from collections.abc import Mapping
from pathlib import Path

from pydicom.datadict import dictionary_VR

from lfmri_node.dicom_io.raw_data.context import COPIED
from lfmri_node.node.errors import NodeError

STANDARD_INPUT = Path("-")
KEYWORDS = frozenset(k for k in (*COPIED, "FrameOfReferenceUID") if dictionary_VR(k) != "SQ")


def read_identity(source: Path | None, options: Mapping[str, str | None]) -> dict[str, str]:
    """DICOM attributes that are given, keyword -> value; a single option stands over the file.

    Parameters
    ----------
    source
        TOML with one ``Keyword = "value"`` a line; ``-`` reads it from standard input. Nobody sees its
        content in the list of processes.
    options
        Keyword -> value of an option or its environment variable; None where it was not used.

    Raises
    ------
    NodeError
        LF-CFG-012 where the file is no such TOML; what stands in it is not quoted.
    """
    said = {} if source is None else _parsed(source)
    return said | {keyword: value for keyword, value in options.items() if value is not None}


def _parsed(source: Path) -> dict[str, str]:
    text = sys.stdin.read() if source == STANDARD_INPUT else source.read_text(encoding="utf-8")
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        raise _unreadable("is not TOML") from None  # its message quotes the text
    if not all(isinstance(value, str) for value in document.values()):
        raise _unreadable("holds something else than texts")
    if not KEYWORDS.issuperset(document):
        raise _unreadable("names an attribute that is none of patient, study or series")
    return document


def _unreadable(why: str) -> NodeError:
    return NodeError(
        "LF-CFG-012",
        f"the identity {why}",
        'write one DICOM keyword a line, as in PatientID = "4711"',
    )
