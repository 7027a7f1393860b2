"""How the tables are read from objects: on data sets of a few elements, by hand."""

import pytest
from attribute_tables import Kind, Row, common, groups_of, rows, without
from coded_content import code_rows, report_rows
from modules import modules_of, place_of, spelled
from pydicom.dataset import Dataset


def data_set(**values: object) -> Dataset:
    dataset = Dataset()
    for keyword, value in values.items():
        setattr(dataset, keyword, value)
    return dataset


def row(kind: Kind, *path: str) -> Row:
    return next(found for found in rows(kind) if found.path == path)


@pytest.mark.parametrize(
    ("said", "presence"),
    [
        (["a", "b"], "ALWAYS"),
        (["a", ""], "VNAP"),
        (["a", None], "ANAP"),
        (["", None], "ANAP"),
        (["", ""], "EMPTY"),
    ],
)
def test_presence(said: list[str | None], presence: str) -> None:
    """None: the attribute is absent."""
    objects = [data_set() if text is None else data_set(StudyID=text) for text in said]
    assert row(Kind(objects=objects), "StudyID").presence == presence


def test_a_source_is_named_where_the_value_changes_with_it() -> None:
    first, by_clock, by_key = (data_set(StudyID=text) for text in ("a", "b", "a"))
    kind = Kind(objects=[first, by_clock, by_key], pairs=[("CLOCK", first, by_clock), ("KEY", first, by_key)])
    assert row(kind, "StudyID").sources == ("CLOCK",)


def test_a_value_that_appears_has_changed() -> None:
    without_it, with_it = data_set(PatientID="1"), data_set(PatientID="1", StudyID="a")
    kind = Kind(objects=[without_it, with_it], pairs=[("HEADER", without_it, with_it)])
    assert row(kind, "StudyID").sources == ("HEADER",)
    assert row(kind, "PatientID").sources == ("FIXED",)
    assert row(kind, "PatientID").value == "`1`"


@pytest.mark.parametrize(("made_of", "source"), [("a", "COPY"), ("A", "RAW")])
def test_a_copy_is_the_same_value_under_the_same_name(made_of: str, source: str) -> None:
    first, second = data_set(StudyID="a"), data_set(StudyID="b")
    raw = [(first, {"StudyID": made_of}), (second, {"StudyID": "b"})]
    kind = Kind(objects=[first, second], pairs=[("RAW", first, second)], raw=raw)
    assert row(kind, "StudyID").sources == (source,)


def test_what_varies_with_no_input_is_the_nodes_own() -> None:
    kind = Kind(objects=[data_set(InstanceNumber=1), data_set(InstanceNumber=2)])
    assert row(kind, "InstanceNumber").sources == ("AUTO",)


def test_presence_in_an_item_is_among_the_items_that_are_there() -> None:
    items = [data_set(ReferencedSOPInstanceUID="1.2", ReferencedSOPClassUID="1.3")]
    more = [data_set(ReferencedSOPInstanceUID="1.2"), *items]
    kind = Kind(
        objects=[data_set(), data_set(SourceInstanceSequence=items), data_set(SourceInstanceSequence=more)]
    )
    assert row(kind, "SourceInstanceSequence").presence == "ANAP"
    assert row(kind, "SourceInstanceSequence", "ReferencedSOPInstanceUID").presence == "ALWAYS"
    assert row(kind, "SourceInstanceSequence", "ReferencedSOPClassUID").presence == "ANAP"


def test_a_single_code_stands_as_value() -> None:
    code = data_set(CodeValue="1", CodingSchemeDesignator="DCM", CodeMeaning="one")
    kind = Kind(objects=[data_set(DerivationCodeSequence=[code])])
    assert [found.value for found in rows(kind)] == ['`(1, DCM, "one")`']


def test_a_sequence_is_shared_only_with_all_that_is_in_it() -> None:
    same = data_set(PatientID="1", SourceInstanceSequence=[data_set(ReferencedSOPInstanceUID="1.2")])
    other = data_set(PatientID="1", SourceInstanceSequence=[data_set(ReferencedSOPInstanceUID="1.3")])
    tables = [groups_of(rows(Kind(objects=[dataset]))) for dataset in (same, other)]
    shared = common(tables)
    assert [group.keyword for group in shared] == ["PatientID"]
    assert [group.keyword for group in without(tables[0], shared)] == ["SourceInstanceSequence"]


def content(kind: str, name: str, relation: str = "CONTAINS", **values: object) -> Dataset:
    code = data_set(CodeValue=name, CodingSchemeDesignator="99TEST", CodeMeaning=name)
    return data_set(ValueType=kind, RelationshipType=relation, ConceptNameCodeSequence=[code], **values)


def test_the_tree_of_reports_that_differ() -> None:
    volume = content("TEXT", "volume", TextValue="1")
    group = content("CONTAINER", "group", ContentSequence=[volume, volume])
    empty = content("CONTAINER", "group", ContentSequence=[])
    finding = content("TEXT", "finding", TextValue="words")
    reports = [content("CONTAINER", "report", ContentSequence=items) for items in ([group, finding], [empty])]
    assert [(r[0], r[3], r[4]) for r in report_rows(reports)] == [
        ("0", '(report, 99TEST, "report")', "ALWAYS"),
        ("> 1", '(group, 99TEST, "group")', "ALWAYS"),
        ("> > 2", '(volume, 99TEST, "volume")', "ANAP"),
        ("> 1", '(finding, 99TEST, "finding")', "ANAP"),
    ]


def test_codes_are_found_at_every_depth_and_named_once() -> None:
    finding = content("TEXT", "finding", TextValue="words")
    report = content("CONTAINER", "report", ContentSequence=[finding, finding])
    assert code_rows([report, report]) == [
        ("99TEST", "finding", "finding", "ConceptNameCodeSequence"),
        ("99TEST", "report", "report", "ConceptNameCodeSequence"),
    ]


def test_the_module_is_that_of_the_iod() -> None:
    assert modules_of("ContentDate", ["MR Image Storage"]) == ("GeneralImage",)
    assert modules_of("ContentDate", ["Comprehensive 3D SR Storage"]) == ("SRDocumentGeneral",)
    both = modules_of("SeriesDate", ["Comprehensive 3D SR Storage", "MR Image Storage"])
    assert spelled(both) == "General Series, SR Document Series"
    assert spelled(modules_of("WindowCenter", ["MR Image Storage"])) == "VOI LUT"
    assert modules_of("WindowCenter", ["Comprehensive 3D SR Storage"]) == ()


def test_modules_are_sorted_as_the_standard_does() -> None:
    names = [("SOPCommon",), (), ("GeneralSeries", "SRDocumentSeries"), ("Patient",)]
    assert sorted(names, key=place_of) == [names[3], names[2], names[0], names[1]]
