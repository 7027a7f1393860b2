"""Every attribute of every object against the tables of PS3.3 in modules.toml, sequences included."""

import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path

import pydicom
import pytest
from pydicom.dataset import Dataset
from variants import VARIANTS

_TABLES = tomllib.loads(Path(__file__).with_name("modules.toml").read_text(encoding="utf-8"))
_GROUPS = ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence")


def problems(dataset: Dataset) -> list[str]:
    """What a whole object lacks, holds without a value, or may not hold."""
    iod = _TABLES["iods"][dataset.SOPClassUID.name]
    tables = [_TABLES["modules"][name] for name in iod["modules"].split()]
    for table in (_TABLES["modules"][name] for name in iod["optional"].split()):
        if any(keyword in dataset for keyword in _keywords(table)):
            tables.append(table)
    found = [*_against(dataset, *tables), *_below(dataset, "")]
    return found + _functional_groups(dataset, iod.get("functional_groups", "").split())


def _keywords(table: Mapping[str, str], *types: str) -> set[str]:
    return {
        keyword for type_, line in table.items() if not types or type_ in types for keyword in line.split()
    }


def _against(dataset: Dataset, *tables: Mapping[str, str]) -> Iterator[str]:
    needed = set().union(*(_keywords(table, "1", "2") for table in tables))
    yield from (f"{keyword} is missing" for keyword in needed if keyword not in dataset)
    with_value = set().union(*(_keywords(table, "1", "1C") for table in tables))
    known = set().union(*(_keywords(table) for table in tables))
    for element in dataset:
        if element.keyword in with_value and element.is_empty:
            yield f"{element.keyword} is empty"
        if element.keyword not in known and not element.tag.is_private:
            yield f"{element.keyword} is of no module"


def _below(dataset: Dataset, around: str) -> Iterator[str]:
    """Problems of the items of all sequences of ``dataset``, itself an item of the sequence ``around``."""
    items = _TABLES["items"]
    for element in dataset:
        if element.VR != "SQ":
            continue
        table = items.get(f"{around}.{element.keyword}", items.get(element.keyword))
        if element.keyword in items["code_sequences"].split():
            table = items["code"]
        for item in element.value:
            if element.keyword not in _GROUPS:
                yield from (f"{element.keyword}: {problem}" for problem in _against(item, table))
            if element.keyword == "ContentSequence":
                yield from _content(item)
            yield from _below(item, element.keyword)


def _content(item: Dataset) -> Iterator[str]:
    values = {keyword for keyword in _TABLES["content"].values() if keyword in item}
    if values != {_TABLES["content"][item.ValueType]}:
        yield f"ContentSequence: {item.ValueType} with {sorted(values)}"


def _functional_groups(dataset: Dataset, needed: list[str]) -> list[str]:
    """PS3.3 C.7.6.16: each group stands once for all frames, or once for every frame, and no other does."""
    shared, frames = (dataset.get(name, []) for name in _GROUPS)
    used = {element.keyword for item in [*shared, *frames] for element in item}
    wrong = [f"{name} is of no functional group of the IOD" for name in used - set(needed)]
    for name in needed:
        times = [sum(name in item for item in [*shared, frame]) for frame in frames]
        if set(times) != {1} or len(frames) != dataset.NumberOfFrames:
            wrong.append(f"{name} does not stand once for each frame")
    return wrong


def references(dataset: Dataset, around: str = "") -> Iterator[tuple[str, str]]:
    """Every instance that ``dataset`` refers to at any depth, and the sequence that refers to it."""
    for element in dataset:
        if element.keyword == "ReferencedSOPInstanceUID":
            yield around, element.value
        for item in element.value if element.VR == "SQ" else ():
            listed = element.keyword in (
                "ReferencedSeriesSequence",
                "CurrentRequestedProcedureEvidenceSequence",
            )
            yield from references(item, "list" if listed or around == "list" else element.keyword)


@pytest.mark.parametrize("name", VARIANTS)
def test_every_object_has_what_its_modules_ask_for_and_nothing_else(job_of, name):
    told = {path.name: problems(pydicom.dcmread(path)) for path in job_of(name).files}
    assert {name: found for name, found in told.items() if found} == {}


@pytest.mark.parametrize("name", VARIANTS)
def test_what_is_referred_to_is_listed_with_its_series(job_of, name):
    """PS3.3 C.12.2 for maps and segmentations, C.17.2.3 for reports: instances of the study, by series."""
    job = job_of(name)
    objects = {d.SOPInstanceUID: d for d in map(pydicom.dcmread, job.files)}
    for role in ("map", "difference", "segmentation", "report"):
        for dataset in job.delivery.read(role):
            uids = list(references(dataset))
            used = {uid for around, uid in uids if around != "list"}
            assert used <= {uid for around, uid in uids if around == "list"} <= objects.keys()
            evidence = dataset.get("CurrentRequestedProcedureEvidenceSequence", [dataset])
            for series in (series for item in evidence for series in item.ReferencedSeriesSequence):
                for _, uid in references(series):
                    assert objects[uid].SeriesInstanceUID == series.SeriesInstanceUID


def _first(dataset: Dataset, *keywords: str) -> Dataset:
    for keyword in keywords:
        dataset = dataset[keyword].value[0]
    return dataset


def _remove(keyword, *path):
    return lambda dataset: delattr(_first(dataset, *path), keyword)


def _set(keyword, value, *path):
    return lambda dataset: setattr(_first(dataset, *path), keyword, value)


@pytest.mark.parametrize(
    ("role", "change", "problem"),
    [
        ("lf-mri", _remove("FrameOfReferenceUID"), "FrameOfReferenceUID is missing"),
        ("lf-mri", _remove("PatientSex"), "PatientSex is missing"),
        ("lf-mri", _set("ScanningSequence", None), "ScanningSequence is empty"),
        ("lf-mri", _set("SpatialResolution", 1.0), "SpatialResolution is of no module"),
        ("lf-mri", _set("ClinicalTrialSiteID", "1"), "ClinicalTrialSponsorName is missing"),
        (
            "fused",
            _remove("CodeMeaning", "ContributingEquipmentSequence", "PurposeOfReferenceCodeSequence"),
            "PurposeOfReferenceCodeSequence: CodeMeaning is missing",
        ),
        (
            "map",
            _remove("FrameAnatomySequence", "SharedFunctionalGroupsSequence"),
            "FrameAnatomySequence does not stand once for each frame",
        ),
        (
            "map",
            _remove("PlanePositionSequence", "PerFrameFunctionalGroupsSequence"),
            "PlanePositionSequence does not stand once for each frame",
        ),
        (
            "segmentation",
            _set("TemporalPositionSequence", [], "PerFrameFunctionalGroupsSequence"),
            "TemporalPositionSequence is of no functional group of the IOD",
        ),
        ("report", _set("TextValue", "x", "ContentSequence"), "ContentSequence: CODE with"),
    ],
)
def test_what_is_against_the_tables_is_found(delivered, role, change, problem):
    dataset = delivered.read(role)[0]
    assert problems(dataset) == []
    change(dataset)
    assert any(found.startswith(problem) for found in problems(dataset))
