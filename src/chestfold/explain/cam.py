"""Heat maps of a batch, by the `grad-cam` package: which places speak for a class.

Grad-CAM: Selvaraju et al., ICCV 2017 (arXiv 1610.02391), eq. 1 and 2. Grad-CAM++: Chattopadhay et al., WACV 2018
(1710.11063), eq. 19. LayerCAM: Jiang et al., IEEE TIP 30 (2021), p. 5875. Eigen-CAM: Muhammad and Yeasin, IJCNN 2020
(2008.00299); it is of no class, the same map for all of them.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor, nn

from chestfold.explain.layers import Layer, find_layer
from chestfold.models.runner import Runner

METHODS = {"gradcam": "GradCAM", "gradcam++": "GradCAMPlusPlus", "layercam": "LayerCAM", "eigencam": "EigenCAM"}
"""Name of a method here -> its class in pytorch_grad_cam."""


class Mapper:
    """Heat maps of one network from one layer; in fp32, whatever precision it was trained in."""

    def __init__(self, runner: Runner, layer: Layer, method: str) -> None:
        """`method` is one of `METHODS`. Use `open_mapper`, which also lets go of the network's hooks."""
        import pytorch_grad_cam

        self._runner, self._layer, self.method = runner, layer, method
        kind: Any = getattr(pytorch_grad_cam, METHODS[method])
        self._cam = kind(runner.module, [layer.module], reshape_transform=layer.to_maps)

    @property
    def layer(self) -> Layer:
        """Where the maps come from."""
        return self._layer

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
        seen = self._cam.activations_and_grads
        grads = None
        if self._cam.uses_gradients:
            seen.gradients = []
            chosen = logits.gather(1, torch.from_numpy(classes).to(logits.device)[:, None])
            chosen.sum().backward(retain_graph=True, inputs=[images])
            grads = seen.gradients[0].float().numpy()
        activations = seen.activations[0].float().numpy()
        made = self._cam.get_cam_image(images, self._layer.module, None, activations, grads, eigen_smooth=False)
        made = np.asarray(made)
        return np.maximum(made if self._cam.uses_gradients else _towards_activity(made, activations), 0)

    def release(self) -> None:
        """Take the hooks off the network."""
        self._cam.activations_and_grads.release()


def _towards_activity(maps: np.ndarray, activations: np.ndarray) -> np.ndarray:
    """Maps (B, h, w) of a first component with the sign that goes with the activations' (B, C, h, w) strength.

    The sign of a singular vector is arbitrary, and with it which half of a picture would light up.
    """
    strength = np.linalg.norm(activations, axis=1)
    strength -= strength.mean(axis=(1, 2), keepdims=True)
    return maps * np.where((maps * strength).sum(axis=(1, 2), keepdims=True) < 0, -1, 1)


@contextmanager
def open_mapper(runner: Runner, images: Tensor, method: str, layer: str = "") -> Iterator[Mapper]:
    """A `Mapper` of `runner`'s network; `images` (B, C, H, W): any normalised batch, it tells the layers' sizes.

    Raises:
        InputError: there is no such layer; lists those that there are.
    """
    full = in_fp32(runner)
    mapper = Mapper(full, find_layer(full.module, images, layer), method)
    try:
        yield mapper
    finally:
        mapper.release()


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

    Only the scale is changed, never the zero: a share of attention would depend on the coldest place otherwise. A map
    that is zero everywhere stays zero.
    """
    large = np.stack([cv2.resize(m, (size, size), interpolation=cv2.INTER_LINEAR) for m in maps.astype(np.float32)])
    return normalised(large)


def normalised(maps: np.ndarray) -> np.ndarray:
    """Each of the maps (N, H, W) divided by its largest value; one without any stays zero."""
    top = maps.max(axis=(1, 2), keepdims=True)
    return np.divide(maps, top, out=np.zeros_like(maps), where=top > 0)
