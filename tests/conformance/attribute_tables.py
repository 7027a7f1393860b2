"""Tables of attributes (PS3.2 N.9): what is in objects of a kind, how often, and where it comes from."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from examples import Job, changes, objects_of, others, raw_data_objects
from pydicom.datadict import dictionary_description
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset

Objects = Mapping[str, Sequence[Dataset]]

KINDS = {
    "mr-image": ("lf-mri", "reference", "fallback"),
    "corrected-image": ("corrected",),
    "change-map": ("difference",),
    "activation-map": ("map",),
    "segmentation": ("segmentation",),
    "fused": ("fused",),
    "report": ("report",),
    "summary": ("summary",),
}
"""Kind -> roles of its objects."""

SOURCES = ("COPY", "RAW", "GIVEN", "HEADER", "RESULT", "CONFIG", "CLOCK", "KEY", "FILE", "VERSION")
_LONGEST = 72
_LENGTH_OF = {"EncapsulatedDocumentLength": "EncapsulatedDocument"}
"""Two documents may have one length by accident."""
_NOT_OPENED = (
    "ContentSequence",
    "PixelData",
    "FloatPixelData",
)  # the report's content has a table of its own


@dataclass(frozen=True, kw_only=True)
class Row:
    """An attribute, or one of the items of a sequence: ``path`` is its keyword, or both keywords."""

    path: tuple[str, ...]
    element: DataElement
    presence: str
    sources: tuple[str, ...]
    value: str

    @property
    def opened(self) -> bool:
        """Whether what is in the items of a sequence has rows of its own."""
        alone = len(self.path) == 1 and self.element.VR == "SQ" and self.path[0] not in _NOT_OPENED
        return alone and not self.value and self.presence != "EMPTY" and "COPY" not in self.sources

    def cells(self) -> tuple[str, ...]:
        name = "> " * (len(self.path) - 1) + dictionary_description(self.element.tag)
        tag = f"({self.element.tag.group:04X},{self.element.tag.element:04X})"
        sources = "" if self.opened or self.presence == "EMPTY" else ", ".join(self.sources)
        return name, tag, self.element.VR, self.presence, sources, self.value


@dataclass
class Kind:
    """Everything that was made of a kind: all objects, and pairs of objects that differ in one input."""

    objects: list[Dataset] = field(default_factory=list)
    pairs: list[tuple[str, Dataset, Dataset]] = field(default_factory=list)
    raw: list[tuple[Dataset, Mapping[str, object]]] = field(default_factory=list)


def made(folder: Path) -> dict[str, Kind]:
    """Make all objects, and sort them by kind."""
    kinds = {name: Kind() for name in KINDS}
    known: list[tuple[Job, Objects]] = []

    def objects(job: Job) -> Objects:
        if all(job != each for each, _ in known):
            known.append((job, objects_of(job, folder / f"{len(known)}")))
            _add(kinds, known[-1][1], job.raw)
        return next(made for each, made in known if each == job)

    for source, job, changed in changes():
        first, second = objects(job), objects(changed)
        for kind, roles in KINDS.items():
            for role in roles:
                twins = zip(first.get(role, ()), second.get(role, ()), strict=False)  # slices may be added
                kinds[kind].pairs += [(source, one, other) for one, other in twins]
    for job in others():
        objects(job)
    return kinds | {"raw-data": _raw_data(folder)}


def _add(kinds: Mapping[str, Kind], made: Objects, raw: Mapping[str, object]) -> None:
    for kind, roles in KINDS.items():
        objects = [dataset for role in roles for dataset in made.get(role, ())]
        kinds[kind].objects += objects
        kinds[kind].raw += [(dataset, raw) for dataset in objects]


def _raw_data(folder: Path) -> Kind:
    """As ``lfmri-node send`` makes it of a header that says everything, or nothing."""
    said = raw_data_objects(folder / "said")
    silent = raw_data_objects(folder / "silent", header=None)
    pairs = [
        ("HEADER", said, raw_data_objects(folder / "header", header=2)),
        ("HEADER", silent, said),
        ("GIVEN", said, raw_data_objects(folder / "given", given=1)),
        ("GIVEN", silent, raw_data_objects(folder / "given-silent", header=None, given=2)),
        ("FILE", said, raw_data_objects(folder / "file", file=2)),
        ("FILE", silent, raw_data_objects(folder / "file-silent", header=None, file=2)),
    ]
    objects = [*silent, *raw_data_objects(folder / "parts", parts=2)]
    objects += [dataset for _, _, others in pairs for dataset in others]
    return Kind(objects=objects, pairs=[(source, one[0], other[0]) for source, one, other in pairs])


def rows(kind: Kind) -> list[Row]:
    """In the order of the tags, but for private ones; what is in sequences below them, one level deep."""
    elements = {e.tag: e for dataset in kind.objects for e in dataset if not e.tag.is_private}
    found = []
    for tag in sorted(elements):
        row = _row(kind, (elements[tag].keyword,))
        found.append(row)
        if row.opened:
            inner = {e.tag: e.keyword for d in kind.objects for i in d.get(row.path[0], ()) for e in i}
            found += [_row(kind, (row.path[0], inner[t])) for t in sorted(inner)]
    return found


def _row(kind: Kind, path: tuple[str, ...]) -> Row:
    found = [list(_elements(dataset, path)) for dataset in kind.objects]
    present = [e for each in found for e in each if e is not None]
    values = {_text(e) for e in present}
    sources = _sources(kind, path)
    one = len(values) == 1
    shown = one and not sources and present[0].VR not in ("OB", "OW", "OF")
    return Row(
        path=path,
        element=present[0],
        presence=_presence([e for each in found for e in each]),
        sources=sources or ("FIXED" if one else "AUTO",),
        value=_shown(present[0]) if shown else "",
    )


def _elements(dataset: Dataset, path: tuple[str, ...]) -> Iterator[DataElement | None]:
    """The element of the data set, or of each item of the sequence; None where it is absent."""
    holders = [dataset] if len(path) == 1 else dataset.get(path[0], ())
    for holder in holders:
        if path[-1] in holder:
            yield holder[path[-1]]
        else:
            yield None


def _presence(elements: Sequence[DataElement | None]) -> str:
    """In the words of PS3.2 N.9."""
    if None in elements:
        return "ANAP"
    n_empty = sum(e is not None and e.is_empty for e in elements)
    return {0: "ALWAYS", len(elements): "EMPTY"}.get(n_empty, "VNAP")


def _sources(kind: Kind, path: tuple[str, ...]) -> tuple[str, ...]:
    """The inputs with which the value changes; COPY where it is the Raw Data object's own."""
    path = (_LENGTH_OF.get(path[0], path[0]), *path[1:])
    found = {source for source, *both in kind.pairs if not _same(*(list(_elements(d, path)) for d in both))}
    if "RAW" in found and len(path) == 1:
        keyword = path[0]
        said = [(d[keyword], raw[keyword]) for d, raw in kind.raw if keyword in d and raw.get(keyword)]
        if said and all(_is_copy(element, value) for element, value in said):
            found = found - {"RAW"} | {"COPY"}
    return tuple(source for source in SOURCES if source in found)


def _same(one: list[DataElement | None], other: list[DataElement | None]) -> bool:
    """Items that only one of both has do not count: how many there are is told by other attributes."""
    return all((e and e.value) == (f and f.value) for e, f in zip(one, other, strict=False))


def _is_copy(element: DataElement, value: object) -> bool:
    return bool(element.value == value) or str(element.value) == str(value)


def _text(element: DataElement) -> str:
    value = element.value
    return "\\".join(map(str, value)) if element.VM > 1 else str(value if value is not None else "")


def _shown(element: DataElement) -> str:
    """A value as a cell; of sequences only a single code."""
    if element.VR == "SQ":
        (item,) = element.value if len(element.value) == 1 else (Dataset(),)
        return f"`{code_of(item)}`" if "CodeMeaning" in item else ""
    text = _text(element)
    short = text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."
    return f"`{short}`" if short else ""


def code_of(item: Dataset) -> str:
    """A coded concept as people write it."""
    return f'({item.CodeValue}, {item.CodingSchemeDesignator}, "{item.CodeMeaning}")'


@dataclass(frozen=True, kw_only=True)
class Group:
    """The cells of an attribute, and of all that is in its items."""

    keyword: str
    cells: tuple[tuple[str, ...], ...]


def groups_of(table: Iterable[Row]) -> list[Group]:
    """The rows of a table, those of a sequence together."""
    groups: dict[str, list[tuple[str, ...]]] = {}
    for row in table:
        groups.setdefault(row.path[0], []).append(row.cells())
    return [Group(keyword=keyword, cells=tuple(cells)) for keyword, cells in groups.items()]


def common(tables: Sequence[list[Group]]) -> list[Group]:
    """What stands in every table alike."""
    return [group for group in tables[0] if all(group in table for table in tables)]


def without(table: list[Group], known: list[Group]) -> list[Group]:
    """What does not stand in the other."""
    return [group for group in table if group not in known]
