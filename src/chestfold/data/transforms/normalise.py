"""What becomes of an image's values before a network sees them, other than by the statistics of its weights."""

from collections.abc import Callable

from torch import Tensor

from chestfold.core import hooks
from chestfold.core.config import Experiment, require_choice

WEIGHTS = "weights"
"""The default: minus the mean, over the deviation, that the weights were trained with (models.runner)."""


def standardised(images: Tensor) -> Tensor:
    """Each image minus its own mean, over its own standard deviation, all channels together.

    The deviation is taken for at least 1/255 over the root of the number of values, so that an image of one value
    becomes 0, not noise: as `tf.image.per_image_standardization` does, where white is 255.
    """
    values = images.flatten(1)
    mean = values.mean(dim=1)
    deviation = values.std(dim=1, correction=0).clamp(min=values.shape[1] ** -0.5 / 255)
    return (images - mean[:, None, None, None]) / deviation[:, None, None, None]


NORMALISATIONS: dict[str, Callable[[Tensor], Tensor]] = hooks.registry("NORMALISATIONS", {"image": standardised})
"""Name of `Experiment.normalise` -> function of float32 images (B, C, H, W), 0 black to 1 white."""


def require_normalisation(exp: Experiment) -> None:
    """Raise `InputError`, with the nearest name, when no normalisation is called `exp.normalise`."""
    require_choice("normalise", exp.normalise, [WEIGHTS, *NORMALISATIONS])
