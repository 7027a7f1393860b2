"""Every field of the schema and of the heads, and every flag: what becomes of it, in table, page and code."""

import dataclasses
import re
import typing
from collections.abc import Callable, Iterator
from pathlib import Path

import h5py
import ismrmrd
import numpy as np
import pytest
from ismrmrd import xsd
from ismrmrd.hdf5 import acquisition_header_dtype

from lfmri_node.recon.errors import InvalidRawData, ReconError, UnsupportedAcquisition
from lfmri_node.recon.mrd.fields import COPIED, FLAGS, HEAD, HEADER, Field, Use, expanded
from lfmri_node.recon.mrd.header import parse_header
from lfmri_node.recon.mrd.heads import Flag
from lfmri_node.recon.mrd.measurement import open_measurement
from lfmri_node.recon.mrd.write import ScanLayout, write_measurement

PAGE = Path(__file__).parents[3] / "deploy" / "docs" / "ismrmrd.md"
LAYOUT = ScanLayout(
    matrix=(6, 8, 1),
    field_of_view_mm=(60.0, 80.0, 5.0),
    n_coils=2,
    positions_mm=((0.0, 0.0, 0.0), (0.0, 0.0, 5.0)),
)
Edit = Callable[..., None]


def names(table: typing.Mapping[str, Field]) -> list[str]:
    return [name for pattern in table for name in expanded(pattern)]


def leaves(kind: type, path: str = "") -> Iterator[str]:
    """Paths of all fields of a schema class that hold a value."""
    hints = typing.get_type_hints(kind)
    for field in dataclasses.fields(kind):
        inner = [a for a in typing.get_args(hints[field.name]) if a is not type(None)] or [hints[field.name]]
        if dataclasses.is_dataclass(inner[0]) and inner[0].__module__.startswith("ismrmrd"):
            yield from leaves(inner[0], f"{path}{field.name}/")
        else:
            yield path + field.name


def test_every_field_of_the_schema_stands_in_the_table_once() -> None:
    assert sorted(names(HEADER)) == sorted(leaves(xsd.ismrmrdHeader))


def test_every_field_of_a_head_stands_in_the_table_once() -> None:
    counters = [f"idx/{name}" for name in acquisition_header_dtype["idx"].names]
    expected = [name for name in acquisition_header_dtype.names if name != "idx"] + counters
    assert sorted(names(HEAD)) == sorted(expected)


def test_every_flag_stands_in_the_table_once() -> None:
    assert sorted(names(FLAGS)) == sorted(name for name in dir(ismrmrd) if name.startswith("ACQ_"))


def test_flags_have_the_numbers_of_the_format() -> None:
    for flag in Flag:
        number = getattr(ismrmrd, f"ACQ_{flag.name}", None) or getattr(ismrmrd, f"ACQ_IS_{flag.name}")
        assert flag == number


def test_refusals_have_a_code_and_nothing_else_has() -> None:
    for field in (*HEADER.values(), *HEAD.values(), *FLAGS.values()):
        assert bool(re.fullmatch(r"LF-RAW-\d{3}", field.code)) == (field.use is Use.REFUSED)
        assert field.note


def test_the_page_says_what_the_table_says() -> None:
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in PAGE.read_text(encoding="utf-8").splitlines()
        if line.startswith("| `")
    ]
    tables = (HEADER, HEAD, FLAGS)
    expected = [
        [f"`{name}`", field.use.value + (f" ({field.code})" if field.code else ""), field.note]
        for table in tables
        for name, field in table.items()
    ]
    assert rows == expected


@pytest.fixture
def path(tmp_path: Path) -> Path:
    target = tmp_path / "scan.h5"
    write_measurement(target, np.ones((2, 2, 6, 8), dtype=np.complex64), np.ones(8, dtype=bool), LAYOUT)
    return target


def refusal(path: Path) -> ReconError:
    with (
        pytest.raises((InvalidRawData, UnsupportedAcquisition)) as caught,
        open_measurement(path, sha256="0" * 64) as measurement,
    ):
        measurement.scan()
    return caught.value


MULTIBAND = b"""<parallelImaging><accelerationFactor><kspace_encoding_step_1>1</kspace_encoding_step_1>
<kspace_encoding_step_2>1</kspace_encoding_step_2></accelerationFactor><multiband><spacing><dZ>15</dZ></spacing>
<deltaKz>0</deltaKz><multiband_factor>%d</multiband_factor><calibration>separable2D</calibration>
<calibration_encoding>0</calibration_encoding></multiband></parallelImaging></encoding>"""
DIFFUSION = b"""<diffusion><gradientDirection><rl>1</rl><ap>0</ap><fh>0</fh></gradientDirection>
<bvalue>%d</bvalue></diffusion></sequenceParameters>"""
DESCRIBED = b"<trajectoryDescription><identifier>ramp</identifier></trajectoryDescription></encoding>"
REFUSING_XML = {
    "encoding/trajectory": (b">cartesian<", b">spiral<"),
    "encoding/trajectoryDescription/identifier": (b"</encoding>", DESCRIBED),
    "encoding/parallelImaging/multiband/multiband_factor": (b"</encoding>", MULTIBAND % 2),
    "sequenceParameters/diffusion/bvalue": (b"</sequenceParameters>", DIFFUSION % 1000),
}
SECOND = np.arange(16) % 2
REFUSING_HEADS = {
    "active_channels": {"active_channels": 2 - SECOND},
    "channel_mask": {"channel_mask": np.stack([3 + 2 * SECOND] + 15 * [0 * SECOND], axis=1)},
    "encoding_space_ref": {"encoding_space_ref": SECOND},
    "patient_table_position": {"patient_table_position": np.repeat(SECOND[:, None], 3, axis=1)},
    "idx/phase": {"idx_phase": SECOND},
    "idx/set": {"idx_set": SECOND},
    "ACQ_COMPRESSION1": {"flags": 1 << 52},
    "ACQ_COMPRESSION2": {"flags": 1 << 53},
    "ACQ_COMPRESSION3": {"flags": 1 << 54},
    "ACQ_COMPRESSION4": {"flags": 1 << 55},
}


def code_of(name: str) -> str:
    found = [f.code for t in (HEADER, HEAD, FLAGS) for p, f in t.items() if name in expanded(p)]
    assert len(found) == 1
    return found[0]


@pytest.mark.parametrize("name", REFUSING_XML)
def test_what_the_header_says_is_refused_by_name(path: Path, edit_mrd: Edit, name: str) -> None:
    with h5py.File(path, "r+") as file:
        file["dataset/xml"][0] = file["dataset/xml"][0].replace(b"<sequenceParameters/>", b"")
        if b"<sequenceParameters>" not in file["dataset/xml"][0]:
            empty = b"<sequenceParameters></sequenceParameters></ismrmrdHeader>"
            file["dataset/xml"][0] = file["dataset/xml"][0].replace(b"</ismrmrdHeader>", empty)
    edit_mrd(path, xml=REFUSING_XML[name])
    assert refusal(path).code == code_of(name)


@pytest.mark.parametrize("name", REFUSING_HEADS)
def test_what_the_heads_say_is_refused_by_name(path: Path, edit_mrd: Edit, name: str) -> None:
    edit_mrd(path, **REFUSING_HEADS[name])
    assert refusal(path).code == code_of(name)


def test_every_refusal_of_the_table_is_provoked_here() -> None:
    refused = {n for t in (HEADER, HEAD, FLAGS) for p, f in t.items() if f.code for n in expanded(p)}
    described = {n for n in refused if n.startswith("encoding/trajectoryDescription/")}
    elsewhere = {"trajectory_dimensions"}  # test_measurement_refusals
    assert refused - described - elsewhere <= {*REFUSING_XML, *REFUSING_HEADS}


def test_single_band_data_may_say_so(path: Path, edit_mrd: Edit) -> None:
    edit_mrd(path, xml=(b"</encoding>", MULTIBAND % 1))
    with open_measurement(path, sha256="0" * 64) as measurement:
        assert measurement.scan().n_slices == 2


def test_what_is_copied_is_stated_and_not_shown() -> None:
    texts = {name: f"text {i}" for i, name in enumerate(COPIED)}
    numbers = ("Strength_T", "frequency_Hz", "H1", "TR", "TE", "TI", "_deg", "echoTrainLength")
    texts |= {name: "7" for name in COPIED if name.endswith(numbers) or "H1" in name}
    size = "<matrixSize><x>8</x><y>8</y><z>1</z></matrixSize>"
    space = size + "<fieldOfView_mm><x>80</x><y>80</y><z>5</z></fieldOfView_mm>"
    tree: dict[str, dict[str, str]] = {}
    for name, text in texts.items():
        section, leaf = name.split("/")
        tree.setdefault(section, {})[leaf] = text
    tree["encoding"]["encodedSpace"] = space
    xml = "".join(
        f"<{section}>{''.join(f'<{k}>{v}</{k}>' for k, v in leaves.items())}</{section}>"
        for section, leaves in tree.items()
    )
    header = parse_header(
        f'<ismrmrdHeader xmlns="http://www.ismrm.org/ISMRMRD">{xml}</ismrmrdHeader>'.encode()
    )
    assert header.stated == texts
    private = [text for name, text in texts.items() if name.startswith(("subject", "study"))]
    assert not [text for text in private if f"'{text}'" in repr(header)]
    sequence = header.sequence_of(0, header.encodings[0], three_dimensional=False)
    assert (sequence.echo_train_length, sequence.repetition_time_ms) == (7, 7.0)
