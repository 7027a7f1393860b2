"""The LF-MRI cascade: T stages of denoising, lesion focusing and data consistency.

[paper] eq. (2): ``argmin 1/2 |A X - Y|^2 + mu1 |N(X)|^2 + mu2 |H(X)|^2``, alternating optimisation
unrolled into T stages; a stage is D_w, the lesion-focused module, then data consistency.
[our reading] ``N(X) = (1 - C^2)^(1/2) (X - D_w(X))``, ``H(X) = C (X - G_u(Z, C))`` with ``Z = D_w(X)`` and C
the activation map of Net_c on |Z|: where a lesion is suspected the lesion term takes the place of the
denoiser's, with a weight of its own. A stage ends by solving

    (A^H A + mu1 (1 - C^2) + mu2 C^2) X = A^H Y + mu1 (1 - C^2) Z + mu2 C^2 L,    L = G_u(Z, C).

With N everywhere, as eq. (2) can be read too, the weight of the prior can only grow where C is high; that
cost 0.5 dB inside lesions even with the true outline in the place of C.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from lfmri_node.recon.method.conditions import N_CONDITIONS, Scale, describe
from lfmri_node.recon.method.denoiser import Denoiser, DenoiserConfig
from lfmri_node.recon.method.lesion import ClassifierConfig, LesionClassifier, activation_map
from lfmri_node.recon.sense.operators import SenseOp
from lfmri_node.recon.sense.solvers import conjugate_gradient
from lfmri_node.recon.sense.wavelets import wavelet_sense
from lfmri_node.recon.types import LesionWeighting


@dataclass(frozen=True, slots=True, kw_only=True)
class CascadeConfig:
    """Everything that decides the shape of the network.

    Parameters
    ----------
    n_stages
        T.
    n_cg
        Conjugate-gradient steps of the data consistency of each stage.
    initial_mu
        mu1 before training; mu2 begins equal to it.
    start_mu
        Weight of the CG-SENSE image that the conditions are measured with.
    start_iterations
        Iterations of wavelet-regularised SENSE that make of it the image that the first stage starts from.
    denoiser, focus
        Body of D_w, body of G_u.
    """

    n_stages: int = 4
    n_cg: int = 5
    initial_mu: float = 0.1
    start_mu: float = 0.03
    start_iterations: int = 10
    denoiser: DenoiserConfig = field(default_factory=DenoiserConfig)
    focus: DenoiserConfig = field(default_factory=lambda: DenoiserConfig(channels=(8, 16, 32)))
    classifier: ClassifierConfig = field(default_factory=ClassifierConfig)


HALF_DECADE = 0.5 * math.log(10)
START_LEVEL, START_NOISE = 0.003, 0.3
"""Weight of the wavelets of the start, in units of the brightest tissue and of the noise, chosen on training
scans."""


class StageOutput(NamedTuple):
    """Image c64 (b, r, p) after data consistency; slice logits (b, k); activation f32 (b, k, r, p)."""

    image: Tensor
    slice_logits: Tensor | None
    activation: Tensor | None


class LesionTerm(NamedTuple):
    """Where the lesion term acts.

    Parameters
    ----------
    weighting
        Off, focused by the map of Net_c, or uniform.
    gate
        In a stage where the score of a slice stays below it the term of that slice is off. Zero, as in
        training, gates nothing.
    given
        f32 (b, 1, r, p) in [0, 1], to take the place of Net_c's map where the term is focused.
    """

    weighting: LesionWeighting = LesionWeighting.FOCUSED
    gate: float = 0.0
    given: Tensor | None = None

    def guide(self, logits: Tensor, activation: Tensor) -> Tensor:
        """C f32 (b, 1, r, p) of slice logits (b, k) and activation (b, k, r, p)."""
        if self.weighting is LesionWeighting.UNIFORM:
            return torch.ones_like(activation[:, :1])
        if self.given is not None:
            return self.given
        suspected = torch.sigmoid(logits) >= self.gate
        return (activation * suspected[:, :, None, None]).amax(dim=1, keepdim=True)


class _RegularisedSolve(torch.autograd.Function):
    """x = (A^H A + w)^-1 b by conjugate gradient; gradients by solving the same system once more.

    The system is Hermitian, so with g the gradient of x and ``lam = (A^H A + w)^-1 g`` the gradient of
    b is lam and that of w is ``-Re(conj(lam) x)`` (Aggarwal et al., MoDL, IEEE TMI 38 (2019) 394);
    that of a mask that is learned is ``-Re(conj(F S lam) F S x)``. Nothing of the iterations is
    kept, which halves time and memory of a training step.
    """

    @staticmethod
    def forward(
        ctx: Any,
        right: Tensor,
        weight: Tensor,
        mask: Tensor,
        start: Tensor | None,
        operator: SenseOp,
        n: int,
    ) -> Tensor:
        solution = conjugate_gradient(lambda x: operator.gram(x) + weight * x, right, start, n)
        ctx.save_for_backward(solution, weight)
        ctx.operator, ctx.n = operator, n
        return solution

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, Tensor | None, None, None, None]:
        solution, weight = ctx.saved_tensors
        gradient = gradients[0]
        lam = conjugate_gradient(lambda x: ctx.operator.gram(x) + weight * x, gradient, None, ctx.n)
        weight_gradient = -(lam.conj() * solution).real
        mask_gradient = -ctx.operator.gram_mask_gradient(lam, solution) if ctx.needs_input_grad[2] else None
        return lam, weight_gradient.sum_to_size(weight.shape), mask_gradient, None, None, None


def data_consistency(
    operator: SenseOp, right: Tensor, weight: Tensor, start: Tensor | None, n_iterations: int
) -> Tensor:
    """Solve ``(A^H A + weight) X = right`` by ``n_iterations`` steps from ``start``, None for zeros.

    Parameters
    ----------
    right, start
        c64 (b, r, p).
    weight
        f32, positive, broadcast against the image: mu1 (1 - C^2) + mu2 C^2.

    Differentiable by ``right``, ``weight`` and, where it asks for it, the mask of ``operator``.
    """
    solve = cast(Callable[..., Tensor], _RegularisedSolve.apply)
    return solve(right, weight, operator.mask, start, operator, n_iterations)


class Stage(nn.Module):
    """One stage: Z = D_w(X); C, L = Net_c(|Z|), G_u(Z, C); data consistency.

    The weights follow the measurement within bounds [our reading]: ``mu1`` is a learned number times a factor
    within half a decade either way that is log-linear in the conditions of the measurement; ``mu2 = mu1
    exp(delta)`` with delta likewise within a decade. Untrained, delta is zero and G_u the identity, so that
    the stage is what it is with the lesion term off, to the bit.
    """

    def __init__(self, config: CascadeConfig) -> None:
        super().__init__()
        self.denoise = Denoiser(config.denoiser, n_images=2, guided=False)
        self.focus = Denoiser(config.focus, n_images=2, guided=True)
        self.raw_mu = nn.Parameter(torch.tensor(math.log(math.expm1(config.initial_mu))))
        self.mu_slopes = nn.Parameter(torch.zeros(N_CONDITIONS))
        self.raw_delta = nn.Parameter(torch.zeros(()))
        self.delta_slopes = nn.Parameter(torch.zeros(N_CONDITIONS))
        self.n_cg = config.n_cg

    def mu(self, conditions: Tensor) -> Tensor:
        """mu1 f32 (b, 1, 1), positive, of conditions f32 (b, n)."""
        factor = torch.exp(HALF_DECADE * torch.tanh(conditions @ self.mu_slopes))
        return (functional.softplus(self.raw_mu) * factor)[:, None, None]

    def delta(self, conditions: Tensor) -> Tensor:
        """Logarithm of mu2 over mu1, f32 (b, 1, 1)."""
        return 2 * HALF_DECADE * torch.tanh(self.raw_delta + conditions @ self.delta_slopes)[:, None, None]

    def forward(
        self,
        image: Tensor,
        operator: SenseOp,
        adjoint: Tensor,
        conditions: Tensor,
        start: Tensor,
        classifier: nn.Module,
        term: LesionTerm,
    ) -> StageOutput:
        mu = self.mu(conditions)
        denoised = self.denoise(image, conditions, start)
        plain = adjoint + mu * denoised
        if term.weighting is LesionWeighting.OFF:
            solved = data_consistency(operator, plain, mu, denoised.detach(), self.n_cg)
            return StageOutput(solved, None, None)
        # [our reading] the classifier may not bend the denoiser to its own ends: no gradient from it to D_w
        logits, logit_map = classifier(denoised.detach().abs()[:, None])
        activation = activation_map(logits, logit_map, (image.shape[-2], image.shape[-1]))
        guide = term.guide(logits, activation)
        # where G_u alone learns, a step has no other gradient: there it is run for a map of zero as well
        alone = torch.is_grad_enabled() and not plain.requires_grad
        if not alone and not guide.any():
            solved = data_consistency(operator, plain, mu, denoised.detach(), self.n_cg)
            return StageOutput(solved, logits, activation)
        focused = self.focus(denoised, conditions, start, guide=guide)
        share, ratio = guide[:, 0] ** 2, torch.exp(self.delta(conditions))
        right = plain + mu * share * (ratio * focused - denoised)
        weight = mu * (1 + share * (ratio - 1))
        solved = data_consistency(operator, right, weight, denoised.detach(), self.n_cg)
        return StageOutput(solved, logits, activation)


class Cascade(nn.Module):
    """LF-MRI. [paper] one Net_c; [our reading] shared by all stages.

    ``forward`` starts at a short wavelet-regularised SENSE that starts at CG-SENSE, and every D_w sees that
    image too [our reading: the mean of a network's image and of one from wavelets was 0.7 dB ahead of either;
    a network that sees both need not learn what linear algebra and sparsity already know]. Returns every
    stage's output.
    """

    def __init__(self, config: CascadeConfig) -> None:
        super().__init__()
        self.config = config
        self.stages = nn.ModuleList(Stage(config) for _ in range(config.n_stages))
        self.classifier = LesionClassifier(config.classifier)

    def forward(
        self, adjoint: Tensor, operator: SenseOp, scale: Scale, term: LesionTerm | None = None
    ) -> list[StageOutput]:
        """Reconstruct from ``adjoint`` = A^H Y c64 (b, r, p), of any scale; G_u is not run where C is zero.

        All is computed in units of the brightest tissue, as in training.
        """
        given = self._given(adjoint, operator, scale, None)
        outputs: list[StageOutput] = []
        image = given.start
        for stage in self.stages:
            outputs.append(self._stage(stage, image, given, term or LesionTerm()))
            image = outputs[-1].image
        return [output._replace(image=output.image * given.unit) for output in outputs]

    def with_reference(
        self, adjoint: Tensor, operator: SenseOp, scale: Scale, term: LesionTerm, least_squares: Tensor
    ) -> tuple[StageOutput, Tensor]:
        """The last stage and, c64 (b, r, p), the image with the lesion term off, to the bit.

        Up to the first stage in which the term acts both are one, and computed once. ``least_squares`` c64
        (b, r, p) is that of `least_squares`, where the caller needed it before.
        """
        given = self._given(adjoint, operator, scale, least_squares)
        image = reference = given.start
        apart, output = False, StageOutput(image, None, None)
        for stage in self.stages:
            before, output = image, self._stage(stage, image, given, term)
            image = output.image
            apart = apart or _acted(output, term)
            off = LesionTerm(LesionWeighting.OFF)
            reference = (
                self._stage(stage, reference if apart else before, given, off).image if apart else image
            )
        return output._replace(image=image * given.unit), reference * given.unit

    def least_squares(self, adjoint: Tensor, operator: SenseOp) -> Tensor:
        """The CG-SENSE image c64 (b, r, p) that the conditions are measured with, in the unit of A^H Y."""
        weight = adjoint.real.new_tensor(self.config.start_mu)
        return data_consistency(operator, adjoint, weight, None, self.config.n_cg)

    def _given(
        self, adjoint: Tensor, operator: SenseOp, scale: Scale, least_squares: Tensor | None
    ) -> _Given:
        level = torch.where(scale.level > 0, scale.level, torch.ones_like(scale.level))
        unit = level[:, None, None]
        scale = Scale(scale.noise / level, scale.level / level, scale.energy / level**2)
        adjoint = adjoint / unit
        with torch.no_grad():
            image = self.least_squares(adjoint, operator) if least_squares is None else least_squares / unit
            conditions = describe(image, adjoint, operator, scale)
            n = self.config.start_iterations
            weight = START_LEVEL * scale.level + START_NOISE * scale.noise
            start = wavelet_sense(operator, adjoint, weight, n, image) if n else image
        return _Given(operator, adjoint, conditions, start, unit)

    def _stage(self, stage: nn.Module, image: Tensor, given: _Given, term: LesionTerm) -> StageOutput:
        output: StageOutput = stage(
            image, given.operator, given.adjoint, given.conditions, given.start, self.classifier, term
        )
        return output


class _Given(NamedTuple):
    """What every stage sees, in units of the brightest tissue, and that ``unit`` f32 (b, 1, 1)."""

    operator: SenseOp
    adjoint: Tensor
    conditions: Tensor
    start: Tensor
    unit: Tensor


def _acted(output: StageOutput, term: LesionTerm) -> bool:
    """Whether the image of a stage may differ from what it is with the lesion term off."""
    if output.slice_logits is None or output.activation is None:
        return False
    return bool(term.guide(output.slice_logits, output.activation).any())
