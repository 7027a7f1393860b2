"""Slices side by side: the same images as one at a time, and what becomes of a scan when memory runs out."""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
import torch
from torch.overrides import TorchFunctionMode

from lfmri_node.recon.calibration import Calibration, calibrate
from lfmri_node.recon.compute import LARGEST_BATCH, Compute, exact, fitting, side_by_side
from lfmri_node.recon.errors import InvalidRawData
from lfmri_node.recon.method.weights import load_model
from lfmri_node.recon.phantom.body import phantom_volume
from lfmri_node.recon.phantom.coils import loop_coils, measure, object_phase
from lfmri_node.recon.reconstruct import reconstruct
from lfmri_node.recon.sense.sampling import centre_lines
from lfmri_node.recon.types import (
    DisplayOrder,
    Geometry,
    LesionWeighting,
    Method,
    RawScan,
    ReconSettings,
    Reconstruction,
    ScanIdentity,
    SequenceInfo,
)

SHAPE, N_SLICES = (40, 36), 3
META = torch.device("meta")


class Memory(TorchFunctionMode):
    """A device that holds so many slices: a transform of more of them runs out of memory."""

    def __init__(self, device: str, n_slices: int) -> None:
        super().__init__()
        self.device, self.n_slices = device, n_slices
        self.largest = 0

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Sequence[Any] = (), kwargs: Any = None
    ) -> Any:
        if (
            func in (torch.fft.fftn, torch.fft.ifftn, torch.fft.ifftshift)
            and args[0].device.type == self.device
        ):
            if args[0].shape[0] > self.n_slices:
                raise torch.OutOfMemoryError("injected")
            self.largest = max(self.largest, args[0].shape[0])
        return func(*args, **(kwargs or {}))


@pytest.fixture(scope="module")
def scan() -> RawScan:
    rng = np.random.default_rng(7)
    lines = centre_lines(SHAPE[1], 0.3)
    lines[::4] = True
    maps, phase = loop_coils(4, SHAPE, rng), object_phase(SHAPE, rng)
    volume = phantom_volume(N_SLICES, SHAPE, rng)
    data = [measure((image * phase).astype(np.complex64), maps, lines, 0.005, rng) for image in volume]
    return RawScan(
        load=lambda s: data[s],
        shape=(N_SLICES, 4, *SHAPE),
        geometry=Geometry(
            matrix=(N_SLICES, *SHAPE),
            spacing_mm=(5.0, 1.0, 1.0),
            thickness_mm=5.0,
            origin_mm=(0.0, 0.0, 0.0),
            axis_s=(0.0, 0.0, 1.0),
            axis_y=(0.0, 1.0, 0.0),
            axis_x=(1.0, 0.0, 0.0),
        ),
        display=DisplayOrder(crop=SHAPE, resample=SHAPE),
        sequence=SequenceInfo(),
        identity=ScanIdentity(),
        contrast=0,
        repetition=0,
        whitened=False,
        n_averages=1,
        source_sha256="0" * 64,
    )


@pytest.fixture(scope="module")
def calibration(scan: RawScan) -> Calibration:
    return calibrate(scan, ReconSettings())


@pytest.fixture
def model(write_model, randomised):
    """Every stage does something, and the lesion term acts in some of the slices."""
    model = load_model(write_model())
    randomised(model.network)
    with torch.no_grad():
        for stage in model.network.stages:
            stage.raw_delta.fill_(0.5)
    return model


def volumes(done: Reconstruction) -> Iterator[np.ndarray]:
    yield from (v for v in (done.image, done.reference, done.fallback, done.zero_filled) if v is not None)
    if done.lesion is not None:
        yield from (done.lesion.activation, done.lesion.scores)


def assert_same(one: Reconstruction, other: Reconstruction) -> None:
    for a, b in zip(volumes(one), volumes(other), strict=True):
        np.testing.assert_allclose(a, b, atol=2e-5)
    assert one.quality.verdict == other.quality.verdict
    assert one.quality.data_residual == pytest.approx(other.quality.data_residual, rel=1e-5)


@pytest.mark.parametrize("weighting", list(LesionWeighting))
def test_a_batch_of_slices_gives_the_images_of_each(scan, calibration, model, weighting):
    settings = ReconSettings(lesion=weighting, always_fallback=True)
    done: list[tuple[int, int]] = []
    alone = reconstruct(scan, model, settings, calibration=calibration)
    together = reconstruct(
        scan,
        model,
        settings,
        calibration=calibration,
        compute=Compute(at_once=2),
        progress=lambda *step: done.append(step),
    )
    assert_same(alone, together)
    assert done == [(n, N_SLICES) for n in range(1, N_SLICES + 1)]
    assert (together.provenance.device, together.provenance.device_notes) == ("cpu", ())


@pytest.mark.parametrize("method", [method for method in Method if method is not Method.LF_MRI])
def test_every_method_without_a_network_takes_batches(scan, calibration, method):
    settings = ReconSettings(method=method)
    alone = reconstruct(scan, None, settings, calibration=calibration)
    together = reconstruct(scan, None, settings, calibration=calibration, compute=Compute(at_once=3))
    assert_same(alone, together)


def test_slices_sampled_whole_and_in_part_share_a_batch(scan, calibration):
    whole = scan.load(1)
    sampled = np.ones_like(whole.sampled)

    def load(s: int):
        kspace = scan.load(s)
        return type(kspace)(data=kspace.data, sampled=sampled) if s == 1 else kspace

    mixed = RawScan(**{name: getattr(scan, name) for name in RawScan.__slots__} | {"load": load})
    settings = ReconSettings(method=Method.CG_SENSE)
    alone = reconstruct(mixed, None, settings, calibration=calibration)
    together = reconstruct(mixed, None, settings, calibration=calibration, compute=Compute(at_once=3))
    assert_same(alone, together)


def test_where_memory_runs_out_half_as_many_slices_are_tried(scan, calibration, model):
    expected = reconstruct(scan, model, ReconSettings(), calibration=calibration)
    with Memory("cpu", 1) as memory:
        done = reconstruct(scan, model, ReconSettings(), calibration=calibration, compute=Compute(at_once=3))
    assert memory.largest == 1
    assert_same(expected, done)
    assert done.provenance.device_notes == ("cpu ran out of memory with 3 slices at a time; 1 from there on",)


def test_where_not_one_slice_fits_the_processor_computes_the_scan_and_the_record_says_so(
    scan, calibration, model
):
    """The meta device stands for an accelerator: it can hold nothing, and gives no values."""
    settings = ReconSettings(always_fallback=True)
    expected = reconstruct(scan, model, settings, calibration=calibration)
    compute = Compute(META, at_once=2, name="cuda (pretended)")
    with Memory("meta", 0):
        done = reconstruct(scan, model, settings, calibration=calibration, compute=compute)
    assert_same(expected, done)
    assert done.provenance.device == "cpu, after cuda (pretended)"
    assert done.provenance.device_notes == (
        "cuda (pretended) ran out of memory with one slice; the processor from there on",
    )


@contextmanager
def threads(n: int) -> Iterator[None]:
    """So many of torch's."""
    before = torch.get_num_threads()
    torch.set_num_threads(n)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def test_slices_in_threads_of_their_own_have_the_bits_that_they_have_alone(scan, model):
    with threads(1):
        alone = reconstruct(scan, model, ReconSettings(always_fallback=True))
    for n in (2, N_SLICES):
        with threads(n):
            beside = reconstruct(scan, model, ReconSettings(always_fallback=True))
            assert torch.get_num_threads() == n
        for a, b in zip(volumes(alone), volumes(beside), strict=True):
            np.testing.assert_array_equal(a, b)
        assert alone.quality == beside.quality


def test_as_many_items_as_threads_are_worked_on_at_once_and_come_in_order():
    together = threading.Barrier(2)

    def work(item: int) -> tuple[int, int]:
        together.wait(timeout=60)
        return item, torch.get_num_threads()

    with threads(4):
        assert list(side_by_side(work, [5, 6])) == [(5, 2), (6, 2)]


def test_what_one_thread_raises_ends_the_work(scan):
    def load(s: int):
        if s == 1:
            raise InvalidRawData("LF-RAW-001", "injected", "none")
        return scan.load(s)

    broken = RawScan(**{name: getattr(scan, name) for name in RawScan.__slots__} | {"load": load})
    with threads(2), pytest.raises(InvalidRawData, match="LF-RAW-001"):
        calibrate(broken)


def test_a_processor_without_memory_for_one_slice_says_so(scan, calibration):
    with threads(1), Memory("cpu", 0), pytest.raises(torch.OutOfMemoryError):
        reconstruct(scan, None, ReconSettings(method=Method.CG_SENSE), calibration=calibration)


def test_the_tensors_of_a_failed_attempt_are_gone_before_the_next():
    held: list[str] = []

    class Held:
        def __del__(self) -> None:
            held.append("released")

    def work(slices: Sequence[int], _device: torch.device) -> list[int]:
        tensor = Held()
        if len(slices) > 1:
            raise torch.OutOfMemoryError("injected")
        assert held, tensor
        return list(slices)

    assert list(Compute(at_once=2).over(range(3), work)) == [0, 1, 2]


@pytest.mark.parametrize(
    ("free", "need", "expected"),
    [(100, 10, 8), (100, 81, 1), (1, 100, 1), (10**12, 1, LARGEST_BATCH), (100, 0, LARGEST_BATCH)],
)
def test_as_many_slices_as_fit_into_four_fifths(free, need, expected):
    assert fitting(free, need) == expected


def test_convolutions_are_exact_and_repeatable_while_a_scan_is_computed():
    before = torch.backends.cudnn.allow_tf32
    with exact():
        assert not torch.backends.cudnn.allow_tf32
        assert torch.backends.cudnn.deterministic
    assert torch.backends.cudnn.allow_tf32 == before
