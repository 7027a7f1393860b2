"""The margin of the fused picture: a colour bar on the right, remarks below; never over anatomy."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from lfmri_node.dicom_io.objects.colour import Rgb, fuse

_TEXT = (235, 235, 235)
_TICKS = (0.0, 0.5, 1.0)
_SMALLEST_TEXT = 9
_SMALLEST_BAR = 48


def with_legend(picture: Rgb, lines: Sequence[str], threshold: float) -> Rgb:
    """``picture`` with a margin on the right and below; its own pixels keep value and place.

    Voxel (0, 0) stays the first pixel, so the picture's position and spacing hold for the whole.

    Parameters
    ----------
    picture
        u8 (y, x, 3).
    lines
        Remarks below the picture, one a line, without patient data.
    threshold
        Marked at the colour bar.
    """
    rows, columns, _ = picture.shape
    size = max(_SMALLEST_TEXT, round(min(rows, columns) / 28))
    font = ImageFont.load_default(size)
    gap = max(3, size // 2)
    text_width = max((int(np.ceil(font.getlength(line))) for line in lines), default=0)
    bar_width = size + 3 * gap + int(np.ceil(font.getlength("0.00")))
    height = max(rows, _SMALLEST_BAR) + len(lines) * (size + gap) + 2 * gap
    width = max(columns + gap + bar_width, text_width + 2 * gap)
    canvas = np.zeros((height, width, 3), dtype=np.uint8)
    canvas[:rows, :columns] = picture
    top, bottom = gap + size // 2, max(rows, _SMALLEST_BAR) - gap - size // 2
    canvas[top:bottom, columns + gap : columns + gap + size] = _bar(bottom - top, size)
    drawing = ImageDraw.Draw(page := Image.fromarray(canvas))
    drawing.fontmode = "L"
    for tick in sorted({*_TICKS, round(threshold, 2)}):
        y = bottom - 1 - round(tick * (bottom - top - 1))
        left = columns + gap + size
        drawing.line([(left, y), (left + gap - 1, y)], fill=_TEXT)
        drawing.text((left + gap + 2, y), f"{tick:.2g}", fill=_TEXT, font=font, anchor="lm")
    for n, line in enumerate(lines):
        y = max(rows, _SMALLEST_BAR) + gap + n * (size + gap)
        drawing.text((gap, y), line, fill=_TEXT, font=font, anchor="lt")
    return np.asarray(page).copy()


def _bar(height: int, width: int) -> Rgb:
    """Activation 1 at the top to 0 at the bottom as it looks over mid-grey, u8 (height, width, 3)."""
    ramp = np.linspace(1.0, 0.0, height, dtype=np.float32)[:, None].repeat(width, axis=1)
    return fuse(np.full_like(ramp, 0.5), ramp)
