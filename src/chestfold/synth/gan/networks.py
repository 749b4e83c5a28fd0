"""The networks of a self-attention GAN for 64 x 64 grey patches (Zhang et al., ICML 2019, arXiv:1805.08318).

Spectral normalisation in both networks (section 4.1), self-attention with a gate that starts at 0 (section 3, eq. 3).
Two generators: `sagan` upsamples by copying pixels and convolves (Odena et al., Distill 2016, "Deconvolution and
checkerboard artifacts"), `transposed` by transposed convolutions. The discriminator is the same.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

SIDE = 64
"""Pixels a side of a generated patch."""
LATENT = 100
"""Size of the vector that a patch is generated from (z)."""
START = 4
"""Pixels a side of the generator's first feature map."""

EMA_DECAY = {"sagan": 0.999, "transposed": 0.0}
"""Architecture -> decay of the moving average of the weights over steps; 0: the last step's weights are used."""
Norm = Callable[[nn.Module], nn.Module]


def plain(module: nn.Module) -> nn.Module:
    """No normalisation: a finished generator's weights are normalised already."""
    return module


class Attention(nn.Module):
    """Self-attention over all positions of a feature map, times a learned gate that starts at 0, added to the map.

    Keys and values are max-pooled by 2, which quarters the cost, as in the paper's own code.
    """

    def __init__(self, channels: int, norm: Norm) -> None:
        super().__init__()
        inner = max(1, channels // 8)
        half = max(1, channels // 2)
        self.query = norm(nn.Conv2d(channels, inner, 1))
        self.key = norm(nn.Conv2d(channels, inner, 1))
        self.value = norm(nn.Conv2d(channels, half, 1))
        self.out = norm(nn.Conv2d(half, channels, 1))
        self.gate = nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to the same shape."""
        query = self.query(x).flatten(2)
        key = F.max_pool2d(self.key(x), 2).flatten(2)
        value = F.max_pool2d(self.value(x), 2).flatten(2)
        weights = torch.softmax(query.transpose(1, 2) @ key, dim=-1)
        attended = (value @ weights.transpose(1, 2)).unflatten(2, x.shape[2:])
        return x + self.gate * self.out(attended)


def upsample(architecture: str, channels: int, out: int, norm: Norm) -> list[nn.Module]:
    """Layers that double the side of a feature map.

    `sagan`: a 3 x 3 convolution after nearest-neighbour upsampling, so that neighbouring outputs are made alike.
    `transposed`: a transposed convolution of 4 x 4, stride 2, whose overlapping blocks may leave a checkerboard.
    """
    if architecture == "transposed":
        layers = [norm(nn.ConvTranspose2d(channels, out, 4, 2, 1, bias=False))]
    else:
        layers = [nn.Upsample(scale_factor=2), norm(nn.Conv2d(channels, out, 3, padding=1, bias=False))]
    return [*layers, nn.BatchNorm2d(out), nn.ReLU()]


def to_image(architecture: str, channels: int, norm: Norm) -> list[nn.Module]:
    """Layers that double the side of a feature map and leave one channel."""
    if architecture == "transposed":
        return [norm(nn.ConvTranspose2d(channels, 1, 4, 2, 1))]
    half = max(1, channels // 2)
    return [*upsample(architecture, channels, half, norm), norm(nn.Conv2d(half, 1, 3, padding=1))]


class Generator(nn.Module):
    """z (B, 100) to patches (B, 1, 64, 64) in -1 to 1. `width`: channels at 32 x 32; twice as many at 16 x 16.

    The attention is at 16 x 16: at 32 x 32 it took more than half of a step's time on a CPU.
    """

    def __init__(self, architecture: str, width: int, norm: Norm = spectral_norm) -> None:
        super().__init__()
        self.first = norm(nn.Linear(LATENT, 8 * width * START**2, bias=False))
        self.norm = nn.BatchNorm2d(8 * width)
        self.coarse = nn.Sequential(
            *upsample(architecture, 8 * width, 4 * width, norm), *upsample(architecture, 4 * width, 2 * width, norm)
        )
        self.attention = Attention(2 * width, norm)
        self.fine = nn.Sequential(*upsample(architecture, 2 * width, width, norm), *to_image(architecture, width, norm))

    def forward(self, z: Tensor) -> Tensor:
        """Patches (B, 1, 64, 64)."""
        x = self.first(z).unflatten(1, (-1, START, START)).contiguous(memory_format=torch.channels_last)
        x = self.coarse(F.relu(self.norm(x)))
        return torch.tanh(self.fine(self.attention(x)))


class Discriminator(nn.Module):
    """Patches (B, 1, 64, 64) to (B,): high for real ones. Strided convolutions of 4 x 4, attention at 16 x 16."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.fine = nn.Sequential(_strided(1, width), _strided(width, 2 * width))
        self.attention = Attention(2 * width, spectral_norm)
        self.coarse = nn.Sequential(_strided(2 * width, 4 * width), _strided(4 * width, 8 * width))
        self.last = spectral_norm(nn.Conv2d(8 * width, 1, START))

    def forward(self, patches: Tensor) -> Tensor:
        """One score a patch, without bounds."""
        return self.last(self.coarse(self.attention(self.fine(patches)))).flatten()


def _strided(channels: int, out: int) -> nn.Module:
    return nn.Sequential(spectral_norm(nn.Conv2d(channels, out, 4, 2, 1)), nn.LeakyReLU(0.1))


def discriminator_loss(real: Tensor, fake: Tensor) -> Tensor:
    """Hinge loss (section 4, eq. 4): 0 where real ones score above 1 and generated ones below -1. Both (B,)."""
    return F.relu(1 - real).mean() + F.relu(1 + fake).mean()


def generator_loss(fake: Tensor) -> Tensor:
    """The generator's side of the hinge loss: the negative mean score of its patches (B,)."""
    return -fake.mean()


@torch.no_grad()
def update_average(average: Generator, generator: Generator, decay: float) -> None:
    """Move the weights of `average`, made with `plain`, towards the normalised weights of `generator`.

    What is averaged is what the layers compute with: an average of unnormalised weights would need the singular
    vectors of an average, which nobody has.
    """
    generator.eval()  # in training mode each read of a weight would move its singular vectors
    for name, module in average.named_modules():
        source = generator.get_submodule(name)
        for key, weight in module.named_parameters(recurse=False):
            weight.lerp_(getattr(source, key), 1 - decay)
    generator.train()
