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
"""Equal parts of the picture that are taken away or put back, one after the other."""
BLUR = 1 / 20
"""Insertion starts from a picture blurred by this share of its side (standard deviation): 11 px at 224."""
RANDOMIZED = ("classifier", "last half", "all")
"""Which weights are randomized, the last ones first, each stage on top of the one before (Adebayo's cascade)."""


def random_heat(ids: list[str], grid: tuple[int, int], size: int) -> np.ndarray:
    """A map for each id that knows nothing, as coarse as the real ones: what their curves are compared with."""
    return at_image_size(np.stack([generator("explain", "control", i).random(grid) for i in ids]), size)


def deletion(runner: Runner, images: Tensor, heat: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """Probability of `classes` (B,) while the hottest places turn grey, (B, STEPS + 1).

    Petsiuk, Das, Saenko, BMVC 2018 (RISE, arXiv 1806.07421), section 4.1: a good map makes it fall early. `images` is
    normalised (B, C, S, S), of which the first channel is the picture; its mean, 0, takes the place of what is deleted.
    """
    return _probabilities(runner, images, torch.zeros_like(images[:, :1]), _turn(-heat), classes)


def insertion(runner: Runner, images: Tensor, heat: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """Probability of `classes` (B,) while a blurred picture gets its hottest places back, (B, STEPS + 1).

    As `deletion`; a good map makes it rise early.
    """
    return _probabilities(runner, images, _blurred(images), _turn(heat), classes)[:, ::-1]


def _probabilities(
    runner: Runner, images: Tensor, instead: Tensor, turn: np.ndarray, classes: np.ndarray
) -> np.ndarray:
    """While part after part, in the order of `turn` (B, S, S), is replaced by `instead` (B, 1, S, S)."""
    parts = torch.from_numpy(turn).to(images.device)[:, None]
    wanted, curve = torch.from_numpy(classes).to(images.device)[:, None], []
    for step in range(STEPS + 1):
        gone = parts < step
        shown = torch.cat([torch.where(gone, instead, images[:, :1]), images[:, 1:]], dim=1)
        with torch.inference_mode():
            curve.append(runner.logits(shown).softmax(dim=1).gather(1, wanted)[:, 0].cpu().numpy())
    return np.stack(curve, axis=1)


def _turn(values: np.ndarray) -> np.ndarray:
    """Which of STEPS equal parts each place of (B, S, S) belongs to, the lowest values first; equals by lot."""
    flat = values.reshape(len(values), -1)
    lot = generator("explain", "ties").random(flat.shape[1])
    order = np.stack([np.lexsort((lot, row)) for row in flat])
    turn = np.empty_like(order)
    np.put_along_axis(turn, order, np.arange(flat.shape[1])[None] * STEPS // flat.shape[1], axis=1)
    return turn.reshape(values.shape)


def _blurred(images: Tensor) -> Tensor:
    pictures = images[:, 0].cpu().numpy()
    sigma = pictures.shape[-1] * BLUR
    return torch.from_numpy(np.stack([cv2.GaussianBlur(p, (0, 0), sigma) for p in pictures])).to(images.device)[:, None]


def randomized(runner: Runner, stage: str) -> Runner:
    """A copy of `runner` in which the values of each weight tensor of a stage of `RANDOMIZED` are shuffled.

    Adebayo et al., NeurIPS 2018 (Sanity checks for saliency maps, arXiv 1810.03292), section 3.1. Shuffled instead of
    drawn anew: what was learnt is gone, while the scale stays in any family, and with it the size of the activations.
    """
    module = copy.deepcopy(runner.module)
    holders = [m for m in module.modules() if next(m.parameters(recurse=False), None) is not None]
    classifier = module.get_classifier()  # type: ignore[operator]
    last = {"classifier": [m for m in classifier.modules() if m in holders], "all": holders}
    for holder in last.get(stage, holders[len(holders) // 2 :]):
        _shuffle(holder)
    return replace(runner, network=replace(runner.network, module=module), dtype=None, call=module)


@torch.no_grad()
def _shuffle(holder: nn.Module) -> None:
    for name, weight in holder.named_parameters(recurse=False):
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
            other = mapper(images, classes[:, None])[:, 0]
        found[stage] = np.array([rank_correlation(a, b) for a, b in zip(maps, other, strict=True)])
    return found
