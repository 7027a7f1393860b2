"""Rules of ``config.toml``: which of them fit what a header says, and why.

Pure: facts in, answers out. A condition on something that the header does not say is not met.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from fnmatch import fnmatchcase

Condition = tuple[str, ...] | tuple[float, float] | bool
"""Patterns of which one has to fit (``*``, ``?``; in any case), a range with both ends, or yes or no."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What rules ask about; "" and None: the header does not say it.

    Parameters
    ----------
    calling_ae
        AE title of the gateway.
    protocol
        ISMRMRD ``protocolName``, else ProtocolName.
    body_part
        BodyPartExamined.
    manufacturer, model, serial_number
        Of the scanner.
    echo_time_ms, repetition_time_ms, inversion_time_ms, flip_angle_deg
        Of the contrast that the scan is of: T1, T2 and FLAIR are told apart by them.
    """

    calling_ae: str = ""
    protocol: str = ""
    series_description: str = ""
    sequence: str = ""
    body_part: str = ""
    manufacturer: str = ""
    model: str = ""
    serial_number: str = ""
    station: str = ""
    institution: str = ""
    field_strength_t: float | None = None
    repetition_time_ms: float | None = None
    echo_time_ms: float | None = None
    inversion_time_ms: float | None = None
    flip_angle_deg: float | None = None
    three_dimensional: bool | None = None


FACTS = tuple(field.name for field in fields(Facts))


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """A name, and conditions by the name of a fact, of which every one has to be met; without any it fits."""

    name: str
    only: Mapping[str, Condition]

    @classmethod
    def of(cls, name: str, only: Mapping[str, object]) -> Rule:
        """From JSON or TOML: a text or a list of texts, ``[low, high]``, or true or false."""
        return cls(name=name, only={fact: _condition(value) for fact, value in only.items()})


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One condition of a rule, and how it comes out; texts for people."""

    fact: str
    wanted: str
    found: str
    met: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """One rule: whether it fits, and every condition of it."""

    rule: str
    fits: bool
    asked: tuple[Asked, ...]

    @property
    def why(self) -> str:
        """The conditions that decide, in words."""
        if not self.asked:
            return "it has no conditions"
        told = self.asked if self.fits else [each for each in self.asked if not each.met]
        return "; ".join(f"{each.fact} is {each.found}, wanted {each.wanted}" for each in told)


def answer_of(rule: Rule, facts: Facts) -> Answer:
    """Whether a rule fits, and why."""
    asked = tuple(_ask(fact, condition, facts) for fact, condition in rule.only.items())
    return Answer(rule=rule.name, fits=all(each.met for each in asked), asked=asked)


def first_that_fits(rules: Sequence[Rule], facts: Facts) -> Answer | None:
    """The first rule that fits; None where none does."""
    return next((answer for answer in explain(rules, facts) if answer.fits), None)


def explain(rules: Sequence[Rule], facts: Facts) -> list[Answer]:
    """Every rule in order, also those behind the first that fits."""
    return [answer_of(rule, facts) for rule in rules]


def _ask(fact: str, condition: Condition, facts: Facts) -> Asked:
    found = getattr(facts, fact)
    return Asked(fact=fact, wanted=_wanted(condition), found=_shown(found), met=_meets(found, condition))


def _meets(found: object, condition: Condition) -> bool:
    if isinstance(condition, bool) or isinstance(found, bool):
        return found is condition
    if isinstance(found, str):
        folded = found.strip().casefold()
        return bool(folded) and any(
            isinstance(pattern, str) and fnmatchcase(folded, pattern.casefold()) for pattern in condition
        )
    if not isinstance(found, int | float):
        return False
    low, high = (float(end) for end in condition)
    return low <= found <= high


def _condition(value: object) -> Condition:
    if isinstance(value, bool):
        return value
    if isinstance(value, str):
        return (value,)
    assert isinstance(value, Sequence)
    if all(isinstance(each, str) for each in value):
        return tuple(str(each) for each in value)
    low, high = (float(end) for end in value)
    return (low, high)


def _wanted(condition: Condition) -> str:
    if isinstance(condition, bool):
        return _shown(condition)
    if all(isinstance(each, str) for each in condition):
        return " or ".join(f"'{each}'" for each in condition)
    return f"{condition[0]:g} to {condition[1]:g}"


def _shown(value: object) -> str:
    if value is None or value == "":
        return "not known"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"'{value}'" if isinstance(value, str) else f"{value:g}"
