"""Heat maps of a batch, by the `grad-cam` package: which places are evidence for a class.

Grad-CAM: Selvaraju et al., ICCV 2017 (arXiv 1610.02391), eq. 1 and 2. Grad-CAM++: Chattopadhay et al., WACV 2018
(1710.11063), eq. 19. LayerCAM: Jiang et al., IEEE TIP 30 (2021), p. 5875. Eigen-CAM: Muhammad and Yeasin, IJCNN 2020
(2008.00299); it is of no class, the same map for all of them.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor, nn

from chestfold.core.extras import require
from chestfold.data.loader import Images
from chestfold.explain.layers import Layer, find_layer
from chestfold.models.runner import Runner

METHODS = {"gradcam": "GradCAM", "gradcam++": "GradCAMPlusPlus", "layercam": "LayerCAM", "eigencam": "EigenCAM"}
"""Name of a method here -> its class in pytorch_grad_cam."""
BATCH = 16
"""Images a backward pass: maps of a large network at 224 px take much more memory than its predictions."""


class Mapper:
    """Heat maps of one network from one layer; `open_mapper` makes one and removes its hooks from the network."""

    def __init__(self, module: nn.Module, layer: Layer, method: str) -> None:
        """`module` in fp32; `method` is one of `METHODS`."""
        require("pytorch_grad_cam", "explain")
        import pytorch_grad_cam

        self.layer = layer
        kind: Any = getattr(pytorch_grad_cam, METHODS[method])
        self._cam = kind(module, [layer.module], reshape_transform=layer.to_maps)

    def __call__(self, images: Tensor, classes: np.ndarray) -> np.ndarray:
        """Maps at the layer's own resolution, not negative, not scaled.

        Args:
            images: normalised float32 (B, C, H, W), as `Runner.images` gives them.
            classes: int (B, K): the classes that maps are made of, K of each image.

        Returns:
            float32 (B, K, rows, columns).
        """
        with torch.enable_grad():
            # the gradient reaches the layer also where all weights before it are frozen
            images = images.detach().clone().requires_grad_(True)
            logits = self._cam.activations_and_grads(images)
            made = [self._map(images, logits, classes[:, k]) for k in range(classes.shape[1])]
        return np.stack(made, axis=1).astype(np.float32)

    def _map(self, images: Tensor, logits: Tensor, classes: np.ndarray) -> np.ndarray:
        recorded = self._cam.activations_and_grads
        activations = recorded.activations[0].float().numpy()
        grads = None
        if self._cam.uses_gradients:
            recorded.gradients = []
            chosen = logits.gather(1, torch.from_numpy(classes).to(logits.device)[:, None])
            chosen.sum().backward(retain_graph=True, inputs=[images])
            grads = recorded.gradients[0].float().numpy()
        layer = self.layer.module
        maps = np.asarray(self._cam.get_cam_image(images, layer, None, activations, grads, eigen_smooth=False))
        if grads is None:
            maps = _oriented(maps, activations)
        return np.maximum(maps, 0)

    def release(self) -> None:
        """Remove the hooks from the network."""
        self._cam.activations_and_grads.release()


def _oriented(maps: np.ndarray, activations: np.ndarray) -> np.ndarray:
    """Maps (B, h, w) of a first component with the sign that agrees with the strength of activations (B, C, h, w).

    The sign of a singular vector is arbitrary, and with it which half of an image would light up.
    """
    strength = np.linalg.norm(activations, axis=1)
    strength -= strength.mean(axis=(1, 2), keepdims=True)
    agreement = (maps * strength).sum(axis=(1, 2), keepdims=True)
    return maps * np.where(agreement < 0, -1, 1)


@contextmanager
def open_mapper(runner: Runner, images: Tensor, method: str, layer: str = "") -> Iterator[Mapper]:
    """A `Mapper` of `runner`'s network; `images` (B, C, H, W): any normalised batch, it tells the layers' sizes.

    Raises:
        InputError: there is no such layer; lists those that there are.
    """
    module = in_fp32(runner).module
    mapper = Mapper(module, find_layer(module, images, layer), method)
    try:
        yield mapper
    finally:
        mapper.release()


def network_maps(
    runner: Runner,
    images: Images,
    classes: np.ndarray,
    method: str,
    layer: str = "",
    advance: Callable[[int], None] = lambda count: None,
) -> tuple[Layer, np.ndarray]:
    """The layer, and one network's maps of `images` for `classes`, int (N, K): float32 (N, K, rows, columns).

    `method` and `layer` as for `open_mapper`; `advance` is called with the number of images of each batch.
    """
    parts = []
    outputs = runner.task.outputs_of(classes)
    first = next(runner.batches(images, 1))
    with open_mapper(runner, first, method, layer) as mapper:
        for n, batch in enumerate(runner.batches(images, BATCH)):
            parts.append(mapper(batch, outputs[n * BATCH : (n + 1) * BATCH]))
            advance(len(batch))
        return mapper.layer, np.concatenate(parts)


def in_fp32(runner: Runner) -> Runner:
    """The same network without autocast, without torch.compile, and with no operation that overwrites its input.

    An activation that a later ReLU overwrites in place would no longer be the one that the map is made of.
    """
    module: nn.Module = runner.module
    module.eval()
    for part in module.modules():
        if getattr(part, "inplace", False):
            part.inplace = False  # type: ignore[assignment]
    return replace(runner, dtype=None, call=module)


def at_image_size(maps: np.ndarray, size: int) -> np.ndarray:
    """Maps (N, rows, columns) as float32 (N, size, size), bilinear, the largest value of each being 1.

    Only the scale changes, never the zero: a share of attention would depend on the coldest place otherwise. A map that
    is zero everywhere remains zero.
    """
    large = [cv2.resize(heat, (size, size), interpolation=cv2.INTER_LINEAR) for heat in maps.astype(np.float32)]
    return normalised(np.stack(large))


def normalised(maps: np.ndarray) -> np.ndarray:
    """Each of the maps (..., H, W) divided by its largest value; one without any remains zero."""
    top = maps.max(axis=(-2, -1), keepdims=True)
    return np.divide(maps, top, out=np.zeros_like(maps), where=top > 0)
