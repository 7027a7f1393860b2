"""The modules of PS3.3 that attributes belong to, by the tables that the tests of the objects use."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

_FILE = Path(__file__).parents[1] / "dicom_io" / "objects" / "modules.toml"
_WORDS = re.compile(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])|(?<=VOI)(?=LUT)")


@cache
def _tables() -> dict[str, Any]:
    return tomllib.loads(_FILE.read_text(encoding="utf-8"))


def modules_of(keyword: str, sop_classes: Iterable[str]) -> tuple[str, ...]:
    """The first module of each IOD that has the attribute, in the order of PS3.3; empty where none has it.

    Parameters
    ----------
    sop_classes
        Names of the SOP classes.
    """
    named = {_first(keyword, _tables()["iods"][name]) for name in sop_classes} - {""}
    return tuple(module for module in _tables()["modules"] if module in named)


def _first(keyword: str, iod: dict[str, str]) -> str:
    members = f"{iod['modules']} {iod['optional']}".split()
    modules = _tables()["modules"]
    has = (
        name for name in modules if name in members and keyword in " ".join(modules[name].values()).split()
    )
    return next(has, "")


def place_of(modules: tuple[str, ...]) -> int:
    """For sorting: where the first of them stands in PS3.3; what belongs to none comes last."""
    order = list(_tables()["modules"])
    return order.index(modules[0]) if modules else len(order)


def spelled(modules: tuple[str, ...]) -> str:
    """As a person writes them."""
    return ", ".join(_WORDS.sub(" ", name) for name in modules)
