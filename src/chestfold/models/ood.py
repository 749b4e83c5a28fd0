"""Out-of-distribution score: how far an image is from a fold's training images in the features of its network.

A Gaussian is fitted to the features of training images and the Mahalanobis distance taken from it (Lee et al., NeurIPS
2018, arXiv 1807.03888), its covariance shrunk (Ledoit and Wolf 2004). The features are those of a layer in the middle,
averaged over the image: the last one before the classifier separates the classes and knows little else; it takes a
photograph for a lung. The threshold is the 95th percentile of the distances of the fold's validation images.
"""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from chestfold.core.errors import InputError
from chestfold.core.files import DAMAGED_ARCHIVE, load_npz, require_npz_size, write_bytes
from chestfold.data.loader import Images
from chestfold.models.head import WithHead
from chestfold.models.load import predict_mean
from chestfold.models.runner import PREDICT_BATCH, Runner, count_views, predict

FILE = "ood.npz"
STRIDE = 8
"""Of the layer: fine enough to know textures, coarse enough to know shapes."""
QUANTILE = 0.95
"""Share of the validation images within the threshold: one ordinary image in twenty is called out of distribution."""
LABEL = "similarity to training images"
"""What the bar says while features are taken."""
MAX_IMAGES = 1000
"""Training images that the Gaussian is fitted to, and validation images that set the threshold, at most."""


class NoFeatureLayer(InputError):
    """A network in which no layer can be found whose features compare."""


@dataclass(frozen=True)
class OodDetector:
    """The features of a fold's training images: mean and scale (D,), precision (D, D), all float32.

    `layer` names the module, `threshold` is the distance beyond which an image is out of distribution, `checkpoint` the
    SHA-256 of the weights.
    """

    layer: str
    mean: np.ndarray
    scale: np.ndarray
    precision: np.ndarray
    threshold: float
    checkpoint: str

    def score(self, features: np.ndarray) -> np.ndarray:
        """Distance over threshold, float (N,), of features (N, D): above 1 is out of distribution."""
        return self._distance(features) / max(self.threshold, 1e-12)

    def _distance(self, features: np.ndarray) -> np.ndarray:
        away = (features.astype(np.float64) - self.mean) / self.scale
        return np.sqrt(np.maximum(np.einsum("nd,de,ne->n", away, self.precision, away), 0))


def middle_layer(module: Any) -> tuple[str, int]:
    """Name and number of channels of the layer whose features are compared.

    Of networks that downsample step by step the last one at `STRIDE`; of plain transformers the first quarter's
    end.

    Raises:
        NoFeatureLayer: the network does not name its layers.
    """
    prefix, trunk = ("trunk.", module.trunk) if isinstance(module, WithHead) else ("", module)
    layers = [dict(layer) for layer in getattr(trunk, "feature_info", None) or []]
    known = {name for name, _ in trunk.named_modules()}
    layers = [layer for layer in layers if layer["module"] in known]
    if not layers:
        raise NoFeatureLayer(f"the network {type(trunk).__name__} does not name its layers")
    fine = [layer for layer in layers if layer["reduction"] <= STRIDE]
    chosen = fine[-1] if fine else layers[len(layers) // 4]
    return prefix + chosen["module"], chosen["num_chs"]


@contextmanager
def captured_features(module: nn.Module, layer: str, channels: int) -> Iterator[list[Tensor]]:
    """A list that every forward pass of `module` appends its features to: float32 (B, channels), on the CPU."""
    caught: list[Tensor] = []

    def catch(_: nn.Module, __: Any, output: Tensor) -> None:
        caught.append(pooled(output, channels).cpu())

    handle = module.get_submodule(layer).register_forward_hook(catch)
    try:
        yield caught
    finally:
        handle.remove()


def pooled(maps: Tensor, channels: int) -> Tensor:
    """The mean over all places: (B, C, H, W), (B, H, W, C) or tokens (B, N, C) to float32 (B, C)."""
    last = maps.ndim == 3 or (maps.shape[1] != channels and maps.shape[-1] == channels)
    return maps.float().flatten(1, -2).mean(1) if last else maps.float().flatten(2).mean(2)


def features(runner: Runner, images: Images, label: str = LABEL) -> tuple[str, np.ndarray]:
    """The layer and what it holds for `images` without views: float32 (N, D)."""
    layer, channels = middle_layer(runner.module)
    with captured_features(runner.module, layer, channels) as caught:
        predict(runner, images, "none", module=runner.module, label=label)
    return layer, torch.cat(caught).numpy()


def predicted_with_features(
    networks: list[Runner], images: Images, tta: str, label: str = "predicting"
) -> tuple[np.ndarray, np.ndarray]:
    """Mean probabilities (N, K), and the last network's features of the images as they are, float32 (N, D).

    Both are of one pass, but for `crops`, of whose views none is the image as it is.

    Raises:
        NoFeatureLayer: the network does not name its layers.
    """
    runner = networks[-1]
    layer, channels = middle_layer(runner.module)
    if tta == "crops":
        return predict_mean(networks, images, tta, label), features(runner, images)[1]
    with captured_features(runner.module, layer, channels) as caught:
        probs = predict_mean(networks, images, tta, label)
    return probs, of_first_views(caught, runner, images, tta)


def of_first_views(caught: list[Tensor], runner: Runner, images: Images, tta: str) -> np.ndarray:
    """Of the features of all passes those of the images as they are, float32 (N, D)."""
    batches = -(-len(images) // PREDICT_BATCH)
    every = 1 if runner.confidence is not None else count_views(tta)
    return torch.cat(caught[::every][:batches]).numpy()


def fit(
    runner: Runner,
    train: Images,
    val: Images,
    checkpoint: str,
    label: str = LABEL,
    val_features: np.ndarray | None = None,
) -> OodDetector:
    """Fit to `train`, set the threshold by `val`.

    Args:
        runner: the network.
        train: images that are in distribution.
        val: images of which one in twenty is beyond the threshold.
        checkpoint: the hash of the weights.
        label: of the bars.
        val_features: those of `val`, where they are known, float32 (N, D).

    Raises:
        NoFeatureLayer: the network does not name its layers.
    """
    from sklearn.covariance import LedoitWolf  # half a second, which who only predicts does not wait for

    layer, seen = features(runner, train, label)
    mean, spread = seen.mean(axis=0), seen.std(axis=0)
    scale = np.where(spread > 1e-6, spread, 1).astype(np.float32)  # a channel that never fires has no scale of its own
    fitted = LedoitWolf(assume_centered=True).fit((seen - mean).astype(np.float64) / scale)
    made = OodDetector(layer, mean, scale, fitted.precision_.astype(np.float32), 1.0, checkpoint)
    known = features(runner, val, label)[1] if val_features is None else val_features
    distances = made._distance(known)
    return OodDetector(layer, mean, scale, made.precision, float(np.quantile(distances, QUANTILE)), checkpoint)


def write(path: Path, known: OodDetector) -> None:
    """As an .npz: the same content has the same bytes."""
    buffer = io.BytesIO()
    arrays: dict[str, Any] = {name: np.asarray(value) for name, value in asdict(known).items()}
    np.savez(buffer, **arrays)
    write_bytes(path, buffer.getvalue())


def read(path: Path) -> OodDetector:
    """What `write` wrote.

    Raises:
        InputError: the file is damaged.
    """
    advice = "restore it, or delete it and predict without an out-of-distribution score"
    try:
        require_npz_size(path)
        stored = load_npz(path)
        mean, scale, precision = stored["mean"], stored["scale"], stored["precision"]
        threshold, checkpoint = float(stored["threshold"]), str(stored["checkpoint"])
        found = OodDetector(str(stored["layer"]), mean, scale, precision, threshold, checkpoint)
    except DAMAGED_ARCHIVE as error:
        raise InputError(f"{path} is damaged; {advice}") from error
    numbers = len(mean) if mean.ndim == 1 else 0
    shapes = (mean.shape, scale.shape, precision.shape)
    is_sound = shapes == ((numbers,), (numbers,), (numbers, numbers)) and np.isfinite(threshold)
    if not is_sound or not all(array.dtype == np.float32 for array in (mean, scale, precision)):
        raise InputError(f"{path} holds no out-of-distribution detector; {advice}")
    return found
