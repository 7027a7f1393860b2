"""Write the generated blocks of deploy/docs/conformance.md anew: ``python tests/conformance/write.py``.

What lies between ``<!-- generated: NAME -->`` and ``<!-- end -->`` comes from the code, the rest is written
by hand. A test compares both.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import coded_content
import network_facts
import raw_data_block
import settings
from attribute_tables import KINDS, Group, Row, common, groups_of, made, rows, without
from examples import full, objects_of, raw_data_objects
from modules import modules_of, place_of, spelled
from pydicom.datadict import dictionary_description, tag_for_keyword
from pydicom.uid import UID

from lfmri_node.dicom_io.raw_data.context import COPIED, EQUIPMENT
from lfmri_node.dicom_io.raw_data.stated import KEYWORDS

STATEMENT = Path(__file__).parents[2] / "deploy" / "docs" / "conformance.md"
COMMAND = "python tests/conformance/write.py"
_BLOCK = re.compile(r"(<!-- generated: ([\w-]+) -->\n)(.*?)(<!-- end -->)", re.DOTALL)
_SHARED = {
    "shared": tuple(KINDS),
    "images": tuple(kind for kind in KINDS if kind not in ("report", "summary")),
    "mr": ("mr-image", "corrected-image"),
    "maps": ("change-map", "activation-map"),
}
"""Tables of what several kinds share, and these kinds; each has a table of what is left."""

_ATTRIBUTES = ("module", "attribute", "tag", "VR", "presence", "source", "value")
_CONTEXTS = ("SOP class", "UID", "transfer syntax", "UID")
_STATUS = ("service status", "further meaning", "status code")


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table of Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |\n" for row in lines)


def blocks(folder: Path) -> dict[str, str]:
    """Every generated block, by its name; what has to be made is made below ``folder``."""
    return _of_the_network(folder) | _of_the_objects(folder) | _of_the_settings()


def _of_the_network(folder: Path) -> dict[str, str]:
    listener = network_facts.accepted(folder / "spool")
    echo = network_facts.proposed_for_echo()
    raw_data_objects(folder / "to-send")
    sent = network_facts.proposed_for(sorted((folder / "to-send").glob("*.dcm")))
    objects_of(full(), folder / "to-deliver")
    delivered = network_facts.proposed_for(sorted((folder / "to-deliver" / "objects").glob("*.dcm")))
    contexts = {
        "contexts-accepted": listener,
        "contexts-delivered": delivered,
        "contexts-sent": sent,
        "contexts-echo": echo,
    }
    return {
        "storage": table(
            ("SOP class", "UID", "created", "SCU", "SCP"), _storage_rows(listener, sent, delivered)
        ),
        **{name: table(_CONTEXTS, network_facts.context_rows(said)) for name, said in contexts.items()},
        "contexts-accepted": table((*_CONTEXTS, "taken of both"), network_facts.accepted_rows(listener)),
        "association": table(("name", "value"), network_facts.identity_rows(*contexts.values())),
        "rejections": table(("result", "source", "reason", "when", "code"), network_facts.rejection_rows()),
        "status-scu": table((*_STATUS, "what is done"), network_facts.received_rows()),
        "commitment-failures": table(
            ("failure reason", "meaning", "what is done"), network_facts.commitment_rows()
        ),
        "status-scp": table((*_STATUS, "related fields", "condition"), network_facts.answered_rows()),
    }


def _storage_rows(
    listener: network_facts.Offered, sent: network_facts.Offered, delivered: network_facts.Offered
) -> list[tuple[str, ...]]:
    taken, ours = {c for c, _ in listener.contexts}, {c for c, _ in delivered.contexts}
    given = {c for c, _ in sent.contexts}
    return [
        (
            UID(uid).name,
            uid,
            "`serve`, `reconstruct`" if uid in ours else "`send`",
            "`serve`" if uid in ours else "`send`",
            "`serve`" if uid in taken else "no",
        )
        for uid in sorted(ours | given)
    ]


def _of_the_objects(folder: Path) -> dict[str, str]:
    kinds = made(folder)
    tables = {name: rows(kind) for name, kind in kinds.items()}
    objects = [dataset for kind in kinds.values() for dataset in kind.objects]
    return _attributes(tables) | {
        "private-block": table(
            ("tag", "VR", "VM", "presence", "name", "content"), raw_data_block.element_rows()
        ),
        "private-example": f"```\n{raw_data_block.example(folder / 'example')}\n```\n",
        "report-content": table(
            ("level", "relation", "VT", "concept", "presence", "value", "TID"),
            coded_content.report_rows(kinds["report"].objects),
        ),
        "codes": table(("scheme", "code", "meaning", "in"), coded_content.code_rows(objects)),
        "regions": table(("Body Part Examined", "scheme", "code", "meaning"), coded_content.region_rows()),
        "mapping-raw-data": table(("attribute", "tag", "copied into"), _copied_rows(tables)),
        "mapping-header": table(("ISMRMRD header", "attribute", "tag"), _header_rows()),
    }


def _attributes(tables: Mapping[str, list[Row]]) -> dict[str, str]:
    """What all created kinds share, all images, both maps, and what is left of each; Raw Data as a whole."""
    left = {name: groups_of(found) for name, found in tables.items()}
    parts: dict[str, list[Group]] = {}
    for name, kinds in _SHARED.items():
        parts[name] = common([left[kind] for kind in kinds])
        left |= {kind: without(left[kind], parts[name]) for kind in kinds}
    classes = {name: [_sop_class(found)] for name, found in tables.items()}
    classes |= {name: [_sop_class(tables[kind]) for kind in kinds] for name, kinds in _SHARED.items()}
    return {
        f"attributes-{name}": table(_ATTRIBUTES, _by_module(groups, classes[name]))
        for name, groups in (parts | left).items()
    }


def _sop_class(found: list[Row]) -> str:
    return next(str(row.element.value.name) for row in found if row.path == ("SOPClassUID",))


def _by_module(groups: list[Group], sop_classes: Sequence[str]) -> Iterator[tuple[str, ...]]:
    """Cells with the module in front, in the order of the modules; what is in items has none of its own."""
    named = [(modules_of(group.keyword, sop_classes), group) for group in groups]
    for modules, group in sorted(named, key=lambda pair: place_of(pair[0])):
        for n, cells in enumerate(group.cells):
            yield ("" if n else spelled(modules), *cells)


def _copied_rows(tables: Mapping[str, list[Row]]) -> list[tuple[str, ...]]:
    """Where an attribute of the Raw Data object stands again under its own name."""
    copied = []
    for keyword in (*COPIED, "FrameOfReferenceUID", *EQUIPMENT):
        kinds = [
            name
            for name in KINDS
            if any(row.path == (keyword,) and "COPY" in row.sources for row in tables[name])
        ]
        everywhere = len(kinds) == len(KINDS)
        copied.append((*_named(keyword), "all" if everywhere else ", ".join(kinds) or "-"))
    return copied


def _header_rows() -> list[tuple[str, ...]]:
    return [(f"`{path}`", *_named(keyword)) for path, (keyword, _) in KEYWORDS.items()]


def _named(keyword: str) -> tuple[str, str]:
    tag = tag_for_keyword(keyword)
    assert tag is not None
    return dictionary_description(tag), f"({tag >> 16:04X},{tag & 0xFFFF:04X})"


def _of_the_settings() -> dict[str, str]:
    return {
        "configuration": table(("key", "default", "meaning"), settings.configurable_rows()),
        "limits": table(("limit", "value"), settings.fixed_rows()),
    }


def renewed(text: str, made: Mapping[str, str]) -> str:
    """The statement with its blocks written anew; KeyError for a block that nothing is generated for."""
    return _BLOCK.sub(lambda match: f"{match[1]}{made[match[2]]}{match[4]}", text)


def names_in(text: str) -> list[str]:
    """Names of the blocks of a statement."""
    return [match[2] for match in _BLOCK.finditer(text)]


def main() -> None:
    """Rewrite the statement."""
    text = STATEMENT.read_text(encoding="utf-8")
    with tempfile.TemporaryDirectory() as folder:
        STATEMENT.write_text(renewed(text, blocks(Path(folder))), encoding="utf-8")
    print(f"written: {STATEMENT}")


if __name__ == "__main__":
    main()
