"""PNG pictures of a reconstruction for people: image kinds side by side, lesion map, error.

Pictures illustrate; numbers are computed from the volumes. One grey scale serves all images of a
reconstruction, so that they compare.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from lfmri_node.dicom_io.objects.texts import map_summary
from lfmri_node.recon.metrics import ImageQuality
from lfmri_node.recon.types import LesionMap, Real, Reconstruction, Verdict

Pixels = NDArray[np.uint8]

_WHITE_PERCENTILE = 99.7
_ERROR_GAIN = 5.0
_TITLE_HEIGHT = 22
_GAP = 4
_TILE_SIDE = 320
_OVERVIEW_SLICES = 4
_AT_A_GLANCE = ("truth", "fallback", "image", "lesion")
_GLANCE_SIDE = 217  # four of them, and three gaps, are 880 pixels: the width of a web page

FILES = {"image": "lf-mri", "error_image": "error-lf-mri", "lesion": "lesion-map"}
TITLES = {
    "truth": "truth",
    "zero_filled": "zero-filled",
    "fallback": "fallback",
    "reference": "reference (lesion term off)",
    "image": "LF-MRI",
    "lesion": "lesion map over LF-MRI",
    "error_fallback": f"error of fallback x{_ERROR_GAIN:.0f}",
    "error_reference": f"error of reference x{_ERROR_GAIN:.0f}",
    "error_image": f"error of LF-MRI x{_ERROR_GAIN:.0f}",
}


def write_pictures(
    reconstruction: Reconstruction, truth: Real | None, out: Path, *, captions: Mapping[str, str]
) -> list[Path]:
    """Write one PNG of all slices for each kind of image, ``slice.png`` of one and ``overview.png`` of a few.

    Parameters
    ----------
    truth
        f32 (s, y, x) in display order; None where it is not known.
    captions
        Kind -> figures that follow its title.

    Returns
    -------
    The files written, the overview last.
    """
    out.mkdir(parents=True, exist_ok=True)
    panels = panels_of(reconstruction, truth)
    titles = titles_of(reconstruction)
    written = []
    for kind, volume in panels.items():
        path = out / f"{FILES.get(kind, kind.replace('_', '-'))}.png"
        tile_grid(volume).save(path)
        written.append(path)
    written.append(out / "slice.png")
    at_a_glance(panels, titles, choose_slices(reconstruction, 1)[0]).save(written[-1])
    shown = choose_slices(reconstruction, _OVERVIEW_SLICES)
    headed = [(" ".join(filter(None, (titles[k], captions.get(k)))), volume) for k, volume in panels.items()]
    n_bands = 2 if len(shown) <= 2 else 1
    per_band = -(-len(headed) // n_bands)
    overview = out / "overview.png"
    stacked([table(headed[at : at + per_band], shown) for at in range(0, len(headed), per_band)]).save(
        overview
    )
    return [*written, overview]


def at_a_glance(panels: Mapping[str, Pixels], titles: Mapping[str, str], s: int) -> Image.Image:
    """One slice in at most four panels, 880 pixels wide: what is true, the fallback, LF-MRI, the map."""
    columns = [(titles[kind], panels[kind]) for kind in _AT_A_GLANCE if kind in panels]
    return table(columns, [s], side=_GLANCE_SIDE, resampling=Image.Resampling.LANCZOS)


def titles_of(reconstruction: Reconstruction) -> dict[str, str]:
    """Kind -> heading: the fallback with its method, the map with what came of it."""
    titles = {**TITLES, "fallback": f"fallback ({reconstruction.provenance.fallback})"}
    if reconstruction.lesion is not None:
        titles["lesion"] += f": {map_summary(reconstruction.lesion)}"
    return titles


def shown_kinds(reconstruction: Reconstruction) -> tuple[str, ...]:
    """Kinds of image that a reconstruction holds, each once: when it is not TRUSTED, the delivered image
    is the fallback."""
    trusted = reconstruction.quality.verdict is Verdict.TRUSTED
    kinds = ["zero_filled", "fallback", *(["reference", "image"] if trusted else [])]
    return tuple(kind for kind in kinds if getattr(reconstruction, kind) is not None)


def captions_of(quality: Mapping[str, ImageQuality]) -> dict[str, str]:
    """Kind -> PSNR and SSIM, for `write_pictures`."""
    return {kind: f"{figure.psnr_db:.1f} dB / {figure.ssim:.3f}" for kind, figure in quality.items()}


def panels_of(reconstruction: Reconstruction, truth: Real | None) -> dict[str, Pixels]:
    """Kind -> u8 (s, y, x, 3) of everything that can be shown of a reconstruction."""
    volumes: dict[str, Real] = {}
    if truth is not None:
        volumes["truth"] = truth
    for kind in shown_kinds(reconstruction):
        volumes[kind] = np.abs(getattr(reconstruction, kind))
    white = (
        float(np.percentile(np.abs(reconstruction.image) if truth is None else truth, _WHITE_PERCENTILE))
        or 1.0
    )
    panels = {kind: _grey(volume / white) for kind, volume in volumes.items()}
    if reconstruction.lesion is not None:
        panels["lesion"] = overlay(volumes["image"] / white, reconstruction.lesion)
    if truth is not None:
        for kind in ("fallback", "reference", "image"):
            if kind in volumes:
                panels[f"error_{kind}"] = _grey(_ERROR_GAIN * np.abs(volumes[kind] - truth) / white)
    return panels


def overlay(image: Real, lesion: LesionMap) -> Pixels:
    """u8 (s, y, x, 3): the activation in red over ``image`` (1 is white), the segmentation outlined."""
    grey = np.clip(image, 0.0, 1.0)[..., None] * np.ones(3, dtype=np.float32)
    strength = 0.6 * lesion.activation[..., None]
    colour = np.array([1.0, 0.25, 0.0], dtype=np.float32)
    mixed = (1.0 - strength) * grey + strength * colour
    mixed[_outline(lesion.mask)] = (1.0, 0.9, 0.0)
    return np.asarray(mixed * 255.0 + 0.5, dtype=np.uint8)


def _outline(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    inner = mask.copy()
    inner[:, 1:, :] &= mask[:, :-1, :]
    inner[:, :-1, :] &= mask[:, 1:, :]
    inner[:, :, 1:] &= mask[:, :, :-1]
    inner[:, :, :-1] &= mask[:, :, 1:]
    return np.asarray(mask & ~inner)


def _grey(volume: Real) -> Pixels:
    levels = np.asarray(np.clip(volume, 0.0, 1.0) * 255.0 + 0.5, dtype=np.uint8)
    return np.repeat(levels[..., None], 3, axis=-1)


def choose_slices(reconstruction: Reconstruction, count: int) -> list[int]:
    """Slices for the overview: those with the strongest lesion scores, the rest evenly spread."""
    n_slices = reconstruction.geometry.matrix[0]
    spread = np.linspace(0, n_slices - 1, count + 2)[1:-1].round().astype(int).tolist()
    if reconstruction.lesion is None:
        return sorted(set(spread))
    scores = reconstruction.lesion.scores.max(axis=1)
    strongest = np.argsort(-scores)[: (count + 1) // 2].tolist()
    return sorted(list(dict.fromkeys([*strongest, *spread]))[:count])


def tile_grid(volume: Pixels) -> Image.Image:
    """All slices of u8 (s, y, x, 3) in a grid about as wide as high."""
    n_slices, height, width = volume.shape[:3]
    columns = int(np.ceil(np.sqrt(n_slices * height / width)))
    rows = int(np.ceil(n_slices / columns))
    sheet = Image.new("RGB", (columns * (width + _GAP) - _GAP, rows * (height + _GAP) - _GAP))
    for s in range(n_slices):
        row, column = divmod(s, columns)
        sheet.paste(Image.fromarray(volume[s]), (column * (width + _GAP), row * (height + _GAP)))
    return sheet


def stacked(sheets: Sequence[Image.Image]) -> Image.Image:
    """Pictures one below the other."""
    size = (max(sheet.width for sheet in sheets), sum(sheet.height + _GAP for sheet in sheets) - _GAP)
    whole = Image.new("RGB", size, (24, 24, 24))
    top = 0
    for sheet in sheets:
        whole.paste(sheet, (0, top))
        top += sheet.height + _GAP
    return whole


def table(
    columns: Sequence[tuple[str, Pixels | Mapping[int, Pixels]]],
    slices: Sequence[int],
    *,
    side: int | None = None,
    resampling: Image.Resampling = Image.Resampling.NEAREST,
) -> Image.Image:
    """Slices of volumes u8 (s, y, x, 3) in rows, one column with a heading for each volume.

    Parameters
    ----------
    slices
        From 0; they are labelled from 1, as instances are.
    side
        Longer side of a panel, pixels; None: a whole multiple of the slice's own, about `_TILE_SIDE`.
    """
    headings = [heading for heading, _ in columns]
    rows = [[volume[s] for _, volume in columns] for s in slices]
    height, width = rows[0][0].shape[:2]
    longer = max(height, width)
    enlarge = side / longer if side else max(1, round(_TILE_SIDE / longer))
    height, width = round(height * enlarge), round(width * enlarge)
    font = ImageFont.load_default(size=13)
    heading_lines = [_wrapped(text, font, width) for text in headings]
    top = _TITLE_HEIGHT * max(len(lines) for lines in heading_lines)
    sheet = Image.new(
        "RGB", (len(headings) * (width + _GAP) - _GAP, top + len(rows) * (height + _GAP) - _GAP), (24, 24, 24)
    )
    draw = ImageDraw.Draw(sheet)
    for column, lines in enumerate(heading_lines):
        for number, line in enumerate(lines):
            draw.text((column * (width + _GAP) + 4, number * _TITLE_HEIGHT + 3), line, (230, 230, 230), font)
    for row, tiles in enumerate(rows):
        for column, tile in enumerate(tiles):
            picture = Image.fromarray(tile).resize((width, height), resampling)
            sheet.paste(picture, (column * (width + _GAP), top + row * (height + _GAP)))
        draw.text((4, top + row * (height + _GAP) + 2), f"instance {slices[row] + 1}", (255, 220, 0), font)
    return sheet


def _wrapped(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: int) -> list[str]:
    lines: list[str] = []
    for word in text.split():
        longer = f"{lines[-1]} {word}" if lines else word
        if lines and font.getlength(longer) <= width - 8:
            lines[-1] = longer
        else:
            lines.append(word)
    return lines
