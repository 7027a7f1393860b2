"""PNG of one slice; grey for images, red with transparency for the map, blue and orange for a difference."""

from __future__ import annotations

import io
import threading
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from lfmri_node.dicom_io.objects.colour import two_colours
from lfmri_node.dicom_io.types import EncodedObject
from lfmri_node.node.console.artefacts import Images, NoPicture, load_images
from lfmri_node.recon.types import Real

_MARK = (255, 64, 0)
_OUTLINE = (255, 230, 0, 255)
_KEPT = 2
"""Jobs whose images stay in memory: the one that is looked at, and one to compare."""


class Shelf:
    """Images of the jobs that were looked at last, read once."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: OrderedDict[tuple[str, int], Images] = OrderedDict()

    def images(self, key: str, reconstruction: Path, objects: Sequence[EncodedObject]) -> Images:
        """What `load_images` reads of the job ``key``, as long as the same files lie there."""
        with self._lock:
            place = reconstruction if reconstruction.is_dir() else None
            if place is None and objects and objects[0].path.exists():
                place = objects[0].path.parent
            name = (key, place.stat().st_mtime_ns if place is not None else 0)
            if name not in self._kept:
                self._kept[name] = load_images(reconstruction, objects)
            self._kept.move_to_end(name)
            while len(self._kept) > _KEPT:
                self._kept.popitem(last=False)
            return self._kept[name]


def picture(images: Images, kind: str, s: int, *, threshold: float) -> bytes:
    """PNG of slice ``s`` (from 0), one pixel a voxel.

    Parameters
    ----------
    threshold
        Activation from which a voxel is marked: its outline is drawn.

    Raises
    ------
    NoPicture
        LF-CON-004 where there is no such kind or slice.
    """
    if kind not in images.kinds or not 0 <= s < images.n_slices:
        raise NoPicture("LF-CON-004", "no such picture of this job", "the page of the job says what there is")
    if kind == "map":
        assert images.activation is not None
        return png(overlay(images.activation[s], threshold))
    if kind == "difference":
        assert images.difference is not None
        return png(two_colours(images.difference[s], images.largest_difference))
    return png(np.asarray(images.window.apply(images.stored[kind][s]) * 255.0 + 0.5, dtype=np.uint8))


def overlay(activation: Real, threshold: float) -> NDArray[np.uint8]:
    """u8 (y, x, 4): red, as opaque as the activation (y, x) is high, and the outline of what is marked."""
    layer = np.zeros((*activation.shape, 4), dtype=np.uint8)
    layer[..., :3] = _MARK
    layer[..., 3] = activation * 255.0 + 0.5
    marked = activation >= threshold
    inner = Image.fromarray(marked.astype(np.uint8) * 255).filter(ImageFilter.MinFilter(3))
    layer[marked & (np.asarray(inner) == 0)] = _OUTLINE
    return layer


def png(pixels: NDArray[np.uint8]) -> bytes:
    """Encode grey (y, x), RGB or RGBA (y, x, 3 or 4)."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="PNG", compress_level=1)
    return buffer.getvalue()
