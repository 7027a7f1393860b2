"""The learned mask: budget, gradient through reconstruction, a file for the scanner."""

from pathlib import Path

import numpy as np
import pytest
import torch

from lfmri_node.recon.errors import LabError
from lfmri_node.recon.method.cascade import Cascade, CascadeConfig, LesionTerm
from lfmri_node.recon.method.denoiser import DenoiserConfig
from lfmri_node.recon.method.lesion import ClassifierConfig
from lfmri_node.recon.sense.operators import fft_centred, ifft_centred
from lfmri_node.recon.sense.sampling import contiguous_centre
from lfmri_node.recon.train.learned_sampling import LearnedMask, read_mask, write_mask
from lfmri_node.recon.train.measurement import undersample
from lfmri_node.recon.types import LesionWeighting


def spread(mask: LearnedMask, seed: int = 0) -> LearnedMask:
    """With weights far apart."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        mask.weight.copy_(torch.randn(mask.weight.shape, generator=generator))
    return mask


class TestBudget:
    @pytest.mark.parametrize(
        ("n", "centre", "acceleration"), [(160, 12, 4), (161, 9, 8), (33, 4, 1.5), (20, 5, 4)]
    )
    def test_probabilities_sum_to_it_whatever_the_weights(
        self, n: int, centre: int, acceleration: float
    ) -> None:
        mask = LearnedMask(n, centre, acceleration)
        for seed in range(3):
            probabilities = spread(mask, seed).probabilities()
            assert probabilities.min() >= 0
            assert probabilities.max() <= 1 + 1e-6
            torch.testing.assert_close(probabilities.sum(), torch.tensor(float(round(n / acceleration))))

    def test_draws_hold_it_on_average_and_always_the_centre(self) -> None:
        mask = spread(LearnedMask(160, 12, 4.0)).train()
        drawn = mask(2000, torch.Generator().manual_seed(1))
        assert set(drawn.unique().tolist()) == {0.0, 1.0}
        assert drawn[:, mask.centre].all()
        assert abs(drawn.sum(1).mean() - 40) < 0.3
        torch.testing.assert_close(drawn.mean(0), mask.probabilities(), rtol=0, atol=0.05)

    def test_after_training_it_is_exact_and_the_mask_fixed(self) -> None:
        mask = spread(LearnedMask(160, 12, 4.0)).eval()
        lines = mask(3)
        assert lines.sum(1).tolist() == [40, 40, 40]
        assert torch.equal(lines[0], lines[2])
        chosen = mask.weight[(lines[0] > 0) & ~mask.centre]
        left_out = mask.weight[lines[0] == 0]
        assert chosen.min() >= left_out.max()

    @pytest.mark.parametrize("n", [32, 33])
    def test_the_centre_is_where_the_calibration_looks_for_it(self, n: int) -> None:
        lines = LearnedMask(n, 7, 4.0).best().numpy()
        start, stop = contiguous_centre(lines)
        assert start <= n // 2 - 3 < n // 2 + 3 < stop

    def test_more_centre_lines_than_lines_to_measure_are_refused(self) -> None:
        with pytest.raises(ValueError, match="41 centre lines of 160"):
            LearnedMask(160, 41, 4.0)

    def test_the_same_generator_gives_the_same_draws(self) -> None:
        mask = LearnedMask(64, 6, 4.0)
        one, two = (mask(2, torch.Generator().manual_seed(5)) for _ in range(2))
        assert torch.equal(one, two)


class TestGradient:
    def test_passes_the_draw_unchanged(self) -> None:
        """Straight-through: a draw has the gradient of its probability, in lines that are off as well."""
        mask = spread(LearnedMask(40, 4, 4.0))
        factor = torch.randn(3, 40)
        (mask(3, torch.Generator().manual_seed(0)) * factor).sum().backward()
        passed = mask.weight.grad.clone()
        mask.weight.grad = None
        (mask.probabilities() * factor.sum(0)).sum().backward()
        torch.testing.assert_close(passed, mask.weight.grad)

    def test_reaches_the_weights_through_a_cascade(self) -> None:
        torch.manual_seed(0)
        config = CascadeConfig(
            n_stages=2,
            denoiser=DenoiserConfig(channels=(8, 8)),
            classifier=ClassifierConfig(channels=(8, 8)),
        )
        image = torch.randn(1, 12, 16, dtype=torch.complex64)
        maps = torch.randn(1, 3, 12, 16, dtype=torch.complex64)
        mask = LearnedMask(16, 4, 2.0)
        kspace = fft_centred(maps * image[:, None])
        measurement = undersample(kspace, mask(1), maps, torch.tensor([0.01]), torch.tensor([2.0]))
        off = LesionTerm(LesionWeighting.OFF)
        outputs = Cascade(config)(measurement.adjoint, measurement.operator, measurement.scale, off)
        (outputs[-1].image - image).abs().square().sum().backward()
        assert (mask.weight.grad[~mask.centre] != 0).all()

    def test_finds_the_lines_that_hold_the_image(self) -> None:
        """All energy in eight lines off the centre: training by zero-filled error alone must choose them."""
        torch.manual_seed(0)
        n, held = 32, [3, 4, 9, 11, 24, 26, 27, 30]
        mask = LearnedMask(n, 4, 32 / 12).train()
        optimiser = torch.optim.Adam(mask.parameters(), lr=0.05)
        maps = torch.ones(4, 1, 8, n, dtype=torch.complex64)
        for _ in range(60):
            kspace = torch.zeros(4, 1, 8, n, dtype=torch.complex64)
            kspace[..., held] = torch.randn(4, 1, 8, len(held), dtype=torch.complex64)
            measurement = undersample(kspace, mask(4), maps, torch.zeros(4), torch.ones(4))
            error = measurement.adjoint - ifft_centred(kspace)[:, 0]
            optimiser.zero_grad()
            error.abs().square().mean().backward()
            optimiser.step()
        chosen = torch.nonzero(mask.best() & ~mask.centre).flatten().tolist()
        assert chosen == held


class TestFile:
    def test_comes_back_as_it_was(self, tmp_path: Path) -> None:
        mask = spread(LearnedMask(160, 12, 4.0))
        mask.export(tmp_path / "mask.txt")
        assert np.array_equal(read_mask(tmp_path / "mask.txt"), mask.best().numpy())

    def test_says_what_it_is(self, tmp_path: Path) -> None:
        lines = np.arange(10) % 2 == 0
        write_mask(lines, tmp_path / "mask.txt")
        text = (tmp_path / "mask.txt").read_text().splitlines()
        assert text[-10:] == ["1", "0"] * 5
        assert all(row.startswith("# ") for row in text[:-10])
        assert "k = 0 is the line number 5" in text[1]
        assert "acceleration 2.000" in text[2]

    @pytest.mark.parametrize(
        ("content", "what"),
        [(b"1\n0\n2\n", "'2'"), (b"0\n0\n", "no line"), (b"", "no line"), (b"\xff", "text")],
    )
    def test_anything_else_is_refused(self, tmp_path: Path, content: bytes, what: str) -> None:
        (tmp_path / "mask.txt").write_bytes(content)
        with pytest.raises(LabError, match=f"LF-LAB-030.*{what}"):
            read_mask(tmp_path / "mask.txt")

    def test_a_missing_file_is_named(self, tmp_path: Path) -> None:
        with pytest.raises(LabError, match=r"LF-LAB-030.*absent\.txt"):
            read_mask(tmp_path / "absent.txt")
