"""Learned rivals in the image domain: U-Net, ISTA-Net+ and MoDL, small and from their papers.

Each maps a `Measurement` to a list of `StageOutput` (no classifier, so no logits and no activation), the
last one final. Each starts as (almost) the identity around A^H Y and takes the scale of a slice out
before its convolutions and puts it back after them, as LF-MRI does. E2E-VarNet is in `varnet`.
"""

from __future__ import annotations

import math
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from lfmri_node.recon.method.cascade import StageOutput, data_consistency
from lfmri_node.recon.method.denoiser import Denoiser, DenoiserConfig, slice_scale, smooth_phase
from lfmri_node.recon.train.measurement import Measurement, conditions_of


class UNet(nn.Module):
    """One residual U-Net on A^H Y, without data consistency.

    Source: Zbontar et al., fastMRI, arXiv 1811.08839. Ours sees the complex coil-combined
    image instead of its magnitude and has the blocks of `recon.denoiser`.

    Parameters
    ----------
    channels
        Feature channels at each resolution, finest first.
    """

    def __init__(self, channels: tuple[int, ...]) -> None:
        super().__init__()
        self.denoise = Denoiser(DenoiserConfig(channels=channels, demodulate=True), n_images=1, guided=False)

    def forward(self, measurement: Measurement) -> list[StageOutput]:
        """One output, c64 (b, r, p)."""
        return [StageOutput(self.denoise(measurement.adjoint, conditions_of(measurement)), None, None)]


class MoDL(nn.Module):
    """``X <- (A^H A + lambda)^-1 (A^H Y + lambda D(X))``, ``n_stages`` times with one D and one lambda.

    Source: Aggarwal, Mani, Jacob, MoDL, IEEE TMI 38 (2019) 394: weights shared by all stages, data
    consistency by conjugate gradient inside the network, lambda learned. The U-Net of
    `recon.denoiser` stands for its five convolutions.

    Parameters
    ----------
    n_stages
        Repetitions; they add no parameter.
    channels
        Feature channels of D at each resolution, finest first.
    n_cg
        Conjugate-gradient steps of each stage, started at D(X).
    """

    INITIAL_LAMBDA = 0.05

    def __init__(self, n_stages: int, channels: tuple[int, ...], n_cg: int) -> None:
        super().__init__()
        self.n_stages, self.n_cg = n_stages, n_cg
        self.denoise = Denoiser(DenoiserConfig(channels=channels, demodulate=True), n_images=1, guided=False)
        self.raw_lambda = nn.Parameter(torch.tensor(math.log(math.expm1(self.INITIAL_LAMBDA))))

    @property
    def penalty(self) -> Tensor:
        """lambda, positive."""
        return functional.softplus(self.raw_lambda)

    def forward(self, measurement: Measurement) -> list[StageOutput]:
        """One output a stage, c64 (b, r, p); starts at A^H Y as the paper does."""
        image, outputs, conditions = measurement.adjoint, [], conditions_of(measurement)
        for _ in range(self.n_stages):
            denoised = self.denoise(image, conditions)
            right = measurement.adjoint + self.penalty * denoised
            image = data_consistency(measurement.operator, right, self.penalty, denoised.detach(), self.n_cg)
            outputs.append(StageOutput(image, None, None))
        return outputs


def soft_threshold(x: Tensor, threshold: Tensor) -> Tensor:
    """``sign(x) max(|x| - threshold, 0)`` for a real tensor and a threshold >= 0."""
    return functional.relu(x - threshold) - functional.relu(-x - threshold)


def _convolution(n_in: int, n_out: int) -> nn.Conv2d:
    return nn.Conv2d(n_in, n_out, 3, padding=1, bias=False)


class IstaStage(nn.Module):
    """``r = X - rho A^H (A X - Y)``, then ``X = r + G(H~(soft(H(D(r)), theta)))``; all without biases."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.step = nn.Parameter(torch.tensor(1.0))  # 1 / Lipschitz constant of A with unit-norm maps
        self.raw_threshold = nn.Parameter(torch.tensor(math.log(math.expm1(0.01))))
        self.lift = _convolution(2, channels)
        self.transform = nn.Sequential(
            _convolution(channels, channels), nn.ReLU(), _convolution(channels, channels)
        )
        self.inverse = nn.Sequential(
            _convolution(channels, channels), nn.ReLU(), _convolution(channels, channels)
        )
        self.lower = _convolution(channels, 2)
        nn.init.zeros_(self.lower.weight)

    @property
    def threshold(self) -> Tensor:
        """theta, positive, in units of the slice's scale."""
        return functional.softplus(self.raw_threshold)

    def forward(
        self, image: Tensor, measurement: Measurement, scale: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Next image c64 (b, r, p); D(r) and H(D(r)), f32 (b, channels, r, p), for the symmetry loss."""
        residual = measurement.operator.gram(image) - measurement.adjoint
        descended = image - self.step * residual
        phase = smooth_phase(descended)
        lifted = self.lift(torch.view_as_real(descended / scale * phase.conj()).movedim(-1, 1))
        transformed = self.transform(lifted)
        sparse = soft_threshold(transformed, self.threshold)
        added = self.lower(self.inverse(sparse)).movedim(1, -1).to(torch.float32).contiguous()
        return descended + scale * phase * torch.view_as_complex(added), lifted, transformed


class IstaNetPlus(nn.Module):
    """Unrolled proximal gradient with learned, nearly invertible transforms; weights of each stage apart.

    Source: Zhang and Ghanem, ISTA-Net, CVPR 2018 (the variant ISTA-Net+), with A multi-coil and the
    image as two real channels. G starts at zero, so an untrained network is gradient descent on
    ``1/2 |A X - Y|^2`` from A^H Y; the step starts at 1 instead of 0.5 because |A| <= 1.

    Parameters
    ----------
    n_stages
        Repetitions (nine in the paper).
    channels
        Feature channels of D, H and H~ (32 in the paper).
    """

    def __init__(self, n_stages: int, channels: int) -> None:
        super().__init__()
        self.stages = nn.ModuleList(IstaStage(channels) for _ in range(n_stages))

    def forward(self, measurement: Measurement) -> list[StageOutput]:
        """One output a stage, c64 (b, r, p)."""
        return self._run(measurement, symmetry=False)[0]

    def with_symmetry(self, measurement: Measurement) -> tuple[list[StageOutput], Tensor]:
        """Outputs, and the mean over stages of ``mean (H~(H(D r)) - D r)^2`` (the paper weighs it 0.01)."""
        return self._run(measurement, symmetry=True)

    def _run(self, measurement: Measurement, *, symmetry: bool) -> tuple[list[StageOutput], Tensor]:
        image, outputs = measurement.adjoint, []
        scale = slice_scale(image)
        penalty = torch.zeros((), device=image.device)
        for module in self.stages:
            stage = cast(IstaStage, module)
            image, lifted, transformed = stage(image, measurement, scale)
            outputs.append(StageOutput(image, None, None))
            if symmetry:
                penalty = penalty + functional.mse_loss(stage.inverse(transformed), lifted)
        return outputs, penalty / len(self.stages)
