"""One page, whatever stands on it: read back with PDFium, Chromium's reader."""

import os
import subprocess
import sys

import numpy as np
import pypdfium2
import pypdfium2.raw
import pytest

from lfmri_node.dicom_io.objects.pdf import (
    REPLACED_NOTE,
    Columns,
    Heading,
    Picture,
    Pictures,
    Table,
    Text,
    one_page,
)

ONE = """
import sys
from lfmri_node.dicom_io.objects.pdf import Columns, Heading, Table, Text, one_page
table = Table(head=("a", "b"), rows=(("1", "2"),), shares=(1, 2))
blocks = [Heading(text="H"), Text(text="T"), Columns(columns=((table,), (table,)))]
sys.stdout.buffer.write(one_page("title", ["banner"], blocks))
"""


def words(document: bytes) -> str:
    """The text of the only page, with single spaces."""
    (page,) = pypdfium2.PdfDocument(document)
    return " ".join(page.get_textpage().get_text_range().split())


def pixels(document: bytes) -> list[np.ndarray]:
    """The pictures on the page, in their own matrix, from left to right."""
    (page,) = pypdfium2.PdfDocument(document)
    found = list(page.get_objects(filter=[pypdfium2.raw.FPDF_PAGEOBJ_IMAGE]))
    return [
        np.asarray(image.get_bitmap().to_pil()) for image in sorted(found, key=lambda i: i.get_bounds()[0])
    ]


def test_everything_stands_on_the_page_and_can_be_selected():
    table = Table(head=("mark", "volume"), rows=(("1", "12 mm3"), ("2", "7 <mm3> & more")), shares=(1, 3))
    blocks = [
        Heading(text="A part"),
        Columns(columns=((table,), (Text(text="beside it"),))),
        Text(text="the end"),
    ]
    told = words(one_page("title", ["WARNING", "a second line"], blocks))
    for text in ("WARNING", "a second line", "A part", "mark volume 1 12 mm3 2 7 <mm3> & more", "beside it"):
        assert text in told
    assert told.endswith("the end")


def test_the_same_content_gives_the_same_bytes_in_every_process():
    made = {
        subprocess.run(
            [sys.executable, "-c", ONE],
            env={**os.environ, "PYTHONHASHSEED": seed, "TZ": zone},
            capture_output=True,
            check=True,
        ).stdout
        for seed, zone in (("1", "UTC"), ("2", "Asia/Tokyo"))
    }
    assert len(made) == 1
    assert made.pop().startswith(b"%PDF-")


@pytest.mark.parametrize("n_lines", [5, 60, 150])
def test_there_is_one_page_and_nothing_leaves_it(n_lines):
    lines = [Text(text=f"line {n} " + "of many words " * 20) for n in range(n_lines)]
    picture = Pictures(pictures=(Picture(pixels=np.zeros((8, 8), np.uint8), caption="below"),), aspect=1.0)
    document = one_page("title", ["banner"], [*lines, picture, Text(text="the last")])
    (page,) = pypdfium2.PdfDocument(document)
    width, height = page.get_size()
    for thing in page.get_objects():
        left, bottom, right, top = thing.get_bounds()
        assert left >= 0
        assert bottom >= 0
        assert right <= width
        assert top <= height
    told = words(document)
    assert all(f"line {n} of" in told for n in range(n_lines))
    assert told.endswith("the last")


@pytest.mark.parametrize("pad", [0, 1])
def test_pictures_keep_their_values_and_their_aspect(pad):
    rng = np.random.default_rng(0)
    grey = rng.integers(0, 256, (12, 30 + pad), dtype=np.uint8)
    colour = rng.integers(0, 256, (12, 30 + pad, 3), dtype=np.uint8)
    row = Pictures(
        pictures=(Picture(pixels=grey, caption="g"), Picture(pixels=colour, caption="c")), aspect=1.5
    )
    document = one_page("title", ["banner"], [row])
    first, second = pixels(document)
    np.testing.assert_array_equal(first if first.ndim == 2 else first[..., 0], grey)
    np.testing.assert_array_equal(second, colour)
    (page,) = pypdfium2.PdfDocument(document)
    for image in page.get_objects(filter=[pypdfium2.raw.FPDF_PAGEOBJ_IMAGE]):
        left, bottom, right, top = image.get_bounds()
        assert (top - bottom) / (right - left) == pytest.approx(1.5, rel=1e-3)


def test_a_character_without_a_letter_is_replaced_and_that_is_told():
    told = words(one_page("title", ["banner"], [Text(text="Größe 脑 µm")]))
    assert "Größe ? µm" in told
    assert told.endswith(REPLACED_NOTE)
    assert REPLACED_NOTE not in words(one_page("title", ["banner"], [Text(text="Größe µm, really?")]))
    decomposed = words(one_page("title", ["banner"], [Text(text="Gro\u0308ße")]))
    assert "Größe" in decomposed, "composed before the letters are looked up"


def test_the_document_states_no_time():
    document = one_page("a title", ["banner"], [])
    told = pypdfium2.PdfDocument(document).get_metadata_dict()
    assert told["Title"] == "a title"
    assert told["CreationDate"].startswith("D:20000101")
    assert told["ModDate"] == told["CreationDate"]
