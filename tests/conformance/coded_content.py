"""The tree of the report's content (PS3.2 N.10), and every code that the objects hold (N.13)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from attribute_tables import code_of
from pydicom.dataset import Dataset
from pydicom.uid import UID

from lfmri_node.dicom_io.objects.anatomy import REGIONS

_REFERENCES = ("IMAGE", "COMPOSITE", "WAVEFORM")
_MOST_VALUES = 2


@dataclass
class _Node:
    """Content items of one relation, value type and concept below one node, in all reports."""

    n_parents: int = 0
    values: dict[str, None] = field(default_factory=dict)
    template: str = ""
    children: dict[tuple[str, str, str, str], _Node] = field(default_factory=dict)
    n_with: int = 0


def report_rows(reports: Sequence[Dataset]) -> list[tuple[str, ...]]:
    """Level, relation, value type, concept, presence, value, template."""
    root = _Node()
    for report in reports:
        _add(root, report)
    return [
        ("0", "", reports[0].ValueType, code_of(reports[0].ConceptNameCodeSequence[0]), "ALWAYS", "", "1500"),
        *_rows(root, 1),
    ]


def _add(node: _Node, item: Dataset) -> None:
    node.n_parents += 1
    present = set()
    for child in item.get("ContentSequence", ()):
        templates = child.get("ContentTemplateSequence", ())
        template = templates[0].TemplateIdentifier if templates else ""
        names = child.get("ConceptNameCodeSequence", ())
        concept = code_of(names[0]) if names else ""
        key = (str(child.RelationshipType), str(child.ValueType), concept, template)
        below = node.children.setdefault(key, _Node(template=template))
        below.values[_value(child)] = None
        if key not in present:
            below.n_with += 1
        present.add(key)
        _add(below, child)


def _rows(node: _Node, level: int) -> Iterator[tuple[str, ...]]:
    for (relation, kind, concept, template), below in node.children.items():
        presence = "ALWAYS" if below.n_with == node.n_parents else "ANAP"
        shown = [value for value in below.values if value]
        value = " or ".join(shown) if len(shown) <= _MOST_VALUES else f"{len(shown)} values"
        yield (f"{'> ' * level}{level}", relation, kind, concept, presence, value, template)
        yield from _rows(below, level + 1)


def _value(item: Dataset) -> str:
    """What a content item may hold, without what belongs to one example."""
    if item.ValueType == "CODE":
        return code_of(item.ConceptCodeSequence[0])
    if item.ValueType == "NUM":
        return code_of(item.MeasuredValueSequence[0].MeasurementUnitsCodeSequence[0])
    if item.ValueType in _REFERENCES:
        return UID(item.ReferencedSOPSequence[0].ReferencedSOPClassUID).name
    if item.ValueType == "SCOORD":
        return str(item.GraphicType)
    return {"TEXT": "text", "UIDREF": "UID"}.get(item.ValueType, "")


def code_rows(objects: Iterable[Dataset]) -> list[tuple[str, ...]]:
    """Scheme, code, meaning, and the sequences that hold it; copied codes are the source's own."""
    found: dict[tuple[str, str, str], set[str]] = {}
    for dataset in objects:
        for holder, item in _coded(dataset):
            code = (item.CodingSchemeDesignator, str(item.CodeValue), item.CodeMeaning)
            found.setdefault(code, set()).add(holder)
    return [(*code, ", ".join(sorted(holders))) for code, holders in sorted(found.items())]


def _coded(dataset: Dataset) -> Iterator[tuple[str, Dataset]]:
    for element in dataset:
        if element.VR != "SQ":
            continue
        for item in element.value:
            if "CodeMeaning" in item and item.CodingSchemeDesignator != "99LOCAL":
                yield element.keyword, item
            yield from _coded(item)


def region_rows() -> list[tuple[str, ...]]:
    """Body Part Examined, and the code that stands for it."""
    return [(f"`{part}`", code.scheme_designator, code.value, code.meaning) for part, code in REGIONS.items()]
