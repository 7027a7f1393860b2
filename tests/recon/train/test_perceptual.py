"""The perceptual loss: what it measures, what it leaves alone, whose features it takes."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from lfmri_node.recon.errors import LabError
from lfmri_node.recon.method.lesion import ClassifierConfig, tissue
from lfmri_node.recon.train.classifiers import FAMILIES, build_classifier
from lfmri_node.recon.train.perceptual import PerceptualLoss, vgg16

CONFIG = ClassifierConfig(channels=(8, 16))


def images(seed: int = 0) -> tuple[Tensor, Tensor]:
    """Image and truth c64 (2, 24, 20)."""
    generator = torch.Generator().manual_seed(seed)
    target = torch.randn(2, 24, 20, dtype=torch.complex64, generator=generator)
    return target + 0.3 * torch.randn(2, 24, 20, dtype=torch.complex64, generator=generator), target


def loss_of(family: str = "compact") -> PerceptualLoss:
    torch.manual_seed(0)
    return PerceptualLoss(build_classifier(family, CONFIG))


@pytest.mark.parametrize("family", FAMILIES)
def test_is_zero_for_the_truth_and_grows_with_the_error(family: str) -> None:
    loss, (image, target) = loss_of(family), images()
    values = [loss(target + share * (image - target), target).item() for share in (0.0, 0.3, 1.0)]
    assert values[0] == 0
    assert values[0] < values[1] < values[2]


@pytest.mark.parametrize("family", FAMILIES)
def test_compares_the_resolutions_of_its_features(family: str) -> None:
    sizes = [tuple(level.shape[-2:]) for level in loss_of(family).levels(torch.rand(1, 1, 24, 20))]
    assert sizes == [(24, 20), (12, 10), (6, 5)][-len(sizes) :]
    assert len(sizes) == (3 if family == "resnet" else 2)


def test_its_value_is_the_mean_relative_distance_of_features() -> None:
    """One step that doubles: |2 |X| - 2 |gt|| / |2 |gt||, whatever both are divided by."""
    image, target = images()
    double = nn.Conv2d(1, 1, 1, bias=False)
    nn.init.constant_(double.weight, 2.0)
    scale = tissue(target.abs()[:, None]).level[:, 0]
    errors, truths = (image.abs() - target.abs()).abs() / scale, target.abs() / scale
    expected = errors.mean() / truths.mean()
    torch.testing.assert_close(PerceptualLoss(nn.Sequential(double))(image, target), expected)


def test_a_common_scale_is_left_alone_and_an_error_of_scale_is_not() -> None:
    loss, (image, target) = loss_of(), images()
    torch.testing.assert_close(loss(90 * image, 90 * target), loss(image, target), rtol=1e-4, atol=1e-5)
    assert loss(2 * target, target) > 0.1


def test_phase_is_left_alone() -> None:
    loss, (_, target) = loss_of(), images()
    assert loss(1j * target, target) < 1e-6


def test_gradient_reaches_the_image_and_not_the_features() -> None:
    loss, (image, target) = loss_of(), images()
    image.requires_grad_()
    loss(image, target).backward()
    assert torch.isfinite(torch.view_as_real(image.grad)).all()
    assert image.grad.abs().max() > 0
    assert all(p.grad is None and not p.requires_grad for p in loss.parameters())


def test_a_zero_image_has_a_finite_gradient() -> None:
    loss, (_, target) = loss_of(), images()
    image = torch.zeros_like(target).requires_grad_()
    loss(image, target).backward()
    assert torch.isfinite(torch.view_as_real(image.grad)).all()


def test_training_around_it_changes_nothing_and_net_c_stays_free() -> None:
    classifier = build_classifier("resnet", CONFIG).train()
    loss, (image, target) = PerceptualLoss(classifier), images()
    network = nn.ModuleDict({"classifier": classifier, "loss": loss}).train()
    before = loss(image, target)
    state = {name: value.clone() for name, value in loss.state_dict().items()}
    classifier(image.abs()[:, None])  # moves the statistics of its batch norms
    assert torch.equal(loss(image, target), before)
    assert all(torch.equal(value, state[name]) for name, value in network["loss"].state_dict().items())
    assert all(p.requires_grad for p in classifier.parameters())


def test_what_has_no_steps_is_refused() -> None:
    with pytest.raises(TypeError, match="Sequential"):
        PerceptualLoss(nn.Conv2d(1, 1, 1))


class TestVgg:
    WIDTHS = (64, 64, 128, 128, 256, 256, 256, 512, 512, 512)
    INDEX = (0, 2, 5, 7, 10, 12, 14, 17, 19, 21)

    @pytest.fixture
    def state(self) -> dict[str, Tensor]:
        """What every VGG-16 file begins with; layers beyond it and the head are ignored."""
        generator = torch.Generator().manual_seed(0)
        state, n_in = {"classifier.0.bias": torch.zeros(2)}, 3
        for index, width in zip(self.INDEX, self.WIDTHS, strict=True):
            weight = torch.randn(width, n_in, 3, 3, generator=generator) / (9 * n_in / 2) ** 0.5
            state |= {f"features.{index}.weight": weight, f"features.{index}.bias": torch.zeros(width)}
            n_in = width
        return state

    @pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
    def test_features_of_a_users_weights(self, tmp_path: Path, state: dict[str, Tensor], suffix: str) -> None:
        path = tmp_path / f"vgg16{suffix}"
        save_file(state, path) if suffix == ".safetensors" else torch.save(state, path)
        loss, (image, target) = PerceptualLoss(vgg16(path)), images()
        levels = loss.levels(torch.rand(1, 1, 24, 20))
        assert [level.shape[1] for level in levels] == [64, 128, 256, 512]
        assert [level.shape[2] for level in levels] == [24, 12, 6, 3]
        grey = torch.rand(1, 1, 24, 20)
        colours = (grey - torch.tensor([0.485, 0.456, 0.406])[:, None, None]) / torch.tensor(
            [0.229, 0.224, 0.225]
        )[:, None, None]
        one = torch.conv2d(colours, state["features.0.weight"], padding=1).relu()
        two = torch.conv2d(one, state["features.2.weight"], padding=1).relu()
        torch.testing.assert_close(loss.levels(grey)[0], two, rtol=1e-4, atol=1e-4)
        assert loss(target, target) == 0 < loss(image, target)

    def test_other_files_are_refused(self, tmp_path: Path, state: dict[str, Tensor]) -> None:
        short = {name: value for name, value in state.items() if not name.startswith("features.21")}
        save_file(short, tmp_path / "short.safetensors")
        (tmp_path / "text.pth").write_text("no weights")
        torch.save([1, 2], tmp_path / "list.pth")
        for name in ("short.safetensors", "text.pth", "list.pth", "absent.pth", "absent.safetensors"):
            with pytest.raises(LabError, match=f"LF-LAB-031.*{name}"):
                vgg16(tmp_path / name)
