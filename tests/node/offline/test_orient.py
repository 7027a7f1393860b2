"""`orient` finds the convention that a scan was written with, by images of the truth made without our code.

The object is a sum of Gaussians, so the signal of every coil and the image at any point are closed forms. The
scanner's image is another contrast on a finer grid, half an acquired voxel beside ours, with noise.
"""

import itertools
import json
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path

import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import EnhancedMRImageStorage, ExplicitVRLittleEndian, MRImageStorage, generate_uid

from lfmri_node.dicom_io.errors import ScannerImagesError
from lfmri_node.dicom_io.scanner_images import read_scanner_images
from lfmri_node.node.cli.main import run
from lfmri_node.node.config import Config, from_document
from lfmri_node.node.errors import Undecided
from lfmri_node.node.offline.conventions_sheet import direction
from lfmri_node.node.offline.orient import Findings, orient_file
from lfmri_node.recon.mrd.measurement import ReaderSettings, open_measurement
from lfmri_node.recon.mrd.write import ScanLayout, open_writer
from lfmri_node.recon.sense.fourier import fft_axis, reverse_axis
from lfmri_node.recon.sense.sampling import random_lines
from lfmri_node.recon.types import Convention

DEFAULTS = from_document({}, base=Path(), name="defaults")
N_COILS = 3
AXES = {
    "axial": ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)),
    "sagittal": ((0.0, 0.0, -1.0), (0.0, 1.0, 0.0), (1.0, 0.0, 0.0)),
    "double oblique": (
        (0.8660254, 0.4330127, -0.25),
        (-0.5, 0.75, -0.4330127),
        (0.0, 0.5, 0.8660254),
    ),
}


@dataclass(frozen=True)
class Blobs:
    """Gaussians (n,) of the object, mm, along read, phase and slice direction from the centre of the scan."""

    u: np.ndarray
    v: np.ndarray
    w: np.ndarray
    width: np.ndarray
    amplitude: np.ndarray

    @classmethod
    def random(cls, seed: int, n: int = 14) -> "Blobs":
        rng = np.random.default_rng(seed)
        u, v, w = (rng.uniform(-half, half, n) for half in (55.0, 45.0, 8.0))
        return cls(u, v, w, rng.uniform(6.5, 14.0, n), rng.uniform(0.4, 1.6, n))

    def symmetric(self) -> "Blobs":
        turns = list(itertools.product((1, -1), (1, -1)))
        return Blobs(
            np.concatenate([a * self.u for a, _ in turns]),
            np.concatenate([b * self.v for _, b in turns]),
            *(np.tile(values, 4) for values in (self.w, self.width, self.amplitude)),
        )

    def other_contrast(self, seed: int) -> "Blobs":
        amplitude = np.random.default_rng(seed).uniform(0.4, 1.6, self.u.size)
        return Blobs(self.u, self.v, self.w, self.width, amplitude)

    def through_coil(self, coil: int | None, slice_mm: float) -> tuple[np.ndarray, ...]:
        """Complex amplitude, centre (u, v) and width of each Gaussian in one slice, seen by one coil."""
        seen = self.amplitude * np.exp(-((self.w - slice_mm) ** 2) / (2 * self.width**2))
        if coil is None:
            return seen.astype(complex), self.u, self.v, self.width
        angle, reach = 2.1 * coil + 0.3, 80.0
        there = (60.0 * np.cos(angle), 60.0 * np.sin(angle))
        narrow = 1.0 / (1.0 / self.width**2 + 1.0 / reach**2)
        centres = [
            narrow * (at / self.width**2 + c / reach**2)
            for at, c in zip((self.u, self.v), there, strict=True)
        ]
        apart = (self.u - there[0]) ** 2 + (self.v - there[1]) ** 2
        weight = np.exp(-apart / (2 * (self.width**2 + reach**2)) + 1j * (1.3 * angle + 0.01 * coil))
        return seen * weight, centres[0], centres[1], np.sqrt(narrow)

    def image(self, u: np.ndarray, v: np.ndarray, slice_mm: float, coil: int | None = None) -> np.ndarray:
        """Complex image at points (any shape)."""
        amplitude, cu, cv, width = self.through_coil(coil, slice_mm)
        away = (u[..., None] - cu) ** 2 + (v[..., None] - cv) ** 2
        return np.asarray((amplitude * np.exp(-away / (2 * width**2))).sum(-1))

    def signal(self, ku: np.ndarray, kv: np.ndarray, slice_mm: float, coil: int) -> np.ndarray:
        """Signal (u, v) at frequencies 1/mm: integral of the image times exp(-2 pi i k r)."""
        amplitude, cu, cv, width = self.through_coil(coil, slice_mm)
        along = [
            np.exp(-2 * np.pi**2 * width**2 * k[:, None] ** 2 - 2j * np.pi * k[:, None] * c)
            for k, c in ((ku, cu), (kv, cv))
        ]
        return np.asarray(np.einsum("un,vn,n->uv", *along, amplitude * 2 * np.pi * width**2))


@dataclass(frozen=True)
class Written:
    """How a scanner wrote what it measured."""

    sign: int = -1
    conjugated: bool = False
    turn_read: int = 1
    turn_phase: int = 1


CENTRE = np.array([12.0, -20.0, 31.0])
OFFSETS_MM = (-6.0, 0.0, 6.0)


def layout_of(axes: tuple, n: tuple[int, int] = (64, 60)) -> ScanLayout:
    read, phase, normal = axes
    return ScanLayout(
        matrix=(*n, 1),
        field_of_view_mm=(192.0, 180.0, 5.0),
        n_coils=N_COILS,
        positions_mm=tuple(tuple(CENTRE + offset * np.array(normal)) for offset in OFFSETS_MM),
        read_dir=read,
        phase_dir=phase,
        slice_dir=normal,
        readout_oversampling=2,
    )


def write_scan(path: Path, blobs: Blobs, axes: tuple, how: Written, lines: np.ndarray | None = None) -> Path:
    layout = layout_of(axes)
    (n_u, n_v, _), (fov_u, fov_v, _) = layout.matrix, layout.field_of_view_mm
    ku = (np.arange(2 * n_u) - n_u) / (2 * fov_u) * how.turn_read * -how.sign
    kv = (np.arange(n_v) - n_v // 2) / fov_v * how.turn_phase * -how.sign
    steps = np.arange(n_v) if lines is None else np.flatnonzero(lines)
    with open_writer(path, layout) as writer:
        for s, offset in enumerate(OFFSETS_MM):
            coils = np.stack([blobs.signal(ku, kv, offset, c) for c in range(N_COILS)])
            samples = coils.conj() if how.conjugated else coils
            samples = (
                samples * np.sqrt(n_u * 2 * n_v) / (2 * fov_u * fov_v)
            )  # orthonormal: image in its own units
            writer.lines(samples[:, :, steps].transpose(2, 0, 1).astype(np.complex64), steps, slice_counter=s)
    return path


def scanner_slices(
    folder: Path,
    blobs: Blobs,
    axes: tuple,
    *,
    n: int = 160,
    beside_mm: float = 1.5,
    seed: int = 5,
    offsets: Sequence[float] = OFFSETS_MM,
    **attributes: object,
) -> Path:
    """Magnitude MR images as another system makes them: its own rows and columns, noise, other matrix."""
    rng = np.random.default_rng(seed)
    read, phase, normal = (np.array(axis) for axis in axes)
    row, column = -phase, read  # to the right runs against phase, down along read
    step = 200.0 / n
    series, study = generate_uid(), generate_uid()
    folder.mkdir(parents=True, exist_ok=True)
    for number, offset in enumerate(offsets, start=1):
        corner = CENTRE + offset * normal - step * (n // 2) * (row + column)
        down, right = np.meshgrid(np.arange(n), np.arange(n), indexing="ij")
        points = corner + step * (right[..., None] * row + down[..., None] * column) - CENTRE
        picture = np.abs(blobs.image(points @ read + beside_mm, points @ phase - beside_mm, offset))
        noise = 0.03 * picture.max() * rng.standard_normal((2, n, n))
        stored = np.hypot(picture + noise[0], noise[1]) / picture.max() * 2000
        dataset = Dataset()
        dataset.file_meta = FileMetaDataset()
        dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        dataset.SOPClassUID, dataset.SOPInstanceUID = MRImageStorage, generate_uid()
        dataset.SeriesInstanceUID, dataset.StudyInstanceUID = series, study
        dataset.Manufacturer, dataset.Modality = "Another Maker", "MR"
        dataset.ImageType = ["ORIGINAL", "PRIMARY", "M", "ND"]
        dataset.InstanceNumber = number
        dataset.ImagePositionPatient = [f"{value:.6g}" for value in corner]
        dataset.ImageOrientationPatient = [f"{value:.7g}" for value in (*row, *column)]
        dataset.PixelSpacing = [step, step]
        dataset.Rows = dataset.Columns = n
        dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
        dataset.BitsAllocated = dataset.BitsStored = 16
        dataset.HighBit, dataset.PixelRepresentation = 15, 0
        dataset.PixelData = stored.astype("<u2").tobytes()
        for keyword, value in attributes.items():
            setattr(dataset, keyword, value)
        dataset.save_as(folder / f"{number}.dcm", enforce_file_format=True)
    return folder


def configured(found: Findings) -> Config:
    """The configuration with the lines that `orient` prints."""
    lines = found.to_json()["config"]
    assert isinstance(lines, str)
    return from_document(tomllib.loads(lines), base=Path(), name="printed")


def complex_images(path: Path, config: Config, name: str) -> np.ndarray:
    """(s, c, u, v) as a reader with this configuration makes them, by the plain sum of the transform."""
    settings = ReaderSettings(**config.gateway(name).model_dump(mode="json", exclude={"priority"}))
    with open_measurement(path, settings=settings) as measurement:
        scan = measurement.scan()
        data = np.stack([scan.load(s).data for s in range(scan.n_slices)])
    n_u, n_v = data.shape[2:]
    u, v = np.arange(n_u) - n_u // 2, np.arange(n_v) - n_v // 2
    inverse_u = np.exp(2j * np.pi * np.outer(u, u) / n_u) / np.sqrt(n_u)
    inverse_v = np.exp(2j * np.pi * np.outer(v, v) / n_v) / np.sqrt(n_v)
    return np.asarray(np.einsum("ua,scab,vb->scuv", inverse_u, data, inverse_v))


def truth(blobs: Blobs, axes: tuple) -> np.ndarray:
    """(s, c, u, v) at the voxel centres, slices in the order of their position."""
    layout = layout_of(axes)
    (n_u, n_v, _), (fov_u, fov_v, _) = layout.matrix, layout.field_of_view_mm
    u, v = np.meshgrid(
        (np.arange(n_u) - n_u // 2) * fov_u / n_u, (np.arange(n_v) - n_v // 2) * fov_v / n_v, indexing="ij"
    )
    return np.stack(
        [np.stack([blobs.image(u, v, offset, coil) for coil in range(N_COILS)]) for offset in OFFSETS_MM]
    )


HOW = [
    Written(sign=sign, conjugated=conjugated, turn_read=read, turn_phase=phase)
    for sign, conjugated in ((-1, False), (1, False), (-1, True))
    for read, phase in itertools.product((1, -1), (1, -1))
]


@pytest.mark.parametrize("plane", AXES)
def test_every_convention_is_found_and_its_lines_give_the_true_complex_images(
    tmp_path: Path, plane: str
) -> None:
    axes, blobs = AXES[plane], Blobs.random(1)
    like = scanner_slices(tmp_path / "scanner", blobs.other_contrast(2), axes)
    expected = truth(blobs, axes)
    for how in HOW:
        path = write_scan(tmp_path / "scan.h5", blobs, axes, how)
        found = orient_file(path, like, None, DEFAULTS, "GATEWAY")
        assert found.refusal() is None, how
        assert found.likeness is not None
        assert found.likeness.margin > 0.05
        assert np.abs(found.likeness.displacement_mm).max() <= 3.0
        wanted = expected.conj() if how.conjugated else expected
        images = complex_images(path, configured(found), "GATEWAY")
        assert np.abs(images - wanted).max() < 2e-3 * np.abs(expected).max(), how
        assert found.to_json()["configured_is_right"] is (how in (HOW[0], HOW[7], HOW[11]))


def test_undersampled_scan_is_decided_by_cg_sense(tmp_path: Path) -> None:
    axes, blobs = AXES["axial"], Blobs.random(1)
    lines = random_lines(60, 2.0, 0.25, np.random.default_rng(0))
    path = write_scan(tmp_path / "scan.h5", blobs, axes, Written(sign=1, turn_phase=-1), lines)
    like = scanner_slices(tmp_path / "scanner", blobs.other_contrast(2), axes)
    found = orient_file(path, like, None, DEFAULTS, "GATEWAY")
    assert found.right is not None
    assert found.right.reversed_axes == (True, False, False)


def multi_frame(folder: Path, file: Path) -> Path:
    """The slices of a folder as one Enhanced MR object: places a frame, the rest shared (PS3.3 A.36)."""
    slices = [pydicom.dcmread(path) for path in sorted(folder.iterdir())]
    whole = slices[0]
    whole.SOPClassUID = EnhancedMRImageStorage
    whole.NumberOfFrames = len(slices)
    whole.PixelData = b"".join(one.PixelData for one in slices)
    shared, orientation, measures = Dataset(), Dataset(), Dataset()
    orientation.ImageOrientationPatient = whole.ImageOrientationPatient
    measures.PixelSpacing = whole.PixelSpacing
    shared.PlaneOrientationSequence, shared.PixelMeasuresSequence = [orientation], [measures]
    whole.SharedFunctionalGroupsSequence = [shared]
    frames = []
    for one in slices:
        frame, place = Dataset(), Dataset()
        place.ImagePositionPatient = one.ImagePositionPatient
        frame.PlanePositionSequence = [place]
        frames.append(frame)
    del whole.ImagePositionPatient, whole.ImageOrientationPatient, whole.PixelSpacing
    whole.PerFrameFunctionalGroupsSequence = frames
    whole.save_as(file)
    return file


def test_multi_frame_image_and_a_single_slice_serve_as_well(tmp_path: Path) -> None:
    axes, blobs = AXES["double oblique"], Blobs.random(1)
    path = write_scan(tmp_path / "scan.h5", blobs, axes, Written(turn_read=-1))
    folder = scanner_slices(tmp_path / "scanner", blobs.other_contrast(2), axes)
    for like in (multi_frame(folder, tmp_path / "enhanced.dcm"), folder / "2.dcm"):
        found = orient_file(path, like, None, DEFAULTS, "GATEWAY")
        assert found.likeness is not None
        assert found.conventions[found.likeness.best] == Convention(flip_readout=True)
    assert len(read_scanner_images(tmp_path / "enhanced.dcm")) == 3
    assert len(read_scanner_images(folder / "2.dcm")) == 1


@pytest.mark.parametrize(
    "how",
    [Convention(fft_sign=1), Convention(flip_partition=True), Convention(flip_readout=True, flip_phase=True)],
)
def test_slab_with_two_phase_directions_has_eight_candidates(tmp_path: Path, how: Convention) -> None:
    axes, blobs = AXES["sagittal"], Blobs.random(1)
    n, field = (48, 40, 12), (192.0, 180.0, 36.0)
    layout = replace(
        layout_of(axes),
        matrix=n,
        field_of_view_mm=field,
        three_dimensional=True,
        readout_oversampling=1,
        n_coils=1,
        positions_mm=(tuple(CENTRE),),
    )
    places = [(np.arange(m) - m // 2) * f / m for m, f in zip(n, field, strict=True)]
    u, v = np.meshgrid(places[0], places[1], indexing="ij")
    volume = np.stack([blobs.image(u, v, w) for w in places[2]], axis=-1)
    kspace = volume.astype(np.complex64)
    for axis, reverse in enumerate(how.reversed_axes):
        kspace = fft_axis(kspace, axis)
        kspace = reverse_axis(kspace, axis) if reverse else kspace
    step_1, step_2 = np.meshgrid(np.arange(n[1]), np.arange(n[2]), indexing="ij")
    with open_writer(tmp_path / "slab.h5", layout) as writer:
        lines = kspace.reshape(n[0], -1).T[:, None]
        writer.lines(np.ascontiguousarray(lines), step_1.ravel(), step_2=step_2.ravel())
    offsets = np.arange(-15.0, 16.0, 3.0)
    like = scanner_slices(tmp_path / "scanner", blobs.other_contrast(2), axes, offsets=offsets)
    found = orient_file(tmp_path / "slab.h5", like, None, DEFAULTS, "GATEWAY")
    assert len(found.conventions) == 8
    assert found.right == how


def test_symmetric_object_is_refused_however_alike_it_looks(tmp_path: Path) -> None:
    axes, blobs = AXES["axial"], Blobs.random(3).symmetric()
    path = write_scan(tmp_path / "scan.h5", blobs, axes, Written())
    for seed in range(4):
        like = scanner_slices(tmp_path / f"scanner-{seed}", blobs, axes, seed=seed, beside_mm=0.5)
        found = orient_file(path, like, None, DEFAULTS, "GATEWAY")
        assert found.likeness is not None
        assert min(found.likeness.scores) > 0.9
        refusal = found.refusal()
        assert isinstance(refusal, Undecided)
        assert refusal.code == "LF-ORI-004"
        assert found.to_json()["config"] is None


def test_object_symmetric_in_one_direction_only_is_refused_as_well(tmp_path: Path) -> None:
    """What decides is every pair: here flips along phase cannot be told apart, those along readout can."""
    axes, half = AXES["axial"], Blobs.random(3)
    blobs = Blobs(
        *(np.concatenate(pair) for pair in ((half.u, half.u), (half.v, -half.v))),
        *(np.tile(values, 2) for values in (half.w, half.width, half.amplitude)),
    )
    path = write_scan(tmp_path / "scan.h5", blobs, axes, Written())
    found = orient_file(path, scanner_slices(tmp_path / "s", blobs, axes), None, DEFAULTS, "GATEWAY")
    assert found.likeness is not None
    assert [rival.beaten for rival in found.likeness.rivals].count(False) == 1
    assert found.right is None


def test_another_object_is_not_decided(tmp_path: Path) -> None:
    axes = AXES["axial"]
    path = write_scan(tmp_path / "scan.h5", Blobs.random(1), axes, Written())
    for seed in (21, 22, 23, 24):
        like = scanner_slices(tmp_path / f"scanner-{seed}", Blobs.random(seed), axes)
        found = orient_file(path, like, None, DEFAULTS, "GATEWAY")
        assert found.right is None, found.likeness


@pytest.mark.parametrize(
    ("code", "attributes"),
    [
        ("LF-ORI-011", {"ImageType": ["ORIGINAL", "PRIMARY", "P"]}),
        ("LF-ORI-011", {"ComplexImageComponent": "PHASE"}),
        ("LF-ORI-011", {"ImagePositionPatient": None}),
        ("LF-ORI-013", {"Manufacturer": "lfmri-node project"}),
    ],
)
def test_images_that_prove_nothing_are_refused(
    tmp_path: Path, code: str, attributes: dict[str, object]
) -> None:
    axes, blobs = AXES["axial"], Blobs.random(1)
    path = write_scan(tmp_path / "scan.h5", blobs, axes, Written())
    like = scanner_slices(tmp_path / "scanner", blobs, axes, n=64, **attributes)
    with pytest.raises(ScannerImagesError) as caught:
        orient_file(path, like, None, DEFAULTS, "GATEWAY")
    assert caught.value.code == code


def test_several_series_and_other_places_are_refused(tmp_path: Path) -> None:
    axes, blobs = AXES["axial"], Blobs.random(1)
    path = write_scan(tmp_path / "scan.h5", blobs, axes, Written())
    for name in ("one", "two"):
        scanner_slices(tmp_path / "scanner" / name, blobs, axes, n=64)
    with pytest.raises(ScannerImagesError) as several:
        orient_file(path, tmp_path / "scanner", None, DEFAULTS, "GATEWAY")
    assert several.value.code == "LF-ORI-012"
    elsewhere = scanner_slices(tmp_path / "elsewhere", blobs, axes, n=64)
    for file in elsewhere.iterdir():
        dataset = pydicom.dcmread(file)
        dataset.ImagePositionPatient[2] += 40
        dataset.save_as(file)
    with pytest.raises(Undecided) as places:
        orient_file(path, elsewhere, None, DEFAULTS, "GATEWAY")
    assert places.value.code == "LF-ORI-002"


def test_scan_without_directions_is_refused(tmp_path: Path) -> None:
    nowhere = ((0.0, 0.0, 0.0),) * 3
    path = write_scan(tmp_path / "scan.h5", Blobs.random(1), nowhere, Written())
    with pytest.raises(Undecided) as caught:
        orient_file(path, None, tmp_path / "out", DEFAULTS, "GATEWAY")
    assert caught.value.code == "LF-ORI-001"


def test_command_prints_lines_draws_the_sheet_and_exits_3_when_undecided(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    axes, blobs = AXES["sagittal"], Blobs.random(1)
    path = write_scan(tmp_path / "scan.h5", blobs, axes, Written(sign=1))
    like = scanner_slices(tmp_path / "scanner", blobs.other_contrast(2), axes)
    arguments = [
        "orient",
        str(path),
        "--like",
        str(like),
        "--calling-ae",
        "MR 1",
        "--out",
        str(tmp_path / "out"),
    ]
    assert run([*arguments, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["decided"]
    assert document["config"].splitlines()[:2] == ['[gateways."MR 1"]', "fft_sign = 1"]
    assert document["candidates"][3] | {"keys": {"fft_sign": 1}} == document["candidates"][3]
    with Image.open(document["picture"]) as sheet:
        assert sheet.width > 4 * 320
    assert run(arguments) == 0
    assert 'gateways."MR 1"' in capsys.readouterr().out
    symmetric = write_scan(tmp_path / "s.h5", blobs.symmetric(), axes, Written())
    flat = scanner_slices(tmp_path / "flat", blobs.symmetric(), axes, beside_mm=0.0)
    arguments = ["orient", str(symmetric), "--like", str(flat), "--json"]
    assert run(arguments) == 3
    answer = capsys.readouterr()
    document = json.loads(answer.out)
    assert (document["decided"], document["error"]["code"]) == (False, "LF-ORI-004")
    assert "LF-ORI-004" in answer.err


def test_directions_are_named_as_dicom_names_them() -> None:
    assert direction((1.0, 0.0, 0.0)) == "L"
    assert direction((0.0, -1.0, 0.0)) == "A"
    assert direction((0.1, 0.5, -0.85)) == "FP"


def likeness_to(objects: Path, blobs: Blobs, axes: tuple) -> float:
    """Lowest correlation of the delivered images with the truth at the places that they state."""
    read, phase, normal = (np.array(axis) for axis in axes)
    found = []
    for path in sorted(objects.glob("*.dcm")):
        image = pydicom.dcmread(path)
        row, column = np.array(image.ImageOrientationPatient, dtype=float).reshape(2, 3)
        down, right = image.PixelSpacing
        y, x = np.indices((image.Rows, image.Columns))
        corner = np.array(image.ImagePositionPatient, dtype=float) - CENTRE
        points = corner + x[..., None] * right * row + y[..., None] * down * column
        expected = np.abs(blobs.image(points @ read, points @ phase, float(corner @ normal)))
        found.append(np.corrcoef(image.pixel_array.ravel(), expected.ravel())[0, 1])
    assert len(found) == len(OFFSETS_MM)
    return float(min(found))


def test_reconstruct_with_the_printed_lines_puts_the_anatomy_in_its_place_and_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    axes, blobs = AXES["double oblique"], Blobs.random(1)
    path = write_scan(tmp_path / "scan.h5", blobs, axes, Written(sign=1, turn_phase=-1))
    like = scanner_slices(tmp_path / "scanner", blobs.other_contrast(2), axes)
    lines = orient_file(path, like, None, DEFAULTS, "MR1").to_json()["config"]
    (tmp_path / "config.toml").write_text(f"{lines}\n")
    answers = {}
    for name in ("MR1", "MR2"):
        arguments = ["reconstruct", str(path), "--out", str(tmp_path / name), "--method", "zero-filled"]
        arguments += ["--config", str(tmp_path / "config.toml"), "--calling-ae", name, "--json"]
        assert run(arguments) == 0
        (answers[name],) = json.loads(capsys.readouterr().out)["scans"]
    assert likeness_to(tmp_path / "MR1", blobs, axes) > 0.95
    assert likeness_to(tmp_path / "MR2", blobs, axes) < 0.8
    assert answers["MR1"]["flips"] == ["flip_readout"]
    assert answers["MR1"]["orientation_verified"] == date.today().isoformat()
    assert answers["MR2"]["orientation_verified"] is None
    assert "not verified" in answers["MR2"]["orientation"]
