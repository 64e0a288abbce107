"""How likenesses to words and pictures become outputs."""

import math

import numpy as np
import torch
from torch.nn.functional import cross_entropy, normalize

from meltpoint.model.heads.cosine import Cosine
from meltpoint.train.strategies.words import Pictures, draw_examples, fill_head, mix, spread

CLASSES, WIDTH = 4, 8


def draw(count: int, noise: float, seed: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Features of images around the centre of their class, their classes, and the centres."""
    rng = torch.Generator().manual_seed(seed)
    centres = normalize(torch.randn(CLASSES, WIDTH, generator=torch.Generator().manual_seed(0)), dim=1)
    labels = torch.arange(count) % CLASSES
    return normalize(centres[labels] + noise * torch.randn(count, WIDTH, generator=rng), dim=1), labels, centres


def test_the_temperature_is_that_of_the_least_loss() -> None:
    features, labels, words = draw(200, 0.6, 1)
    mixture, pictures = mix(features, words, None, lambda outputs: float(cross_entropy(outputs, labels)))
    grid = [float(cross_entropy(math.exp(log) * features @ words.T, labels)) for log in np.linspace(-2, 9, 200)]
    assert pictures is None
    assert mixture.loss <= min(grid) + 1e-5


def test_pictures_help_where_words_are_wrong_and_are_left_out_where_they_do_not() -> None:
    features, labels, words = draw(200, 0.3, 1)
    keys, owners, _ = draw(40, 0.3, 2)
    pictures = Pictures(keys, torch.nn.functional.one_hot(owners, CLASSES).float())

    def loss(outputs: torch.Tensor) -> float:
        return float(cross_entropy(outputs, labels))

    wrong = words.roll(1, dims=0)
    mixture, used = mix(features, wrong, pictures, loss)
    assert used is pictures
    head = fill_head(torch.nn.Sequential(Cosine(WIDTH, CLASSES, 40)), mixture, wrong, used)
    with torch.no_grad():
        assert (head(3 * features).argmax(1) == labels).float().mean() > 0.8
        assert abs(loss(head(features)) - mixture.loss) < 1e-5
    alike = Pictures(keys, torch.ones(40, CLASSES))
    assert mix(features, words, alike, loss)[1] is None


def test_of_two_classes_one_output_is_the_difference() -> None:
    features, _, words = draw(50, 0.5, 3)
    two = features @ words[:2].T
    torch.testing.assert_close(features @ spread(words[:2], 1).T, (two[:, 1] - two[:, 0])[:, None])


def test_examples_are_of_each_class_as_many_and_of_the_seed() -> None:
    targets = np.array([0] * 30 + [1] * 20 + [-1] * 5 + [2] * 2)
    first, again, other = (draw_examples(targets, 4, seed) for seed in (1, 1, 2))
    assert np.bincount(targets[first]).tolist() == [4, 4, 2]
    assert first.tolist() == again.tolist() != other.tolist()
