"""The study in OHIF before Orthanc: what opens, and that colours lie where the lesion is in the patient."""

import base64
import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Page, ViewportSize
from screen import VIEWPORT, map_over_image, open_study
from study import LESION_SLICE, MATRIX, ORIENTATIONS, RADIUS, lesion_mm, write_study

from lfmri_node.node.errors import NodeError
from lfmri_node.node.viewer.ohif import ohif_files
from lfmri_node.node.viewer.view import shown

pytestmark = [pytest.mark.registry, pytest.mark.timeout(600)]

SERIES = (
    "RESEARCH LF-MRI test",
    "RESEARCH LF-MRI reference",
    "RESEARCH LF-MRI change",
    "RESEARCH NOT VALIDATED Activation map",
    "RESEARCH NOT VALIDATED Activation SEG",
    "RESEARCH NOT VALIDATED Activation fused",
    "RESEARCH NOT VALIDATED Lesion list",
    "RESEARCH NOT VALIDATED Summary",
)
EXCUSED: dict[str, str] = {}
SMALL: ViewportSize = {"width": 900, "height": 600}
"""WebGL is done in software: the fewer pixels, the sooner."""
_DRAWN_WITHIN_MS = 10_000
_LOOK = f"""async ([index, place]) => {{
  const viewport = {VIEWPORT};
  const drawn = new Promise(done => viewport.element.addEventListener(
    window.cornerstone.Enums.Events.IMAGE_RENDERED, () => done(true), {{once: true}}));
  const late = new Promise(done => setTimeout(done, {_DRAWN_WITHIN_MS}, false));
  const turned = window.cornerstone.utilities.jumpToSlice(viewport.element, {{imageIndex: index}});
  await Promise.race([turned, late]);
  viewport.render();
  if (!await Promise.race([drawn, late]) || viewport !== {VIEWPORT}) return null;
  const camera = viewport.getCamera(), out = camera.viewPlaneNormal, at = camera.focalPoint;
  const away = out.reduce((sum, one, i) => sum + one * (at[i] - place[i]), 0);
  const canvas = viewport.element.querySelector('canvas.cornerstone-canvas');
  const shown = viewport.element.getBoundingClientRect().width / canvas.width;
  const step = place.map((one, i) => one + 1.5 * camera.viewUp[i]);
  const [here, there] = [viewport.worldToCanvas(place), viewport.worldToCanvas(step)];
  const pixel = Math.hypot(here[0] - there[0], here[1] - there[1]);
  return {{away, here: here.map(v => v / shown), pixel: pixel / shown, picture: canvas.toDataURL()}};
}}"""
"""Null where OHIF put another viewport in its place meanwhile: one that is gone is never drawn again."""


_POINTS = """() => window.cornerstoneTools.annotation.state.getAllAnnotations()
  .filter(one => one.metadata.toolName === 'DICOMSRDisplay')
  .map(one => ({place: one.data.handles.points[0], image: one.metadata.referencedImageId}))"""
_PDF = """async () => {
  const shown = document.querySelector('object[type="application/pdf"]').data;
  const bytes = new Uint8Array(await (await fetch(shown)).arrayBuffer());
  return Array.from(bytes);
}"""


@pytest.fixture
def page(open_page: Callable[..., Page]) -> Page:
    page = open_page(EXCUSED)
    page.set_viewport_size(SMALL)
    return page


@dataclass(frozen=True)
class Seen:
    """A slice on the screen: mm from the lesion's plane; coloured area, and its middle from the lesion."""

    away_mm: float
    n_voxels: float
    off_voxels: float


@pytest.fixture(scope="module")
def address(
    tmp_path_factory: pytest.TempPathFactory, program: Callable[[str], Path]
) -> Iterator[dict[str, str]]:
    """Orientation -> address of its study."""
    program("Orthanc")
    try:
        ohif_files()
    except NodeError as error:
        pytest.skip(f"no OHIF: {error}")
    folder = tmp_path_factory.mktemp("studies")
    uids = {name: write_study(folder / name, name).uid for name in ORIENTATIONS}
    with shown(folder) as (_, studies):
        yield {name: next(url for url in studies if url.endswith(uid)) for name, uid in uids.items()}


def look(page: Page, index: int, place: list[float]) -> Seen:
    looks = (page.evaluate(_LOOK, [index, place]) for _ in range(6))
    seen = next((one for one in looks if one is not None), None)
    assert seen is not None, f"slice {index} was not drawn"
    data = base64.b64decode(seen["picture"].split(",")[1])
    pixels = np.asarray(Image.open(io.BytesIO(data)).convert("RGB")).astype(int)
    rows, columns = np.nonzero(np.ptp(pixels, axis=2) > 40)
    if rows.size == 0:
        return Seen(away_mm=seen["away"], n_voxels=0, off_voxels=np.inf)
    off = np.hypot(columns.mean() - seen["here"][0], rows.mean() - seen["here"][1]) / seen["pixel"]
    return Seen(away_mm=seen["away"], n_voxels=rows.size / seen["pixel"] ** 2, off_voxels=float(off))


def is_where_the_lesion_is(page: Page, orientation: str) -> bool:
    """Colours on the slice of the lesion and on no other, in the middle of it, as large as it."""
    place = lesion_mm(orientation)
    slices = [look(page, index, place) for index in range(MATRIX[0])]
    coloured = [one for one in slices if one.n_voxels > 0]
    assert len(coloured) == 1, slices
    assert abs(coloured[0].away_mm) < 0.1
    assert coloured[0].off_voxels < 1.0
    assert 0.6 < coloured[0].n_voxels / (np.pi * RADIUS**2) < 2.0
    return True


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_the_map_colours_the_lesion_in_the_patient(address, page, orientation):
    open_study(page, address[orientation], MATRIX[0], SERIES)
    map_over_image(page, "Activation map")
    assert is_where_the_lesion_is(page, orientation)


def test_the_change_shows_where_the_enhancement_acted(address, page):
    open_study(page, address["sagittal"], MATRIX[0], SERIES)
    map_over_image(page, "LF-MRI change")
    assert is_where_the_lesion_is(page, "sagittal")


def test_the_segmentation_is_drawn_on_the_image(address, page):
    open_study(page, address["double-oblique"], MATRIX[0], SERIES)
    page.get_by_text("Activation SEG").first.dblclick()
    page.get_by_role("button", name="Yes").click()
    page.wait_for_function("window.services.segmentationService.getSegmentations().length === 1")
    page.wait_for_function(f"{VIEWPORT}?.getActors?.().length >= 2")
    assert is_where_the_lesion_is(page, "double-oblique")


def test_the_lesion_list_opens_on_the_slice_of_the_lesion_and_points_at_it(address, page):
    open_study(page, address["double-oblique"], MATRIX[0], SERIES)
    page.get_by_text("Lesion list").first.dblclick()
    page.get_by_text("Saliency: 0.95").first.wait_for()
    (mark,) = page.evaluate(_POINTS)
    assert np.linalg.norm(np.subtract(mark["place"], lesion_mm("double-oblique"))) < 1.5
    assert page.evaluate(f"{VIEWPORT}.getCurrentImageId()") == mark["image"]


def test_the_summary_is_shown_as_it_was_written(address, page):
    open_study(page, address["axial"], MATRIX[0], SERIES)
    page.get_by_text("Summary").first.dblclick()
    page.locator('object[type="application/pdf"]').wait_for(state="attached")
    assert bytes(page.evaluate(_PDF)).startswith(b"%PDF-")


def test_the_lesion_is_on_no_slice_that_a_mistake_would_hit():
    """Turned, mirrored or reversed, it stands elsewhere."""
    assert MATRIX[0] - 1 - LESION_SLICE != LESION_SLICE
    assert len({tuple(np.round(lesion_mm(name), 3)) for name in ORIENTATIONS}) == len(ORIENTATIONS)
