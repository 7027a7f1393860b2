"""One page of PDF from text, tables and pictures: always one, and the same bytes for the same content."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

import numpy as np
import reportlab
from numpy.typing import NDArray
from PIL import Image
from reportlab.lib.colors import HexColor, white
from reportlab.lib.enums import TA_CENTER, TA_LEFT, TA_RIGHT
from reportlab.lib.pagesizes import A4
from reportlab.lib.styles import ParagraphStyle
from reportlab.lib.units import mm
from reportlab.pdfbase import pdfmetrics
from reportlab.pdfbase.ttfonts import TTFont
from reportlab.pdfgen.canvas import Canvas
from reportlab.platypus import Flowable, Paragraph, Spacer
from reportlab.platypus import Image as Placed
from reportlab.platypus import Table as Grid

_PLAIN, _BOLD = "Vera", "VeraBd"
_FONT_FILES = {name: Path(reportlab.__file__).parent / "fonts" / f"{name}.ttf" for name in (_PLAIN, _BOLD)}
_SIZE, _LEADING = 6.6, 8.4
_MARGIN, _GAP, _GUTTER = 12 * mm, 2.2 * mm, 3 * mm
_SCALE, _SHORTEST_SCALE, _OF_LABELS = 1.6 * mm, 40 * mm, (0.3, 0.4, 0.3)
_LOWEST_PICTURE, _HIGHEST_PICTURE = 30 * mm, 88 * mm
_SHRINK = 0.95
_INK, _QUIET, _LINE, _WARNING = HexColor(0x1A1A1A), HexColor(0x555555), HexColor(0xB0B0B0), HexColor(0x9B1C1C)
_REPLACED = "?"
REPLACED_NOTE = "A question mark may stand for a character that this page has no letter for."


@dataclass(frozen=True, slots=True, kw_only=True)
class Heading:
    """Begins a part of the page."""

    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Text:
    """A paragraph."""

    text: str
    bold: bool = False
    quiet: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Rows of cells.

    Parameters
    ----------
    head
        Headings of the columns; empty for none.
    shares
        Widths of the columns, in any unit.
    """

    head: tuple[str, ...] = ()
    rows: tuple[tuple[str, ...], ...]
    shares: tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Columns:
    """Blocks side by side, each column of the same width."""

    columns: tuple[tuple[Heading | Text | Table, ...], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """What the colours of a picture mean.

    Parameters
    ----------
    colours
        u8 (n, 3) from the lower end, at the left, to the upper one.
    labels
        Below the lower end, the middle and the upper end.
    """

    colours: NDArray[np.uint8]
    labels: tuple[str, str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """Pixels with a scale, where one is needed, and a caption below.

    Parameters
    ----------
    pixels
        u8 (y, x) or (y, x, 3).
    """

    pixels: NDArray[np.uint8]
    caption: str
    scale: Scale | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Pictures:
    """Pictures in a row; they take the height that the rest of the page leaves.

    Parameters
    ----------
    aspect
        Height over width as a picture is to look, whatever its matrix.
    """

    pictures: tuple[Picture, ...]
    aspect: float


Block = Heading | Text | Table | Columns | Pictures


def one_page(title: str, banner: Sequence[str], blocks: Sequence[Block]) -> bytes:
    """A4 upright, text selectable, fonts embedded; no date, no random identifier.

    What does not fit at full size is set smaller. A character that the font lacks is shown as "?", and
    `REPLACED_NOTE` says so at the end of the page.

    Parameters
    ----------
    title
        Of the document, for the window of a viewer.
    banner
        White on red at the top; its first line is the largest.
    """
    setter = _Setter()
    page_width, page_height = A4
    width, height = page_width - 2 * _MARGIN, page_height - 2 * _MARGIN
    scale = 1.0
    placed = setter.place(banner, blocks, width, height)
    while placed is None:
        scale *= _SHRINK
        placed = setter.place(banner, blocks, width / scale, height / scale)
    buffer = BytesIO()
    canvas = Canvas(buffer, pagesize=A4, pageCompression=1, invariant=1, lang="en")
    canvas.setTitle(title)
    canvas.setAuthor("lfmri-node")
    canvas.translate(_MARGIN, _MARGIN)
    canvas.scale(scale, scale)
    top = height / scale
    for flowable, tall in placed:
        top -= tall
        flowable.drawOn(canvas, 0, top)
        top -= _GAP
    canvas.save()
    return buffer.getvalue()


class _Setter:
    """Turns blocks into what ReportLab draws, with fonts that know which characters they have."""

    def __init__(self) -> None:
        fonts = {name: TTFont(name, str(path)) for name, path in _FONT_FILES.items()}
        for font in fonts.values():
            pdfmetrics.registerFont(font)
        self._known = set.intersection(*(set(font.face.charWidths) for font in fonts.values()))
        self._replaced = False

    def place(
        self, banner: Sequence[str], blocks: Sequence[Block], width: float, height: float
    ) -> list[tuple[Flowable, float]] | None:
        """Each flowable with its height, from the top down; None where they are too high together."""
        self._replaced = False
        heads = [self._banner(banner, width)]
        flowables = [*heads, *(self._flowable(block, width, _LOWEST_PICTURE) for block in blocks)]
        if self._replaced:
            flowables.append(self._paragraph(REPLACED_NOTE, color=_QUIET))
        heights = [flowable.wrap(width, height)[1] for flowable in flowables]
        room = height - sum(heights) - _GAP * (len(heights) - 1)
        if room < 0:
            return None
        for n, block in enumerate(blocks, start=len(heads)):
            if isinstance(block, Pictures):
                flowables[n] = self._flowable(block, width, min(_LOWEST_PICTURE + room, _HIGHEST_PICTURE))
                heights[n] = flowables[n].wrap(width, height)[1]
        return list(zip(flowables, heights, strict=True))

    def shown(self, text: str) -> str:
        """``text`` in characters that both fonts have."""
        composed = unicodedata.normalize("NFC", text)
        kept = "".join(c if ord(c) in self._known else _REPLACED for c in composed)
        self._replaced = self._replaced or kept != composed
        return kept

    def _paragraph(
        self,
        text: str,
        *,
        bold: bool = False,
        size: float = _SIZE,
        color: object = _INK,
        alignment: int = TA_LEFT,
    ) -> Flowable:
        font = _BOLD if bold else _PLAIN
        leading = size * _LEADING / _SIZE
        style = ParagraphStyle(
            font, fontName=font, fontSize=size, leading=leading, textColor=color, alignment=alignment
        )
        return Paragraph(escape(self.shown(text)), style)

    def _banner(self, lines: Sequence[str], width: float) -> Flowable:
        cells = [
            [self._paragraph(line, bold=True, size=13 if n == 0 else 8, color=white)]
            for n, line in enumerate(lines)
        ]
        return Grid(cells, [width], style=[("BACKGROUND", (0, 0), (-1, -1), _WARNING), *_padding(3, 8)])

    def _flowable(self, block: Block, width: float, picture_height: float) -> Flowable:
        match block:
            case Heading():
                return self._paragraph(block.text, bold=True, size=8.5)
            case Text():
                return self._paragraph(block.text, bold=block.bold, color=_QUIET if block.quiet else _INK)
            case Table():
                return self._table(block, width)
            case Columns():
                return self._columns(block, width, picture_height)
            case Pictures():
                return self._pictures(block, width, picture_height)

    def _table(self, table: Table, width: float) -> Flowable:
        rows = [[self._paragraph(cell) for cell in row] for row in table.rows]
        style = [
            ("LINEBELOW", (0, 0), (-1, -1), 0.25, _LINE),
            ("VALIGN", (0, 0), (-1, -1), "TOP"),
            *_padding(1.2, 0),
            ("RIGHTPADDING", (0, 0), (-1, -1), 6),
        ]
        if table.head:
            rows.insert(0, [self._paragraph(cell, bold=True) for cell in table.head])
            style.append(("LINEBELOW", (0, 0), (-1, 0), 0.75, _INK))
        widths = [width * share / sum(table.shares) for share in table.shares]
        return Grid(rows, widths, style=style)

    def _columns(self, block: Columns, width: float, picture_height: float) -> Flowable:
        n = len(block.columns)
        each = (width - _GUTTER * (n - 1)) / n
        cells = [[self._flowable(b, each, picture_height) for b in column] for column in block.columns]
        return Grid([cells], [each + _GUTTER] * (n - 1) + [each], style=_beside(n))

    def _pictures(self, block: Pictures, width: float, height: float) -> Flowable:
        n = len(block.pictures)
        widest = (width - _GUTTER * (n - 1)) / max(n, 2)
        shown = (min(widest, height / block.aspect), min(widest * block.aspect, height))
        scale_width = max(shown[0], min(widest, _SHORTEST_SCALE))
        cells = [
            [
                _picture(picture.pixels, *shown),
                *(self._scale(picture.scale, scale_width) if picture.scale else ()),
                self._paragraph(picture.caption),
            ]
            for picture in block.pictures
        ]
        return Grid([cells], [widest + _GUTTER] * (n - 1) + [widest], hAlign="LEFT", style=_beside(n))

    def _scale(self, scale: Scale, width: float) -> list[Flowable]:
        aligned = zip(scale.labels, (TA_LEFT, TA_CENTER, TA_RIGHT), strict=True)
        labels = [self._paragraph(label, alignment=alignment) for label, alignment in aligned]
        widths = [width * share for share in _OF_LABELS]
        bar = _picture(scale.colours[None], width, _SCALE)
        return [Spacer(width, _SCALE / 2), bar, Grid([labels], widths, hAlign="LEFT", style=_padding(0, 0))]


def _picture(pixels: NDArray[np.uint8], width: float, height: float) -> Any:
    png = BytesIO()
    Image.fromarray(pixels).save(png, format="PNG")
    png.seek(0)
    return Placed(png, width, height, hAlign="LEFT")


def _padding(vertical: float, horizontal: float) -> list[tuple[object, ...]]:
    sides = {"TOP": vertical, "BOTTOM": vertical, "LEFT": horizontal, "RIGHT": horizontal}
    return [(f"{side}PADDING", (0, 0), (-1, -1), value) for side, value in sides.items()]


def _beside(n_columns: int) -> list[tuple[object, ...]]:
    return [
        ("VALIGN", (0, 0), (-1, -1), "TOP"),
        *_padding(0, 0),
        ("RIGHTPADDING", (0, 0), (n_columns - 2, 0), _GUTTER),
    ]
