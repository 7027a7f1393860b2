"""The learned rivals, each by what defines it in its paper."""

import dataclasses
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from lfmri_node.recon.method.cascade import Cascade, CascadeConfig
from lfmri_node.recon.method.conditions import N_CONDITIONS, Scale, describe
from lfmri_node.recon.method.denoiser import smooth_phase
from lfmri_node.recon.sense.operators import SenseOp, fft_centred, ifft_centred
from lfmri_node.recon.train.measurement import Measurement, conditions_of, undersample
from lfmri_node.recon.train.rivals import IstaNetPlus, MoDL, UNet, soft_threshold
from lfmri_node.recon.train.varnet import KspaceCascade, SensitivityNet, VarNet, centre_weight

RIVALS: dict[str, Callable[[], nn.Module]] = {
    "u-net": lambda: UNet((8, 8)),
    "ista-net+": lambda: IstaNetPlus(3, 8),
    "modl": lambda: MoDL(2, (8, 8), 6),
    "e2e-varnet": lambda: VarNet(2, (8, 8), (4, 4)),
}
UNKNOWN = torch.zeros(2, N_CONDITIONS)


def lines_mask(batch: int, n: int) -> Tensor:
    """bool (b, n): six lines around n // 2, half of the others."""
    sampled = torch.rand(batch, n) > 0.5
    sampled[:, n // 2 - 3 : n // 2 + 3] = True
    return sampled


def smooth_maps(batch: int, n_coils: int, shape: tuple[int, int]) -> Tensor:
    """c64 (b, c, r, p) of unit sum of squares, made of the lowest frequencies."""
    spectrum = torch.zeros(batch, n_coils, *shape, dtype=torch.complex64)
    r, p = shape[0] // 2, shape[1] // 2
    spectrum[..., r - 1 : r + 2, p - 1 : p + 2] = torch.randn(batch, n_coils, 3, 3, dtype=torch.complex64)
    maps = ifft_centred(spectrum)
    return maps / torch.linalg.vector_norm(maps, dim=1, keepdim=True)


def measurement_of(
    shape: tuple[int, int] = (24, 20), batch: int = 2, *, sampled: Tensor | None = None, scale: float = 1.0
) -> tuple[Measurement, Tensor]:
    """Measurement and the image behind it."""
    torch.manual_seed(0)
    maps = smooth_maps(batch, 4, shape)
    sampled = lines_mask(batch, shape[1]) if sampled is None else sampled
    image = scale * torch.randn(batch, *shape, dtype=torch.complex64)
    noise, level = torch.full((batch,), 0.02 * scale), torch.full((batch,), 2.0 * scale)
    return undersample(fft_centred(maps * image[:, None]), sampled, maps, noise, level), image


def filled(network: nn.Module) -> nn.Module:
    """Output layers start at zero: fill them, so that the bodies do something."""
    torch.manual_seed(1)
    for parameter in network.parameters():
        if torch.all(parameter == 0):
            nn.init.normal_(parameter, std=0.02)
    return network.eval()


def single(measurement: Measurement, index: int) -> Measurement:
    part = slice(index, index + 1)
    return Measurement(
        kspace=measurement.kspace[part],
        sampled=measurement.sampled[part],
        operator=SenseOp(measurement.operator.maps[part], measurement.sampled[part]),
        adjoint=measurement.adjoint[part],
        scale=Scale(*(value[part] for value in measurement.scale)),
    )


class TestEveryRival:
    @pytest.mark.parametrize("name", RIVALS)
    @pytest.mark.parametrize("shape", [(24, 20), (17, 15)])
    def test_keeps_any_size_and_gives_the_image_alone(self, name, shape):
        measurement, _ = measurement_of(shape)
        outputs = filled(RIVALS[name]())(measurement)
        assert all(o.image.shape == (2, *shape) and o.image.dtype == torch.complex64 for o in outputs)
        assert all(o.slice_logits is None and o.activation is None for o in outputs)

    @pytest.mark.parametrize("name", RIVALS)
    def test_the_scale_of_the_data_is_the_scale_of_the_image(self, name):
        network = filled(RIVALS[name]())
        one = network(measurement_of()[0])[-1].image
        for unit in (500.0, 1e-5):  # the magnitudes of fastMRI
            many = network(measurement_of(scale=unit)[0])[-1].image
            torch.testing.assert_close(many / unit, one, rtol=1e-3, atol=1e-3)

    @pytest.mark.parametrize("name", RIVALS)
    def test_zero_data_give_a_zero_image_and_finite_gradients(self, name):
        network = filled(RIVALS[name]())
        image = network(measurement_of(scale=0.0)[0])[-1].image
        assert image.abs().max() < 1e-5
        image.abs().square().sum().backward()
        assert all(torch.isfinite(p.grad).all() for p in network.parameters() if p.grad is not None)

    @pytest.mark.parametrize("name", RIVALS)
    def test_slices_of_a_batch_do_not_see_each_other(self, name):
        network = filled(RIVALS[name]())
        measurement, _ = measurement_of()
        together = network(measurement)[-1].image
        for index in range(2):
            alone = network(single(measurement, index))[-1].image
            torch.testing.assert_close(together[index : index + 1], alone, rtol=1e-4, atol=1e-4)

    @pytest.mark.parametrize("name", RIVALS)
    def test_every_parameter_learns(self, name):
        network = filled(RIVALS[name]())
        measurement, image = measurement_of()
        sum((o.image - image).abs().square().mean() for o in network(measurement)).backward()
        still = [n for n, p in network.named_parameters() if p.grad is None or not p.grad.any()]
        # the first cascade of VarNet starts at the data: nothing to pull there
        assert still == (["cascades.0.eta"] if name == "e2e-varnet" else [])

    @pytest.mark.parametrize("name", ["u-net", "modl", "e2e-varnet"])
    def test_is_told_of_the_measurement_as_lf_mri_is(self, name):
        """ISTA-Net+ has no body of ours that could be told."""
        network = filled(RIVALS[name]())
        measurement, _ = measurement_of()
        louder = measurement.scale._replace(noise=5 * measurement.scale.noise)
        other = dataclasses.replace(measurement, scale=louder)
        assert not torch.equal(network(measurement)[-1].image, network(other)[-1].image)

    @pytest.mark.parametrize("name", RIVALS)
    def test_every_tensor_is_made_on_the_device_of_the_data(self, name):
        """What names no device is made on the meta device here, and cannot be mixed with the data."""
        network = filled(RIVALS[name]())
        measurement, _ = measurement_of()
        expected = network(measurement)[-1].image
        with torch.device("meta"):
            result = network(measurement)[-1].image
        assert torch.equal(result, expected)

    @pytest.mark.parametrize("name", RIVALS)
    def test_lowers_its_loss_within_a_few_updates(self, name):
        network = RIVALS[name]()
        measurement, image = measurement_of()
        optimiser = torch.optim.Adam(network.parameters(), lr=3e-3)
        losses = []
        for _ in range(12):
            loss = (network(measurement)[-1].image - image).abs().square().mean()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            losses.append(loss.item())
        assert losses[-1] < 0.97 * losses[0]

    @pytest.mark.parametrize("name", RIVALS)
    def test_takes_a_mask_of_points(self, name):
        sampled = torch.rand(2, 24, 20) > 0.4
        sampled[:, 9:15, 7:13] = True
        measurement, _ = measurement_of(sampled=sampled)
        image = filled(RIVALS[name]())(measurement)[-1].image
        assert torch.isfinite(torch.view_as_real(image)).all()

    @pytest.mark.parametrize("name", ["ista-net+", "modl"])
    def test_untrained_the_residual_of_the_data_falls_from_the_adjoint(self, name):
        measurement, _ = measurement_of()
        image = RIVALS[name]().eval()(measurement)[-1].image
        operator, kspace = measurement.operator, measurement.kspace
        before = torch.linalg.vector_norm(operator(measurement.adjoint) - kspace)
        assert torch.linalg.vector_norm(operator(image) - kspace) < 0.8 * before


def test_conditions_are_those_that_the_cascade_measures():
    """From the image that it starts at: CG-SENSE with the same weight and the same number of steps."""
    measurement, _ = measurement_of()
    told: list[Tensor] = []
    cascade = Cascade(CascadeConfig(n_stages=1, start_iterations=0))
    cascade.stages[0].register_forward_pre_hook(lambda _, given: told.append(given[3]))
    cascade(measurement.adjoint, measurement.operator, measurement.scale)
    torch.testing.assert_close(conditions_of(measurement), told[0], rtol=0, atol=1e-5)
    image = torch.zeros_like(measurement.adjoint)
    without = describe(image, measurement.adjoint, measurement.operator, measurement.scale)
    torch.testing.assert_close(told[0][:, :3], without[:, :3])


class TestUNet:
    def test_sees_the_adjoint_alone(self):
        measurement, _ = measurement_of()
        other = Measurement(
            kspace=torch.randn_like(measurement.kspace),
            sampled=~measurement.sampled,
            operator=measurement.operator,
            adjoint=measurement.adjoint,
            scale=measurement.scale,
        )
        network = filled(UNet((8, 8)))
        assert torch.equal(network(measurement)[-1].image, network(other)[-1].image)

    def test_untrained_is_the_zero_filled_image(self):
        measurement, _ = measurement_of()
        assert torch.equal(UNet((8, 8))(measurement)[-1].image, measurement.adjoint)


class TestMoDL:
    def test_stages_share_their_weights(self):
        def count(n_stages: int) -> int:
            return sum(p.numel() for p in MoDL(n_stages, (8, 8), 4).parameters())

        assert count(1) == count(7)

    def test_with_an_identity_denoiser_a_stage_is_the_proximal_solution(self):
        """Closed form per slice: A as a dense matrix, solved directly, applied twice."""
        measurement, _ = measurement_of((6, 8), batch=1)
        network = MoDL(2, (8, 8), 60).eval()  # an untrained body adds exactly nothing
        basis = torch.eye(48, dtype=torch.complex64).reshape(48, 6, 8)
        matrix = torch.stack([measurement.operator(e[None]).flatten() for e in basis], dim=1)
        penalty = network.penalty.detach()
        system = matrix.mH @ matrix + penalty * torch.eye(48)
        adjoint = matrix.mH @ measurement.kspace.flatten()
        expected = adjoint
        for output in network(measurement):
            expected = torch.linalg.solve(system, adjoint + penalty * expected)
            torch.testing.assert_close(output.image.flatten(), expected, rtol=1e-3, atol=1e-3)


class TestIstaNetPlus:
    def test_soft_threshold_has_its_closed_form(self):
        x = torch.tensor([-3.0, -1.0, -0.2, 0.0, 0.4, 1.0, 2.5])
        expected = torch.tensor([-2.5, -0.5, 0.0, 0.0, 0.0, 0.5, 2.0])
        torch.testing.assert_close(soft_threshold(x, torch.tensor(0.5)), expected)
        assert torch.equal(soft_threshold(x, torch.tensor(0.0)), x)

    def test_without_the_learned_residual_is_gradient_descent_on_the_data(self):
        """The descent direction is the gradient that autograd finds for 1/2 |A X - Y|^2."""
        measurement, _ = measurement_of()
        expected = measurement.adjoint
        network = IstaNetPlus(3, 8)  # G starts at zero
        for step, (output, stage) in enumerate(zip(network(measurement), network.stages, strict=True)):
            assert step == 0 or not torch.equal(output.image, expected)
            x = expected.detach().requires_grad_()
            residual = measurement.operator(x) - measurement.kspace
            (0.5 * residual.abs().square().sum()).backward()
            expected = x.detach() - stage.step.detach() * x.grad
            torch.testing.assert_close(output.image, expected, rtol=1e-4, atol=1e-5)

    def test_with_identity_transforms_and_no_threshold_adds_its_projection(self):
        measurement, _ = measurement_of()
        network = filled(IstaNetPlus(1, 8))
        stage = network.stages[0]
        descended = measurement.adjoint - (
            measurement.operator.gram(measurement.adjoint) - measurement.adjoint
        )
        stage.transform, stage.inverse = nn.Identity(), nn.Identity()
        nn.init.constant_(stage.raw_threshold, -60.0)
        phase = smooth_phase(descended)
        channels = torch.view_as_real(descended * phase.conj()).movedim(-1, 1)
        added = stage.lower(stage.lift(channels)).movedim(1, -1).contiguous()
        outputs, penalty = network.with_symmetry(measurement)
        expected = descended + phase * torch.view_as_complex(added)
        torch.testing.assert_close(outputs[-1].image, expected, rtol=1e-4, atol=1e-5)
        assert penalty == 0

    def test_symmetry_is_the_distance_from_inverse_after_transform_to_the_identity(self):
        measurement, _ = measurement_of()
        network = filled(IstaNetPlus(2, 8))
        outputs, penalty = network.with_symmetry(measurement)
        assert torch.equal(outputs[-1].image, network(measurement)[-1].image)
        optimiser = torch.optim.Adam(network.parameters(), lr=1e-2)
        for _ in range(15):
            loss = network.with_symmetry(measurement)[1]
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        assert loss < 0.7 * penalty
        for stage in network.stages:
            stage.inverse = nn.Sequential(stage.inverse, nn.Threshold(1e9, 0.0))  # H~ = 0: |D r|^2 is left
        single_stage = IstaNetPlus(1, 8)
        single_stage.stages[0] = network.stages[0]
        scale = measurement.adjoint.abs().square().mean((1, 2), keepdim=True).sqrt()
        first = single_stage(measurement)[-1].image / scale
        turned = first * smooth_phase(first).conj()
        lifted = network.stages[0].lift(torch.view_as_real(turned).movedim(-1, 1))
        expected = lifted.square().mean()
        torch.testing.assert_close(single_stage.with_symmetry(measurement)[1], expected, rtol=1e-3, atol=1e-6)


class TestVarNet:
    def test_measured_lines_enter_by_soft_data_consistency(self):
        """Without refinement, k - eta M (k - Y): a line moves by the fraction eta towards its data."""
        measurement, _ = measurement_of()
        mask, data = measurement.operator.mask, measurement.kspace
        k = torch.randn_like(data)
        cascade = KspaceCascade((8, 8))
        for eta in (1.0, 0.3):
            nn.init.constant_(cascade.eta, eta)
            after = cascade(k, data, mask, measurement.operator.maps, UNKNOWN, (-2, -1))
            expected = torch.where(mask > 0, (1 - eta) * k + eta * data, k)
            torch.testing.assert_close(after, expected, rtol=1e-4, atol=1e-5)

    def test_refinement_enters_every_line_through_the_maps(self):
        measurement, image = measurement_of()
        mask, maps = measurement.operator.mask, measurement.operator.maps
        cascade = filled(KspaceCascade((8, 8)))
        k = fft_centred(maps * image[:, None])
        change = cascade(k, mask * k, mask, maps, UNKNOWN, (-2, -1)) - k
        expected = fft_centred(maps * (cascade.refine(image, UNKNOWN) - image)[:, None])
        torch.testing.assert_close(change, expected, rtol=1e-3, atol=1e-4)

    def test_full_data_without_refinement_give_the_combined_image(self):
        measurement, image = measurement_of(sampled=torch.ones(2, 20))
        torch.testing.assert_close(RIVALS["e2e-varnet"]()(measurement)[-1].image, image, rtol=1e-4, atol=1e-5)

    @pytest.mark.parametrize("points", [False, True])
    def test_lines_and_the_same_points_give_the_same_image(self, points):
        network = filled(RIVALS["e2e-varnet"]())
        sampled = lines_mask(2, 20)
        lines, _ = measurement_of(sampled=sampled)
        full = torch.ones(2, 20)
        for given in (sampled, full) if points else (full,):
            lines, _ = measurement_of(sampled=given)
            same, _ = measurement_of(sampled=given[:, None, :].expand(2, 24, 20))
            if given is sampled:  # the centre of a point mask is a box: compare where it is the whole readout
                assert torch.equal(centre_weight(same.sampled)[:, 0, 12], centre_weight(given)[:, 0, 0])
            torch.testing.assert_close(
                network(lines)[-1].image, network(same)[-1].image, rtol=1e-3, atol=1e-4
            )

    def test_maps_have_unit_sum_of_squares(self):
        torch.manual_seed(0)
        maps = filled(SensitivityNet((4, 4)))(torch.randn(2, 5, 17, 14, dtype=torch.complex64), UNKNOWN)
        torch.testing.assert_close(maps.abs().square().sum(1), torch.ones(2, 17, 14), rtol=1e-4, atol=1e-4)

    def test_untrained_maps_are_those_of_smooth_coils(self):
        """Coil images of the centre over their root sum of squares: the coils times the image's phase."""
        torch.manual_seed(0)
        maps = smooth_maps(1, 4, (32, 32))
        estimated = SensitivityNet((4, 4))(2.0 * maps, UNKNOWN[:1])
        torch.testing.assert_close(estimated, maps, rtol=1e-3, atol=1e-3)

    def test_only_the_centre_lines_feed_the_maps(self):
        sampled = torch.zeros(3, 9)
        sampled[0, [0, 3, 4, 5, 8]] = 1
        sampled[1, [2, 3, 4, 5, 7]] = 1
        sampled[2, 5] = 1
        runs = [torch.nonzero(w).flatten().tolist() for w in centre_weight(sampled)[:, 0, 0]]
        assert runs == [[3, 4], [2, 3, 4, 5], []]
