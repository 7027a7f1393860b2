"""A picture of one scan under several conventions, the patient's directions at the edges of each tile."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from lfmri_node.node.offline.pictures import Pixels, table
from lfmri_node.recon.types import Geometry, Real

_TILE_SIDE = 320
_ROWS = 3
_WHITE_PERCENTILE = 99.5
_LETTERS = (("L", "R"), ("P", "A"), ("H", "F"))
_OBLIQUE = 0.2
"""Smallest component of a direction that is named."""


def write_sheet(
    path: Path,
    candidates: Sequence[tuple[str, Real]],
    reference: Real | None,
    slices: Sequence[int],
    geometry: Geometry,
) -> Path:
    """One column a candidate (heading, f32 (s, y, x) of ``slices``); the scanner's images come first."""
    columns = list(candidates) if reference is None else [("the scanner's image", reference), *candidates]
    rows = _rows(len(slices))
    shown = [slices[row] for row in rows]
    path.parent.mkdir(parents=True, exist_ok=True)
    panels = [
        (heading, dict(zip(shown, _tiles(volume[rows], geometry), strict=True)))
        for heading, volume in columns
    ]
    table(panels, shown).save(path)
    return path


def direction(axis: Sequence[float]) -> str:
    """Where an axis points in the patient, the largest component first: "L", "PH" (PS3.3 C.7.6.1.1.1)."""
    order = sorted(range(3), key=lambda i: -abs(axis[i]))
    return "".join(_LETTERS[i][axis[i] < 0] for i in order if abs(axis[i]) > _OBLIQUE)


def _rows(n_slices: int) -> list[int]:
    return sorted({round(place) for place in np.linspace(0, n_slices - 1, _ROWS + 2)[1:-1]})


def _tiles(volume: Real, geometry: Geometry) -> Pixels:
    """u8 (s, y, x, 3) with square pixels, grey and lettered."""
    shown = np.nan_to_num(volume)
    white = float(np.percentile(shown, _WHITE_PERCENTILE)) or 1.0
    grey = np.asarray(np.clip(shown / white, 0.0, 1.0) * 255.0 + 0.5, dtype=np.uint8)
    (_, height, width), (_, down, right) = geometry.matrix, geometry.spacing_mm
    enlarge = _TILE_SIDE / max(height * down, width * right)
    size = (max(1, round(width * right * enlarge)), max(1, round(height * down * enlarge)))
    tiles = [Image.fromarray(plane).resize(size, Image.Resampling.BILINEAR).convert("RGB") for plane in grey]
    for tile in tiles:
        _letter(tile, geometry)
    return np.stack([np.asarray(tile) for tile in tiles])


def _letter(tile: Image.Image, geometry: Geometry) -> None:
    draw, font = ImageDraw.Draw(tile), ImageFont.load_default(size=16)
    right, bottom = geometry.axis_x, geometry.axis_y
    left, top = (tuple(-value for value in axis) for axis in (right, bottom))
    middle = (tile.width // 2, tile.height // 2)
    places = {
        "lm": ((3, middle[1]), left),
        "rm": ((tile.width - 3, middle[1]), right),
        "ma": ((middle[0], 20), top),
        "md": ((middle[0], tile.height - 3), bottom),
    }
    for anchor, (place, axis) in places.items():
        draw.text(place, direction(axis), (255, 220, 0), font, anchor=anchor)
