"""The conformance statement says what the code does, in the order of PS3.2 Annex N."""

import re
from pathlib import Path

import pytest
import write
from pydicom.dataset import Dataset

from lfmri_node.dicom_io.raw_data.block import CREATOR_VERSION_UID, ELEMENTS, PRIVATE_CREATOR, BlockFields

TEXT = write.STATEMENT.read_text(encoding="utf-8")
ANNEX_N = [
    "1 Overview",
    "2 Table of contents",
    "3 Introduction",
    "4 Implementation model",
    "5 Service and interoperability description",
    "6 Configuration",
    "7 Network and media communication details",
    "8 Security",
    "A.A Information Object Definitions",
    "A.B Structured Report content encoding",
    "A.C Security details",
    "A.D Mapping of attributes",
    "A.E Code set usage",
]


@pytest.fixture(scope="module")
def blocks(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return write.blocks(tmp_path_factory.mktemp("statement"))


def test_every_generated_block_is_what_the_code_says(blocks: dict[str, str]) -> None:
    assert write.renewed(TEXT, blocks) == TEXT, f"out of date: {write.COMMAND}"


def test_everything_that_is_generated_stands_in_the_statement_once(blocks: dict[str, str]) -> None:
    assert sorted(write.names_in(TEXT)) == sorted(blocks)


def test_its_sections_are_those_of_annex_n_in_their_order() -> None:
    assert re.findall(r"^## (.+)$", TEXT, re.MULTILINE) == ANNEX_N


def place(number: str) -> list[tuple[bool, int]]:
    """For sorting: numbers by value, letters after them."""
    return [(part.isalpha(), ord(part) if part.isalpha() else int(part)) for part in number.split(".")]


def test_its_subsections_are_numbered_in_order() -> None:
    """As a reader counts; a heading may stand for several, such as ``5.3 to 5.5``."""
    numbers = re.findall(r"^#{2,6} ((?:A\.[A-E]|\d)(?:\.\d+)*)(?= )", TEXT, re.MULTILINE)
    assert numbers == sorted(set(numbers), key=place)


def test_links_inside_the_statement_lead_to_headings() -> None:
    headings = re.findall(r"^#+ (.+)$", TEXT, re.MULTILINE)
    anchors = {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}
    named = re.findall(r"\]\(#([^)]+)\)", TEXT)
    assert set(named) <= anchors


def test_a_block_that_nothing_makes_is_noticed() -> None:
    with pytest.raises(KeyError):
        write.renewed("<!-- generated: nothing -->\n<!-- end -->", {})


def test_what_stands_in_a_block_is_replaced_and_nothing_else() -> None:
    text = "a\n<!-- generated: x -->\nold\n<!-- end -->\nb\n"
    assert write.renewed(text, {"x": "new\n"}) == text.replace("old", "new")


def test_the_elements_that_are_written_are_those_of_the_table() -> None:
    digest = "0" * 64
    block = BlockFields(
        size=1,
        part_sha256=digest,
        group="dataset",
        part=1,
        n_parts=1,
        sha256=digest,
        total_size=1,
        given="PatientID",
    )
    dataset = Dataset()
    block.add_to(dataset)
    written = {e.tag.element & 0xFF: e.VR for e in dataset if e.tag.element >= 0x1000}
    assert written | {0x10: "OB"} == {element.number: element.vr for element in ELEMENTS}
    assert f"`{PRIVATE_CREATOR}`" in TEXT
    assert CREATOR_VERSION_UID in TEXT


def test_the_command_that_is_named_is_there() -> None:
    root = Path(__file__).parents[2]
    assert f"`{write.COMMAND}`" in TEXT
    assert (root / write.COMMAND.split()[1]) == Path(write.__file__)
