"""The families of Net_c that the classifier ablation compares, built from MONAI's networks.

[paper] Table 4 compares classification networks. [our reading] Each family is cut where its features reach
stride 4 and ends, like `recon.lesion.LesionClassifier`, in a 1x1 convolution to class logits: a deeper cut
would blur the activation map. All share its scale of the input, its pooling and its tissue (`CellClassifier`)
and have batch norm, which keeps absolute contrast; they have no pyramid. MONAI is imported only where one of
its families is asked for.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import cast

from torch import Tensor, nn
from torch.nn import functional

from lfmri_node.recon.errors import LabError
from lfmri_node.recon.method.lesion import (
    STRIDE,
    CellClassifier,
    ClassifierConfig,
    LesionClassifier,
    class_logits,
)

FAMILIES = ("compact", "resnet", "densenet", "efficientnet")


class FeatureClassifier(CellClassifier):
    """Any features f32 (b, 1, r, p) -> (b, n, ceil(r / 4), ceil(p / 4)) under the head of `LesionClassifier`.

    ``ahead`` is how many pixels the cells of the features stand before the middle of their 4 x 4 pixels,
    where the activation map expects them: the image is moved by as many.
    """

    def __init__(self, features: nn.Module, n_features: int, ahead: int, config: ClassifierConfig) -> None:
        super().__init__()
        self.features = features
        self.ahead = ahead
        self.logits = class_logits(n_features, config)

    def logit_map(self, image: Tensor) -> Tensor:
        """Logits (b, k, r', p') of an image f32 (b, 1, r, p) whose tissue is about one."""
        after = [self.ahead + -n % STRIDE for n in image.shape[-2:]]
        image = functional.pad(image, (0, after[1], 0, after[0]), mode="replicate")
        return cast(Tensor, self.logits(self.features(image[..., self.ahead :, self.ahead :])))


def build_classifier(family: str, config: ClassifierConfig) -> nn.Module:
    """Untrained Net_c of one of `FAMILIES`; ``config.channels`` are the widths at stride 2 and 4.

    Raises LabError (LF-LAB-004) for an unknown family.
    """
    match family:
        case "compact":
            return LesionClassifier(config)
        case "resnet":
            return FeatureClassifier(_resnet(config), config.channels[1], 2, config)
        case "densenet":
            return _densenet(config)
        case "efficientnet":
            return FeatureClassifier(_efficientnet(config), config.channels[1], 0, config)
    raise LabError("LF-LAB-004", f"no classifier {family!r}", f"one of {', '.join(FAMILIES)}")


def _resnet(config: ClassifierConfig) -> nn.Module:
    """He et al., CVPR 2016: a 3x3 stem and basic blocks at stride 1, 2 and 4; the fourth layer is cut off."""
    from monai.networks.nets.resnet import ResNet

    net = ResNet(
        block="basic",
        layers=[1, 2, 2, 1],
        block_inplanes=[config.channels[0] // 2, *config.channels[:2], 8],
        spatial_dims=2,
        n_input_channels=1,
        conv1_t_size=3,
        conv1_t_stride=1,
        feed_forward=False,
    )
    return nn.Sequential(net.conv1, net.bn1, net.act, net.layer1, net.layer2, net.layer3)


def _densenet(config: ClassifierConfig) -> nn.Module:
    """Huang et al., CVPR 2017: dense blocks at stride 2 and 4; the pooling of the stem is left out."""
    from monai.networks.nets.densenet import DenseNet

    stem, growth = config.channels[0], config.channels[0] // 2
    blocks = (4, 6)
    net = DenseNet(
        spatial_dims=2,
        in_channels=1,
        out_channels=len(config.classes),
        init_features=stem,
        growth_rate=growth,
        block_config=blocks,
    )
    kept = OrderedDict((name, part) for name, part in net.features.named_children() if name != "pool0")
    n_features = (stem + blocks[0] * growth) // 2 + blocks[1] * growth
    return FeatureClassifier(nn.Sequential(kept | OrderedDict(relu5=nn.ReLU())), n_features, 0, config)


def _efficientnet(config: ClassifierConfig) -> nn.Module:
    """Tan and Le, ICML 2019: the first blocks of B0, depthwise with squeeze and excitation, to stride 4.

    The squeeze sees the whole slice, so that this family alone has a map that is not local.
    """
    from monai.networks.nets.efficientnet import MBConvBlock

    two, four = config.channels[:2]

    def block(n_in: int, n_out: int, kernel: int, stride: int, expand: int) -> nn.Module:
        return MBConvBlock(
            spatial_dims=2,
            in_channels=n_in,
            out_channels=n_out,
            kernel_size=kernel,
            stride=stride,
            image_size=[160, 160],  # an even size: its padding serves every size
            expand_ratio=expand,
            se_ratio=0.25,
            norm="batch",
            drop_connect_rate=None,
        )

    return nn.Sequential(
        nn.Conv2d(1, two, 3, stride=2, padding=1, bias=False),
        nn.BatchNorm2d(two),
        nn.SiLU(),
        block(two, two, kernel=3, stride=1, expand=1),
        block(two, four, kernel=3, stride=2, expand=6),
        block(four, four, kernel=5, stride=1, expand=6),
        block(four, four, kernel=5, stride=1, expand=6),
    )
