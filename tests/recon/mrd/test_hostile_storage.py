"""Files that HDF5 would read and nobody should: refused by their metadata, before anything is read."""

import os
import struct
import zlib
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import h5py
import numpy as np
import pytest
from ismrmrd.hdf5 import acquisition_dtype

from lfmri_node.recon.errors import InvalidRawData
from lfmri_node.recon.mrd.file import open_mrd
from lfmri_node.recon.mrd.measurement import open_measurement
from lfmri_node.recon.mrd.write import ScanLayout, write_measurement

LAYOUT = ScanLayout(matrix=(6, 8, 1), field_of_view_mm=(60.0, 80.0, 5.0), n_coils=2)
ROW, RECORD = 372, 356  # bytes of a row on disk, and where it refers to its samples
VLEN_TEXT = h5py.special_dtype(vlen=bytes)
Hostile = Callable[[h5py.File, Path], None]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A healthy measurement; each test turns it into something else."""
    target = tmp_path / "scan.h5"
    write_measurement(target, np.ones((1, 2, 6, 8), dtype=np.complex64), np.ones(8, dtype=bool), LAYOUT)
    return target


def refusal(path: Path) -> str:
    """Code of the error, and that reading from a file object gives the same."""
    codes = []
    for source in (path, BytesIO(path.read_bytes())):
        with pytest.raises(InvalidRawData) as caught, open_mrd(source, None):
            pass
        codes.append(caught.value.code)
    assert len(set(codes)) == 1
    return codes[0]


def external_rows(file: h5py.File, folder: Path) -> None:
    """The table is another file's bytes: somebody else's scan."""
    (folder / "other").write_bytes(b"secret" * ROW)
    del file["dataset/data"]
    file.create_dataset(
        "dataset/data", (6,), acquisition_dtype, external=[(str(folder / "other"), 0, 6 * ROW)]
    )


def external_header(file: h5py.File, folder: Path) -> None:
    (folder / "hostname").write_bytes(b"some-host\n")
    del file["dataset/xml"]
    file.create_dataset("dataset/xml", (1,), "S10", external=[(str(folder / "hostname"), 0, 10)])


def fifo_rows(file: h5py.File, folder: Path) -> None:
    """Reading would wait for ever: nobody writes into it."""
    os.mkfifo(folder / "fifo")
    del file["dataset/data"]
    file.create_dataset(
        "dataset/data", (6,), acquisition_dtype, external=[(str(folder / "fifo"), 0, 6 * ROW)]
    )


def virtual_rows_of_itself(file: h5py.File, _: Path) -> None:
    """Its extent is that of its source, which is itself."""
    del file["dataset/data"]
    layout = h5py.VirtualLayout(shape=(8,), dtype=acquisition_dtype, maxshape=(None,))
    layout[:8] = h5py.VirtualSource(".", "dataset/data", shape=(8,), dtype=acquisition_dtype)
    file["dataset"].create_virtual_dataset("data", layout)


def virtual_rows_without_end(file: h5py.File, _: Path) -> None:
    del file["dataset/data"]
    layout = h5py.VirtualLayout(shape=(8,), dtype=acquisition_dtype, maxshape=(None,))
    source = h5py.VirtualSource(".", "dataset/data", shape=(8,), dtype=acquisition_dtype, maxshape=(None,))
    layout[: h5py.h5s.UNLIMITED] = source[: h5py.h5s.UNLIMITED]
    file["dataset"].create_virtual_dataset("data", layout)


def soft_link_to_the_rows(file: h5py.File, _: Path) -> None:
    file.move("dataset/data", "elsewhere")
    file["dataset/data"] = h5py.SoftLink("/elsewhere")


def external_link_to_a_group(file: h5py.File, folder: Path) -> None:
    file["more"] = h5py.ExternalLink(str(folder / "other.h5"), "/dataset")


def external_link_to_the_header(file: h5py.File, folder: Path) -> None:
    del file["dataset/xml"]
    file["dataset/xml"] = h5py.ExternalLink(str(folder / "other.h5"), "/dataset/xml")


@pytest.mark.parametrize(
    "make",
    [
        external_rows,
        external_header,
        fifo_rows,
        virtual_rows_of_itself,
        virtual_rows_without_end,
        soft_link_to_the_rows,
        external_link_to_a_group,
        external_link_to_the_header,
    ],
)
def test_storage_outside_of_the_file(path: Path, make: Hostile) -> None:
    with h5py.File(path, "r+") as file:
        make(file, path.parent)
    assert refusal(path) == "LF-RAW-041"


def test_a_user_block_hides_nothing(path: Path) -> None:
    with h5py.File(path.with_name("user.h5"), "w", userblock_size=1024) as target, h5py.File(path) as source:
        source.copy("dataset", target)
    hidden = bytearray(path.with_name("user.h5").read_bytes())
    hidden[:5] = b"%PDF-"
    path.write_bytes(hidden)
    assert refusal(path) == "LF-RAW-041"


def rows_never_written(file: h5py.File, _: Path) -> None:
    """Read, they would be 370 GB of zeros."""
    file["dataset/data"].resize((10**9,))


def one_chunk_never_written(file: h5py.File, _: Path) -> None:
    file["dataset/data"].resize((65,))


def contiguous_rows_never_written(file: h5py.File, _: Path) -> None:
    del file["dataset/data"]
    file.create_dataset("dataset/data", (10**8,), acquisition_dtype)


def header_never_written(file: h5py.File, _: Path) -> None:
    del file["dataset/xml"]
    file.create_dataset("dataset/xml", (10**9,), VLEN_TEXT, chunks=(1000,))


def packed_rows(file: h5py.File, _: Path) -> None:
    """60 thousand rows of zeros in a few kilobytes."""
    del file["dataset/data"]
    table = file.create_dataset(
        "dataset/data", (60_000,), acquisition_dtype, chunks=(60_000,), compression="gzip"
    )
    table.id.write_direct_chunk((0,), zlib.compress(bytes(60_000 * ROW)))


def packed_chunk_of_few_rows(file: h5py.File, _: Path) -> None:
    """One row in a chunk of 100 thousand."""
    del file["dataset/data"]
    file.create_dataset(
        "dataset/data", (1,), acquisition_dtype, maxshape=(None,), chunks=(100_000,), compression="gzip"
    )


def chunk_that_unpacks_to_more(file: h5py.File, _: Path) -> None:
    """A deflate stream of 64 MB for a chunk of 24 kB: the library would inflate all of it."""
    del file["dataset/data"]
    table = file.create_dataset(
        "dataset/data", (64,), acquisition_dtype, chunks=(64,), maxshape=(None,), compression="gzip"
    )
    table.id.write_direct_chunk((0,), zlib.compress(bytes(64 << 20)))


@pytest.mark.parametrize(
    "make",
    [
        rows_never_written,
        one_chunk_never_written,
        contiguous_rows_never_written,
        header_never_written,
        packed_rows,
        packed_chunk_of_few_rows,
        chunk_that_unpacks_to_more,
    ],
)
def test_more_than_the_file_holds(path: Path, make: Hostile) -> None:
    with h5py.File(path, "r+") as file:
        make(file, path.parent)
    assert refusal(path) == "LF-RAW-042"


def patched_counts(path: Path, count: int) -> None:
    """Let the first row claim ``count`` samples: in its reference to the heap, as its head does not."""
    with h5py.File(path) as file:
        table = file["dataset/data"]
        at = table.id.get_chunk_info(0).byte_offset + RECORD
    with path.open("r+b") as stored:
        stored.seek(at)
        stored.write(struct.pack("<I", count))


def test_a_row_that_claims_gigabytes(path: Path) -> None:
    patched_counts(path, 0xFFFFFFFF)
    assert refusal(path) == "LF-RAW-042"


def test_a_row_that_claims_a_few_samples_more_is_not_fetched(path: Path) -> None:
    patched_counts(path, 2 * 2 * 6 + 2)
    with (
        pytest.raises(InvalidRawData) as caught,
        open_measurement(path, sha256="0" * 64) as measurement,
    ):
        measurement.scan().load(0)
    assert caught.value.code == "LF-RAW-008"


def test_many_rows_that_share_one_record(path: Path) -> None:
    """10,000 references to one record of 384 bytes: 3.8 MB of samples in a file of less."""
    with h5py.File(path, "r+") as file:
        table = file["dataset/data"]
        _, chunk = table.id.read_direct_chunk((0,))
        rows = np.frombuffer(chunk, np.uint8).reshape(64, ROW)[:1].repeat(64, axis=0)
        counts = np.frombuffer(struct.pack("<I", 60_000), np.uint8)
        rows[:, RECORD:][:, :4] = counts
        table.resize((10_000,))
        for start in range(0, 10_000, 64):
            table.id.write_direct_chunk((start,), rows.tobytes())
    assert refusal(path) == "LF-RAW-042"


@pytest.mark.parametrize(
    "filters", [{"compression": "lzf"}, {"scaleoffset": 4}], ids=["lzf", "scale and offset"]
)
def test_filters_of_another_kind(path: Path, filters: dict[str, object]) -> None:
    with h5py.File(path, "r+") as file:
        text = file["dataset/xml"][0]
        del file["dataset/xml"]
        file.create_dataset("dataset/xml", data=np.frombuffer(text, np.uint8), chunks=True, **filters)
        del file["dataset/xml"]
        if "compression" in filters:
            rows = file["dataset/data"][:]
            del file["dataset/data"]
            file.create_dataset("dataset/data", data=rows, chunks=(8,), **filters)
            file.create_dataset("dataset/xml", data=[text], dtype=VLEN_TEXT)
        else:
            file.create_dataset("dataset/xml", data=np.array([text]), chunks=(1,), compression="lzf")
    assert refusal(path) == "LF-RAW-043"


def test_a_compact_header_is_of_another_layout(path: Path) -> None:
    with h5py.File(path, "r+") as file:
        del file["dataset/xml"]
        plist = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        plist.set_layout(h5py.h5d.COMPACT)
        kind = h5py.h5t.C_S1.copy()
        kind.set_size(16)
        h5py.h5d.create(file["dataset"].id, b"xml", kind, h5py.h5s.create_simple((1,)), plist)
    assert refusal(path) == "LF-RAW-043"


def test_a_group_of_very_many_members(path: Path) -> None:
    with h5py.File(path, "r+") as file:
        for number in range(1001):
            file.create_group(f"g{number}")
    assert refusal(path) == "LF-RAW-042"


def test_a_header_of_megabytes(path: Path) -> None:
    for kind in (VLEN_TEXT, None):
        with h5py.File(path, "r+") as file:
            text = file["dataset/xml"][0]
            del file["dataset/xml"]
            long = text.rstrip(b" ") + b" " * (5 << 20)
            file.create_dataset("dataset/xml", data=np.array([long], dtype=kind or f"S{len(long)}"))
        assert refusal(path) == "LF-RAW-003"


@pytest.mark.parametrize(
    "options",
    [
        {"chunks": (3,)},
        {"chunks": (64,), "maxshape": (None,), "compression": "gzip", "shuffle": True, "fletcher32": True},
        {"chunks": (5,), "compression": "gzip"},
        {"chunks": (5,), "shuffle": True},
        {},
    ],
    ids=["chunks", "all filters", "gzip", "shuffle", "contiguous"],
)
def test_every_ordinary_way_of_storing_is_read_alike(path: Path, options: dict[str, object]) -> None:
    with open_mrd(path, None) as plain:
        heads, samples = plain.heads.copy(), plain.samples(np.arange(8))
    with h5py.File(path, "r+") as file:
        rows = file["dataset/data"][:]
        del file["dataset/data"]
        file.create_dataset("dataset/data", data=rows, **options)
    for source in (path, BytesIO(path.read_bytes())):
        with open_mrd(source, None) as stored:
            np.testing.assert_array_equal(stored.heads, heads)
            np.testing.assert_array_equal(stored.samples(np.arange(8)), samples)
            assert stored.group == "dataset"
