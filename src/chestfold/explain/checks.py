"""Whether a heat map says something about the network: deletion and insertion, and maps of randomized weights."""

import copy
from dataclasses import replace

import cv2
import numpy as np
import torch
from torch import Tensor, nn

from chestfold.core.rng import generator
from chestfold.explain.cam import at_image_size, open_mapper
from chestfold.explain.measures import rank_correlation
from chestfold.models.runner import Runner

STEPS = 10
"""Equal parts of the image that are deleted or inserted, one after the other."""
BLUR = 1 / 20
"""Insertion starts from an image blurred by this share of its side (standard deviation): 11 px at 224."""
RANDOMIZED = ("classifier", "last half", "all")
"""Which weights are randomized, the last ones first, each stage on top of the one before (Adebayo's cascade)."""


def random_heat(ids: list[str], grid: tuple[int, int], size: int) -> np.ndarray:
    """A map for each id that knows nothing, as coarse as the real ones: what their curves are compared with."""
    return at_image_size(np.stack([generator("explain", "control", i).random(grid) for i in ids]), size)


def deletion(runner: Runner, images: Tensor, heat: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """Probability of `classes` (B,) while the hottest places turn grey, (B, STEPS + 1).

    Petsiuk, Das, Saenko, BMVC 2018 (RISE, arXiv 1806.07421), section 4.1: a good map makes it fall early. `images` is
    normalised (B, C, S, S), of which the second of two channels are the lungs; the mean of the others, 0, takes the
    place of what is deleted.
    """
    return _probabilities(runner, images, torch.zeros_like(_seen(images)), _part_numbers(-heat), classes)


def insertion(runner: Runner, images: Tensor, heat: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """Probability of `classes` (B,) while a blurred image gets its hottest places back, (B, STEPS + 1).

    As `deletion`; a good map makes it rise early.
    """
    return _probabilities(runner, images, _blurred(images), _part_numbers(heat), classes)[:, ::-1]


def _seen(images: Tensor) -> Tensor:
    """The channels of (B, C, S, S) that hold the image: all, but of two channels the first."""
    return images[:, :1] if images.shape[1] == 2 else images


def _probabilities(
    runner: Runner, images: Tensor, substitute: Tensor, numbers: np.ndarray, classes: np.ndarray
) -> np.ndarray:
    """While part after part, by its number in `numbers` (B, S, S), is replaced by `substitute` (B, c, S, S)."""
    parts = torch.from_numpy(numbers).to(images.device)[:, None]
    wanted = torch.from_numpy(classes).to(images.device)[:, None]
    curve = []
    for step in range(STEPS + 1):
        changed = torch.where(parts < step, substitute, _seen(images))
        with torch.inference_mode():
            probs = runner.task.probabilities(runner.logits(torch.cat([changed, images[:, changed.shape[1] :]], dim=1)))
        curve.append(probs.gather(1, wanted)[:, 0].cpu().numpy())
    return np.stack(curve, axis=1)


def _part_numbers(values: np.ndarray) -> np.ndarray:
    """Which of STEPS equal parts each place of (B, S, S) belongs to, the lowest values first; ties in random order."""
    flat = values.reshape(len(values), -1)
    tie_breaker = generator("explain", "ties").random(flat.shape[1])
    order = np.stack([np.lexsort((tie_breaker, row)) for row in flat])
    numbers = np.empty_like(order)
    np.put_along_axis(numbers, order, np.arange(flat.shape[1])[None] * STEPS // flat.shape[1], axis=1)
    return numbers.reshape(values.shape)


def _blurred(images: Tensor) -> Tensor:
    """The channels that hold the image, (B, c, S, S)."""
    seen = _seen(images)
    sigma = seen.shape[-1] * BLUR
    flat = seen.flatten(0, 1).cpu().numpy()
    blurred = np.stack([cv2.GaussianBlur(channel, (0, 0), sigma) for channel in flat])
    return torch.from_numpy(blurred).to(images.device).view(seen.shape)


def randomized(runner: Runner, stage: str) -> Runner:
    """A copy of `runner` in which the values of each weight tensor of a stage of `RANDOMIZED` are shuffled.

    Adebayo et al., NeurIPS 2018 (Sanity checks for saliency maps, arXiv 1810.03292), section 3.1. Shuffled instead of
    drawn anew: what was learnt is gone, while the scale of the weights and so of the activations stays.
    """
    module = copy.deepcopy(runner.module)
    layers = [layer for layer in module.modules() if next(layer.parameters(recurse=False), None) is not None]
    if stage == "classifier":
        inside = set(module.get_classifier().modules())  # type: ignore[operator]
        layers = [layer for layer in layers if layer in inside]
    elif stage == "last half":
        layers = layers[len(layers) // 2 :]
    for layer in layers:
        _shuffle(layer)
    return replace(runner, network=replace(runner.network, module=module), dtype=None, call=module)


@torch.no_grad()
def _shuffle(layer: nn.Module) -> None:
    for name, weight in layer.named_parameters(recurse=False):
        order = generator("explain", "shuffle", name, weight.numel()).permutation(weight.numel())
        weight.copy_(weight.flatten()[torch.from_numpy(order).to(weight.device)].view_as(weight))


def similarity(
    runner: Runner, images: Tensor, maps: np.ndarray, classes: np.ndarray, method: str, layer: str
) -> dict[str, np.ndarray]:
    """Stage of `RANDOMIZED` -> Spearman's correlation of `maps` (B, rows, columns) with those of random weights.

    Near 0: the maps come from what was learnt. Near 1: they would look the same without it.
    """
    found = {}
    for stage in RANDOMIZED:
        with open_mapper(randomized(runner, stage), images, method, layer) as mapper:
            others = mapper(images, runner.task.outputs_of(classes)[:, None])[:, 0]
        found[stage] = np.array([rank_correlation(ours, other) for ours, other in zip(maps, others, strict=True)])
    return found
