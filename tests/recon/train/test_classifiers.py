"""The families of Net_c: one interface, one head, local maps; each learns from image-level labels."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from lfmri_node.recon.errors import LabError
from lfmri_node.recon.method.cascade import Cascade, CascadeConfig
from lfmri_node.recon.method.denoiser import DenoiserConfig
from lfmri_node.recon.method.lesion import ClassifierConfig, LesionClassifier
from lfmri_node.recon.train.classifiers import FAMILIES, build_classifier

CONFIG = ClassifierConfig(channels=(8, 16), classes=("bright", "dark"))


def built(family: str, config: ClassifierConfig = CONFIG) -> nn.Module:
    torch.manual_seed(0)
    return build_classifier(family, config).eval()


def test_compact_is_the_classifier_of_the_node() -> None:
    assert isinstance(built("compact"), LesionClassifier)


def test_an_unknown_family_is_refused_and_the_known_are_named() -> None:
    with pytest.raises(LabError, match=r"LF-LAB-004.*vgg.*compact.*densenet"):
        build_classifier("vgg", CONFIG)


@pytest.mark.parametrize("family", FAMILIES)
class TestEveryFamily:
    @pytest.mark.parametrize("shape", [(32, 24), (33, 30), (21, 19)])
    def test_gives_scores_and_a_map_of_stride_four(self, family: str, shape: tuple[int, int]) -> None:
        scores, logit_map = built(family)(torch.rand(3, 1, *shape))
        assert scores.shape == (3, 2)
        assert logit_map.shape[:2] == (3, 2)
        assert logit_map.shape[2:] == tuple(-(-n // 4) for n in shape)

    def test_a_cell_of_the_map_sees_the_surroundings_of_its_own_pixels(self, family: str) -> None:
        """The middle of what a cell responds to, by the gradient of its logit, is that of its pixels."""
        classifier, middle = built(family), []
        for _ in range(8):
            magnitude = torch.rand(1, 1, 64, 48, requires_grad=True)
            classifier(magnitude)[1][0, 0, 8, 6].backward()
            weight = magnitude.grad[0, 0].abs()
            place = torch.stack(torch.meshgrid(torch.arange(64.0), torch.arange(48.0), indexing="ij"))
            near = weight * ((place - torch.tensor([33.5, 25.5])[:, None, None]).abs().amax(0) < 10)
            middle.append((near * place).sum((1, 2)) / near.sum())
        offset = torch.stack(middle).mean(0) - torch.tensor([4 * 8 + 1.5, 4 * 6 + 1.5])
        assert offset.abs().max() < 0.75, offset

    def test_the_score_is_that_of_a_lesion_anywhere(self, family: str) -> None:
        scores, logit_map = built(family)(torch.rand(2, 1, 24, 24))
        torch.testing.assert_close(scores.exp(), logit_map.exp().sum((2, 3)))

    def test_ignores_the_scale_of_its_input(self, family: str) -> None:
        magnitude = torch.rand(2, 1, 24, 24)
        classifier = built(family)
        torch.testing.assert_close(
            classifier(300 * magnitude)[1], classifier(magnitude)[1], rtol=1e-3, atol=1e-3
        )

    def test_the_map_of_a_turned_image_is_the_turned_map(self, family: str) -> None:
        magnitude = torch.rand(1, 1, 32, 24)
        classifier = built(family).eval()
        turned = classifier(magnitude.flip((-2, -1)))[1].flip((-2, -1))
        torch.testing.assert_close(turned, classifier(magnitude)[1], rtol=1e-4, atol=1e-4)

    def test_holds_no_parameter_that_the_loss_does_not_reach(self, family: str) -> None:
        classifier = built(family).train()
        scores, _ = classifier(torch.rand(2, 1, 24, 24))
        functional.softplus(scores).sum().backward()
        assert [name for name, p in classifier.named_parameters() if p.grad is None] == []

    def test_steers_the_lesion_term_of_a_cascade(self, family: str, problem) -> None:
        torch.manual_seed(0)
        config = CascadeConfig(
            n_stages=1,
            denoiser=DenoiserConfig(channels=(8, 8)),
            classifier=ClassifierConfig(channels=(8, 8)),
        )
        cascade = Cascade(config).eval()
        cascade.classifier = build_classifier(family, config.classifier).eval()
        measured = problem(shape=(21, 18), batch=1, n_coils=2)
        output = cascade(measured.adjoint, measured.operator, measured.scale)[0]
        assert output.slice_logits.shape == (1, 1)
        assert output.activation.shape == (1, 1, 21, 18)

    def test_learns_to_find_what_only_labels_tell(self, family: str) -> None:
        """Bright squares on noise: after a few updates the map peaks at the square of an unseen image."""
        torch.manual_seed(0)
        config = ClassifierConfig(channels=(16, 16))
        classifier = build_classifier(family, config)
        optimiser = torch.optim.Adam(classifier.parameters(), lr=3e-3)
        for _ in range(60):
            images, labels, _ = squares(12)
            loss = functional.binary_cross_entropy_with_logits(classifier(images)[0][:, 0], labels)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        images, labels, corners = squares(40)
        with torch.inference_mode():
            scores, logit_map = classifier.eval()(images)
        assert ((scores[:, 0] > 0).float() == labels).float().mean() > 0.85
        peaks = logit_map[:, 0].flatten(1).argmax(1)
        found = 4 * torch.stack((peaks // logit_map.shape[3], peaks % logit_map.shape[3]), dim=1) + 2
        near = ((found - (corners + 3)).abs().amax(1) <= 6)[labels > 0]
        assert near.float().mean() > 0.8


@pytest.mark.parametrize("family", ["compact", "resnet", "densenet"])
def test_a_far_corner_does_not_move_a_logit(family: str) -> None:
    magnitude = torch.rand(1, 1, 160, 160)
    changed = magnitude.clone()
    changed[..., -8:, -8:] = 0.7 * changed[..., -8:, -8:] + 0.15  # the median stays about the same
    classifier = built(family)
    before, after = classifier(magnitude)[1], classifier(changed)[1]
    torch.testing.assert_close(before[..., :8, :8], after[..., :8, :8], rtol=1e-3, atol=1e-3)
    assert not torch.allclose(before[..., -4:, -4:], after[..., -4:, -4:])


def squares(n: int) -> tuple[Tensor, Tensor, Tensor]:
    """Images f32 (n, 1, 32, 32) of noise below one, half of them with a square of 6 x 6 at its corner."""
    images = 0.3 * torch.rand(n, 1, 32, 32)
    labels = (torch.arange(n) % 2).to(torch.float32)
    corners = torch.randint(2, 24, (n, 2))
    images[:, :, 0, :] = 1.0  # tissue that sets the scale of every image
    for image, (row, column) in zip(images[1::2], corners[1::2].tolist(), strict=True):
        image[:, row : row + 6, column : column + 6] += 0.5
    return images, labels, corners
