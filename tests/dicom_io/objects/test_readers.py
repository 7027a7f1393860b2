"""What dcmqi, dcm2niix and DCMTK make of our objects, against the reconstruction itself."""

import gzip
import json
import re
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pydicom
import pytest
from PIL import Image
from variants import FIGURES, MATRIX, PLANES, VARIANTS

from lfmri_node.dicom_io.objects.marks import marks_of

_STEP_MM3 = 0.051  # half of the last digit that a report tells
_IMAGES = ("lf-mri", "reference", "fallback", "fused")
of_dcmqi = pytest.mark.skipif(sys.platform != "linux", reason="dcmqi is installed on Linux alone")


@pytest.fixture(params=PLANES)
def plane(request, job_of):
    return job_of(request.param)


@pytest.fixture(params=VARIANTS)
def job(request, job_of):
    return job_of(request.param)


def nrrd(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Values (k, j, i) and the LPS affine of columns i, j, k, as an NRRD file states them."""
    head, _, data = path.read_bytes().partition(b"\n\n")
    fields = dict(line.split(": ", 1) for line in head.decode().splitlines() if ": " in line)
    sizes = [int(n) for n in fields["sizes"].split()]
    kind = {"float": "<f4", "short": "<i2", "unsigned short": "<u2"}[fields["type"]]
    vectors = re.findall(r"\(([^)]*)\)", fields["space directions"] + fields["space origin"])
    affine = np.eye(4)
    affine[:3] = np.array([[float(v) for v in vector.split(",")] for vector in vectors]).T
    return np.frombuffer(gzip.decompress(data), dtype=kind).reshape(sizes[::-1]), affine


def nifti(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """As `nrrd`. NIfTI is RAS: x and y change their sign against LPS."""
    content = path.read_bytes()
    shape = struct.unpack_from("<8h", content, 40)[1:4]
    kind = {4: "<i2", 16: "<f4", 512: "<u2"}[struct.unpack_from("<h", content, 70)[0]]
    offset = int(struct.unpack_from("<f", content, 108)[0])
    affine = np.eye(4)
    affine[:3] = np.array(struct.unpack_from("<12f", content, 280)).reshape(3, 4)
    values = np.frombuffer(content, dtype=kind, offset=offset).reshape(shape[::-1])
    return values, np.diag([-1, -1, 1, 1]) @ affine


def at(values: np.ndarray, affine: np.ndarray, position: np.ndarray) -> float:
    """The value of the voxel whose centre is ``position``; zero outside the volume."""
    i, j, k = np.rint(np.linalg.inv(affine) @ [*position, 1])[:3].astype(int)
    inside = all(0 <= n < size for n, size in zip((k, j, i), values.shape, strict=True))
    return float(values[k, j, i]) if inside else 0.0


def assert_at_their_place(read, expected, geometry) -> None:
    values, affine = read
    for s, y, x in np.ndindex(MATRIX):
        place = np.array(geometry.voxel_centre_mm(s, y, x))
        assert at(values, affine, place) == pytest.approx(expected[s, y, x], abs=1e-7)


def values_of(job, role: str) -> np.ndarray:
    """What a map holds, (s, y, x), by the reconstruction."""
    made = job.reconstruction
    return made.lesion.activation if role == "map" else np.abs(made.image) - np.abs(made.reference)


def run(*command: object) -> str:
    done = subprocess.run(
        [str(word) for word in command], capture_output=True, text=True, errors="replace", check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def dcmqi(name: str) -> Path:
    return Path(sys.executable).with_name(name)


def by_dcmqi(name: str, source: Path, out: Path) -> list[Path]:
    out.mkdir()
    run(dcmqi(name), "--inputDICOM", source, "--outputDirectory", out)
    return sorted(out.glob("*.nrrd"))


@of_dcmqi
@pytest.mark.parametrize("role", ["map", "difference"])
def test_dcmqi_reads_the_maps_at_their_place(plane, tmp_path, role):
    (path,) = by_dcmqi("paramap2itkimage", plane.delivery.files(role)[0], tmp_path / "out")
    assert_at_their_place(nrrd(path), values_of(plane, role), plane.geometry)


@of_dcmqi
def test_dcmqi_reads_every_segment_at_its_place(plane, tmp_path):
    paths = by_dcmqi("segimage2itkimage", plane.delivery.files("segmentation")[0], tmp_path / "out")
    (dataset,) = plane.delivery.read("segmentation")
    assert len(paths) == len(dataset.SegmentSequence)
    volumes = [nrrd(path) for path in paths]
    for s, y, x in np.ndindex(MATRIX):
        place = np.array(plane.geometry.voxel_centre_mm(s, y, x))
        marked = sum(at(values, affine, place) > 0 for values, affine in volumes)
        assert marked == plane.reconstruction.lesion.mask[s, y, x]


@of_dcmqi
@pytest.mark.parametrize("name", sorted(VARIANTS.keys() - PLANES.keys()))
def test_dcmqi_reads_maps_segments_and_report_of_every_kind_of_job(job_of, tmp_path, name):
    job = job_of(name)
    lesion = job.reconstruction.lesion
    for role in ("map", "difference"):
        for source in job.delivery.files(role):
            (path,) = by_dcmqi("paramap2itkimage", source, tmp_path / role)
            assert np.sort(nrrd(path)[0], axis=None) == pytest.approx(
                np.sort(values_of(job, role), axis=None)
            )
    for source in job.delivery.files("segmentation"):
        volumes = [nrrd(path)[0] for path in by_dcmqi("segimage2itkimage", source, tmp_path / "segments")]
        assert sum(int((volume > 0).sum()) for volume in volumes) == lesion.mask.sum()
    for source in job.delivery.files("report"):
        run(dcmqi("tid1500reader"), "--inputDICOM", source, "--outputMetadata", tmp_path / "report.json")
        groups = json.loads((tmp_path / "report.json").read_bytes())["Measurements"]
        marks = marks_of(lesion, job.geometry)
        assert len(groups) == max(len(marks), 1)
        for mark, group in zip(marks, groups, strict=False):
            figures = {m["quantity"]["CodeValue"]: float(m["value"]) for m in group["measurementItems"]}
            assert group["ReferencedSegment"] == mark.number
            assert figures["118565006"] == pytest.approx(mark.volume_mm3, abs=_STEP_MM3)


def test_dcm2niix_puts_images_and_maps_where_they_are(plane, tmp_path, program):
    stored = np.array([image.pixel_array for image in plane.delivery.read("lf-mri")])
    run(program("dcm2niix"), "-b", "n", "-z", "n", "-f", "%s", "-o", tmp_path, plane.delivery.folder)
    for role, expected in (
        ("lf-mri", stored),
        ("map", values_of(plane, "map")),
        ("difference", values_of(plane, "difference")),
    ):
        (number,) = {image.SeriesNumber for image in plane.delivery.read(role)}
        assert_at_their_place(nifti(tmp_path / f"{number}.nii"), expected, plane.geometry)


def test_dcm2niix_makes_one_volume_of_every_series_of_images(job, tmp_path, program):
    run(program("dcm2niix"), "-b", "n", "-z", "n", "-f", "%s", "-o", tmp_path, job.delivery.folder)
    series = {f"{d.SeriesNumber}.nii" for d in job.delivery.read() if "Rows" in d}
    assert {path.name for path in tmp_path.iterdir()} == series


def test_dcmtk_parses_every_object(job, program):
    done = subprocess.run([program("dcmdump"), *job.files], capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, b"")


def test_dcmtk_shows_grey_and_colour_as_they_are_meant(job, tmp_path, program):
    """The window by PS3.3 C.11.2.1.2.1 for grey, to one of 255 steps; colour to the last bit."""
    render = program("dcm2img", "dcmj2pnm")
    for path in (path for role in _IMAGES for path in job.delivery.files(role)[:1]):
        dataset, shown = pydicom.dcmread(path), tmp_path / f"{path.stem}.pnm"
        grey = dataset.SamplesPerPixel == 1
        run(render, *(("+Wi", "1") if grey else ()), "+op", path, shown)
        expected = dataset.pixel_array.astype(float)
        if grey:
            center, width = float(dataset.WindowCenter), float(dataset.WindowWidth)
            expected = 255 * ((expected - (center - 0.5)) / (width - 1) + 0.5).clip(0, 1)
        assert np.abs(np.asarray(Image.open(shown), dtype=float) - expected).max() <= (1 if grey else 0)


def test_dcmtk_reads_the_report(job, program):
    for path in job.delivery.files("report"):
        done = subprocess.run([program("dsrdump"), "-q", path], capture_output=True, check=False)
        assert (done.returncode, done.stderr) == (0, b"")
        marks = marks_of(job.reconstruction.lesion, job.geometry)
        volumes = re.findall(rb'NUM:\(,,"Volume"\)="([0-9.]+)"', done.stdout)
        assert [float(v) for v in volumes] == pytest.approx([m.volume_mm3 for m in marks], abs=_STEP_MM3)
        assert done.stdout.count(b'"Measurement Group"') == max(len(marks), 1)
        assert done.stdout.count(b'"Quality: ') == len(FIGURES)
