"""Every tensor of the path is made where its inputs are.

Torch's meta device computes shapes and no values. While `OnMeta` is active any operation that makes a
tensor elsewhere stops the test; the few questions for values (is there a lesion? was everything sampled?)
are answered both ways.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from torch.overrides import TorchFunctionMode

from lfmri_node.recon.method.cascade import Cascade, CascadeConfig, LesionTerm
from lfmri_node.recon.method.conditions import Scale, describe
from lfmri_node.recon.method.denoiser import Denoiser, DenoiserConfig
from lfmri_node.recon.method.lesion import ClassifierConfig, LesionClassifier, activation_map
from lfmri_node.recon.sense.batch import Batch
from lfmri_node.recon.sense.operators import SenseOp
from lfmri_node.recon.sense.solvers import conjugate_gradient
from lfmri_node.recon.sense.wavelets import analyse, synthesise, wavelet_sense
from lfmri_node.recon.trust.fallback import BATCH_SOLVERS
from lfmri_node.recon.types import CoilMaps, KSpace, LesionWeighting, Method

META = torch.device("meta")
SHAPE, N_COILS, B = (40, 36), 3, 2


class OnMeta(TorchFunctionMode):
    """Stops at a tensor that is made anywhere but on the meta device; questions are answered by ``yes``."""

    def __init__(self, *, yes: bool) -> None:
        super().__init__()
        self.yes = yes

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Sequence[Any] = (), kwargs: Any = None
    ) -> Any:
        if func is torch.Tensor.__bool__:
            return self.yes
        made = func(*args, **(kwargs or {}))
        for tensor in made if isinstance(made, tuple | list) else (made,):
            if isinstance(tensor, torch.Tensor):
                assert tensor.device == META, f"{func.__name__} made a tensor on {tensor.device}"
        return made


def images(b: int = B) -> torch.Tensor:
    return torch.empty(b, *SHAPE, dtype=torch.complex64, device=META)


def operator(*, points: bool) -> SenseOp:
    maps = torch.empty(B, N_COILS, *SHAPE, dtype=torch.complex64, device=META)
    return SenseOp(maps, torch.empty(B, *(SHAPE if points else SHAPE[1:]), dtype=torch.bool, device=META))


def scale() -> Scale:
    return Scale(*(torch.empty(B, device=META) for _ in range(3)))


@pytest.fixture(params=[True, False], ids=["yes", "no"])
def meta(request):
    with OnMeta(yes=request.param):
        yield


@pytest.mark.parametrize("stray", [lambda: torch.arange(3), lambda: images() * torch.ones(SHAPE)])
def test_a_tensor_made_elsewhere_is_found(stray):
    with OnMeta(yes=True), pytest.raises((AssertionError, RuntimeError)):
        stray()


@pytest.mark.usefixtures("meta")
@pytest.mark.parametrize("points", [True, False])
def test_the_encoding_and_the_solvers(points):
    encoding = operator(points=points)
    data = encoding(images())
    right = encoding.adjoint(data)
    assert data.shape == (B, N_COILS, *SHAPE)
    assert encoding.gram(right).shape == (B, *SHAPE)
    assert encoding.gram_mask_gradient(right, right).shape == encoding.mask.shape
    assert conjugate_gradient(encoding.gram, right, None, 3, 1e-3).shape == right.shape
    assert conjugate_gradient(encoding.gram, right, images(), 3).shape == right.shape


@pytest.mark.usefixtures("meta")
def test_the_wavelets():
    whole = torch.empty(B, 32, 48, dtype=torch.complex64, device=META)
    assert synthesise(analyse(whole)).shape == whole.shape
    found = wavelet_sense(operator(points=False), images(), torch.empty(B, device=META), 3)
    assert found.shape == (B, *SHAPE)


@pytest.mark.parametrize("demodulate", [True, False])
def test_the_denoiser_and_the_classifier(demodulate):
    config = DenoiserConfig(channels=(4, 8), demodulate=demodulate)
    denoiser = Denoiser(config, n_images=2, guided=True).to(META)
    classifier = LesionClassifier(ClassifierConfig(channels=(4, 8, 8))).to(META).eval()
    with OnMeta(yes=False):
        conditions = describe(images(), images(), operator(points=True), scale())
        guide = torch.empty(B, 1, *SHAPE, device=META)
        assert denoiser(images(), conditions, images(), guide=guide).shape == (B, *SHAPE)
        logits, logit_map = classifier(torch.empty(B, 1, *SHAPE, device=META))
        assert activation_map(logits, logit_map, SHAPE).shape == (B, 1, *SHAPE)


@pytest.mark.parametrize("yes", [True, False])
@pytest.mark.parametrize("weighting", list(LesionWeighting))
def test_the_cascade_with_its_reference(weighting, yes):
    shape = DenoiserConfig(channels=(4, 8), demodulate=True)
    small = ClassifierConfig(channels=(4, 8))
    config = CascadeConfig(n_stages=2, denoiser=shape, focus=shape, classifier=small)
    cascade = Cascade(config).to(META).eval()
    with OnMeta(yes=yes), torch.inference_mode():
        encoding, term = operator(points=False), LesionTerm(weighting, 0.5)
        least_squares = cascade.least_squares(images(), encoding)
        last, plain = cascade.with_reference(images(), encoding, scale(), term, least_squares)
        outputs = cascade(images(), encoding, scale(), term)
    assert last.image.shape == plain.shape == outputs[-1].image.shape == (B, *SHAPE)


@pytest.mark.parametrize("method", [m for m in BATCH_SOLVERS if m is not Method.L1_WAVELET])  # SigPy's own
def test_slices_of_the_host_are_brought_to_the_device_once(method):
    rng = np.random.default_rng(0)
    data = rng.normal(size=(N_COILS, *SHAPE)).astype(np.complex64)
    kspace = KSpace(data=data, sampled=np.ones(SHAPE[1], dtype=bool))
    maps = CoilMaps(maps=data, support=np.ones(SHAPE, dtype=bool))
    batch = Batch.of([kspace] * B, [maps] * B, META)
    with OnMeta(yes=False):
        found = BATCH_SOLVERS[method](batch)
    assert (found.shape, found.device) == ((B, *SHAPE), META)
