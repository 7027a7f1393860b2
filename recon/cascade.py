"""The LF-MRI cascade: T stages of denoising, lesion focusing and data consistency.

[paper] eq. (2): ``argmin 1/2 |A X - Y|^2 + mu1 |N(X)|^2 + mu2 |H(X)|^2``, alternating optimisation
unrolled into T stages; a stage is D_w, the lesion-focused module, then data consistency.
[our reading] ``N(X) = X - D_w(X)``, ``H(X) = C (X - G_u(Z, C))`` with ``Z = D_w(X)`` and C the
activation map of Net_c on |Z|, so a stage ends by solving

    (A^H A + mu1 + mu2 C^2) X = A^H Y + mu1 Z + mu2 C^2 L,    L = G_u(Z, C).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from lfmri_node.recon.denoiser import Denoiser, DenoiserConfig
from lfmri_node.recon.lesion import ClassifierConfig, LesionClassifier, activation_map
from lfmri_node.recon.operators import SenseOp
from lfmri_node.recon.solvers import conjugate_gradient
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
        (mu1, mu2) before training.
    start_mu
        Weight of the CG-SENSE image that the first stage starts from.
    denoiser
        Body of D_w and of G_u.
    tied
        [our reading] G_u is the body of D_w, which then sees an empty map as its guide. A lesion fills few
        pixels of few slices, from which a body of its own learns little in a short training.
    """

    n_stages: int = 4
    n_cg: int = 5
    initial_mu: tuple[float, float] = (0.1, 0.1)
    start_mu: float = 0.03
    denoiser: DenoiserConfig = field(default_factory=DenoiserConfig)
    tied: bool = False
    classifier: ClassifierConfig = field(default_factory=ClassifierConfig)


class StageOutput(NamedTuple):
    """Image c64 (b, r, p) after data consistency; slice logits (b, k); activation f32 (b, k, r, p)."""

    image: Tensor
    slice_logits: Tensor | None
    activation: Tensor | None


class _RegularisedSolve(torch.autograd.Function):
    """x = (A^H A + w)^-1 b by conjugate gradient; gradients by solving the same system once more.

    The system is Hermitian, so with g the gradient of x and ``lam = (A^H A + w)^-1 g`` the gradient of
    b is lam and that of w is ``-Re(conj(lam) x)`` (Aggarwal et al., MoDL, IEEE TMI 38 (2019) 394);
    that of a mask that is learned is ``-Re(conj(F S lam) F S x)``. Nothing of the iterations is
    kept, which halves time and memory of a training step.
    """

    @staticmethod
    def forward(
        ctx: Any, right: Tensor, weight: Tensor, mask: Tensor, start: Tensor, operator: SenseOp, n: int
    ) -> Tensor:
        solution = conjugate_gradient(lambda x: operator.gram(x) + weight * x, right, start, n)
        ctx.save_for_backward(solution, weight)
        ctx.operator, ctx.n = operator, n
        return solution

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, Tensor | None, None, None, None]:
        solution, weight = ctx.saved_tensors
        gradient = gradients[0]
        lam = conjugate_gradient(
            lambda x: ctx.operator.gram(x) + weight * x, gradient, torch.zeros_like(gradient), ctx.n
        )
        weight_gradient = -(lam.conj() * solution).real
        mask_gradient = -ctx.operator.gram_mask_gradient(lam, solution) if ctx.needs_input_grad[2] else None
        return lam, weight_gradient.sum_to_size(weight.shape), mask_gradient, None, None, None


def data_consistency(
    operator: SenseOp, right: Tensor, weight: Tensor, start: Tensor, n_iterations: int
) -> Tensor:
    """Solve ``(A^H A + weight) X = right`` by ``n_iterations`` steps from ``start``.

    Parameters
    ----------
    right, start
        c64 (b, r, p).
    weight
        f32, positive, broadcast against the image: mu1 + mu2 C^2.

    Differentiable by ``right``, ``weight`` and, where it asks for it, the mask of ``operator``.
    """
    return cast(Tensor, _RegularisedSolve.apply(right, weight, operator.mask, start, operator, n_iterations))


class Stage(nn.Module):
    """One stage: Z = D_w(X); C, L = Net_c(|Z|), G_u(Z, C); data consistency."""

    def __init__(self, config: CascadeConfig) -> None:
        super().__init__()
        self.tied = config.tied
        self.denoise = Denoiser(config.denoiser, guided=config.tied)
        self.focus = nn.Identity() if config.tied else Denoiser(config.denoiser, guided=True)
        start = torch.tensor(config.initial_mu)
        self.raw_mu = nn.Parameter(torch.log(torch.expm1(start)))
        self.n_cg = config.n_cg

    @property
    def mu(self) -> Tensor:
        """(mu1, mu2), positive."""
        return functional.softplus(self.raw_mu)

    def forward(
        self,
        image: Tensor,
        operator: SenseOp,
        adjoint: Tensor,
        classifier: nn.Module,
        weighting: LesionWeighting,
        gate: float = 0.0,
    ) -> StageOutput:
        mu1, mu2 = self.mu
        denoised = self.denoise(image)
        plain = adjoint + mu1 * denoised
        if weighting is LesionWeighting.OFF:
            solved = data_consistency(operator, plain, mu1, denoised.detach(), self.n_cg)
            return StageOutput(solved, None, None)
        # [our reading] the classifier may not bend the denoiser to its own ends: no gradient from it to D_w
        logits, logit_map = classifier(denoised.detach().abs()[:, None])
        activation = activation_map(logits, logit_map, (image.shape[-2], image.shape[-1]))
        if weighting is LesionWeighting.UNIFORM:
            guide = torch.ones_like(activation[:, :1])
        else:
            suspected = torch.sigmoid(logits) >= gate
            guide = (activation * suspected[:, :, None, None]).amax(dim=1, keepdim=True)
            if not suspected.any():
                solved = data_consistency(operator, plain, mu1, denoised.detach(), self.n_cg)
                return StageOutput(solved, logits, activation)
        focused = (self.denoise if self.tied else self.focus)(denoised, guide)
        weight = mu2 * guide[:, 0] ** 2
        right = plain + weight * focused
        solved = data_consistency(operator, right, mu1 + weight, denoised.detach(), self.n_cg)
        return StageOutput(solved, logits, activation)


class Cascade(nn.Module):
    """LF-MRI. [paper] one Net_c; [our reading] shared by all stages.

    ``forward`` starts at CG-SENSE, ``X0 = (A^H A + start_mu)^-1 A^H Y`` [our reading: with a zero-filled
    start the first stage learns what linear algebra already knows], and returns every stage's output.
    """

    def __init__(self, config: CascadeConfig) -> None:
        super().__init__()
        self.config = config
        self.stages = nn.ModuleList(Stage(config) for _ in range(config.n_stages))
        self.classifier = LesionClassifier(config.classifier)

    def forward(
        self,
        adjoint: Tensor,
        operator: SenseOp,
        weighting: LesionWeighting = LesionWeighting.FOCUSED,
        gate: float = 0.0,
    ) -> list[StageOutput]:
        """Reconstruct from ``adjoint`` = A^H Y c64 (b, r, p), of any scale.

        In a stage where the score of a slice stays below ``gate`` the lesion term of that slice is off:
        G_u is not even run where that holds for all slices. Zero, as in training, gates nothing.
        """
        outputs: list[StageOutput] = []
        weight = torch.tensor(self.config.start_mu)
        image = data_consistency(operator, adjoint, weight, torch.zeros_like(adjoint), self.config.n_cg)
        for stage in self.stages:
            outputs.append(stage(image, operator, adjoint, self.classifier, weighting, gate))
            image = outputs[-1].image
        return outputs
