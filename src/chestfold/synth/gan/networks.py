"""The networks of a self-attention GAN for 64 x 64 grey patches (Zhang et al., ICML 2019, arXiv:1805.08318).

Spectral normalisation in both networks (section 4.1), self-attention with a gate that starts at 0 (section 3, eq. 3).
Two generators: `sagan` enlarges by copying pixels and convolves (Odena et al., Distill 2016, "Deconvolution and
checkerboard artifacts"), `transposed` by transposed convolutions. The discriminator is the same.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

SIDE = 64
"""Pixels a side of what is generated."""
LATENT = 100
"""Numbers that a patch is drawn from (z)."""
START = 4
"""Pixels a side of the generator's first map."""

Wrap = Callable[[nn.Module], nn.Module]


def plain(module: nn.Module) -> nn.Module:
    """The module as it is: what a finished generator is made of, whose weights are normalised already."""
    return module


class Attention(nn.Module):
    """Self-attention over all places of a map, times a learned gate that starts at 0, added to the map.

    Keys and values are max-pooled by 2, which quarters the cost, as in the paper's own code.
    """

    def __init__(self, channels: int, wrap: Wrap) -> None:
        super().__init__()
        inner, half = max(1, channels // 8), max(1, channels // 2)
        self.query = wrap(nn.Conv2d(channels, inner, 1))
        self.key = wrap(nn.Conv2d(channels, inner, 1))
        self.value = wrap(nn.Conv2d(channels, half, 1))
        self.out = wrap(nn.Conv2d(half, channels, 1))
        self.gate = nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to the same shape."""
        query = self.query(x).flatten(2)
        key, value = (F.max_pool2d(part(x), 2).flatten(2) for part in (self.key, self.value))
        weights = torch.softmax(query.transpose(1, 2) @ key, dim=-1)
        seen = (value @ weights.transpose(1, 2)).unflatten(2, x.shape[2:])
        return x + self.gate * self.out(seen)


def resize_block(channels: int, made: int, wrap: Wrap) -> nn.Module:
    """Twice the side: nearest neighbour, then a 3 x 3 convolution, whose every output sees as many inputs."""
    convolution = wrap(nn.Conv2d(channels, made, 3, padding=1, bias=False))
    return nn.Sequential(nn.Upsample(scale_factor=2), convolution, nn.BatchNorm2d(made), nn.ReLU())


def resize_last(channels: int, wrap: Wrap) -> nn.Module:
    """Twice the side, and one channel."""
    half = max(1, channels // 2)
    return nn.Sequential(resize_block(channels, half, wrap), wrap(nn.Conv2d(half, 1, 3, padding=1)))


def transposed_block(channels: int, made: int, wrap: Wrap) -> nn.Module:
    """Twice the side by a transposed convolution of 4 x 4, stride 2."""
    convolution = wrap(nn.ConvTranspose2d(channels, made, 4, 2, 1, bias=False))
    return nn.Sequential(convolution, nn.BatchNorm2d(made), nn.ReLU())


def transposed_last(channels: int, wrap: Wrap) -> nn.Module:
    """Twice the side, and one channel, by a transposed convolution."""
    return wrap(nn.ConvTranspose2d(channels, 1, 4, 2, 1))


@dataclass(frozen=True)
class Architecture:
    """How a generator doubles the side of its maps, and how its weights are averaged.

    `ema_decay`: of the moving average over steps that samples are drawn with; 0: the last step's weights.
    """

    block: Callable[[int, int, Wrap], nn.Module]
    last: Callable[[int, Wrap], nn.Module]
    ema_decay: float


ARCHITECTURES = {
    "sagan": Architecture(resize_block, resize_last, 0.999),
    "transposed": Architecture(transposed_block, transposed_last, 0.0),
}


class Generator(nn.Module):
    """z (B, 100) to patches (B, 1, 64, 64) in -1 to 1. `width`: channels at 32 x 32; twice as many at 16 x 16.

    The attention is at 16 x 16: at 32 x 32 it took more than half of a step's time on a CPU.
    """

    def __init__(self, architecture: str, width: int, wrap: Wrap = spectral_norm) -> None:
        super().__init__()
        kind = ARCHITECTURES[architecture]
        self.first = wrap(nn.Linear(LATENT, 8 * width * START**2, bias=False))
        self.norm = nn.BatchNorm2d(8 * width)
        self.coarse = nn.Sequential(*(kind.block(2 * n * width, n * width, wrap) for n in (4, 2)))
        self.attention = Attention(2 * width, wrap)
        self.fine = nn.Sequential(kind.block(2 * width, width, wrap), kind.last(width, wrap))

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
        self.coarse = nn.Sequential(*(_strided(n * width, 2 * n * width) for n in (2, 4)))
        self.last = spectral_norm(nn.Conv2d(8 * width, 1, START))

    def forward(self, patches: Tensor) -> Tensor:
        """One number a patch, without bounds."""
        return self.last(self.coarse(self.attention(self.fine(patches)))).flatten()


def _strided(channels: int, made: int) -> nn.Module:
    return nn.Sequential(spectral_norm(nn.Conv2d(channels, made, 4, 2, 1)), nn.LeakyReLU(0.1))


def discriminator_loss(real: Tensor, fake: Tensor) -> Tensor:
    """Hinge loss (section 4, eq. 4): 0 where real ones score above 1 and generated ones below -1. Both (B,)."""
    return F.relu(1 - real).mean() + F.relu(1 + fake).mean()


def generator_loss(fake: Tensor) -> Tensor:
    """The generator's side of the hinge loss: the score of its patches (B,), with the sign turned."""
    return -fake.mean()


@torch.no_grad()
def average_into(average: Generator, live: Generator, decay: float) -> None:
    """Move the weights of `average`, made with `plain`, towards the normalised weights of `live`.

    What is averaged is what the layers compute with: an average of unnormalised weights would need the singular
    vectors of an average, which nobody has.
    """
    live.eval()  # in training mode each look at a weight would move its singular vectors
    for name, module in average.named_modules():
        source = live.get_submodule(name)
        for key, weight in module.named_parameters(recurse=False):
            weight.lerp_(getattr(source, key), 1 - decay)
    live.train()


@torch.no_grad()
def settle(generator: Generator, latents: list[Tensor]) -> None:
    """Give the batch normalisations the mean statistics of some batches of z (BigGAN's standing statistics).

    Those that training leaves belong to other weights than the averaged ones.
    """
    norms = [m for m in generator.modules() if isinstance(m, nn.BatchNorm2d)]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # cumulative
    generator.train()
    for z in latents:
        generator(z)
    generator.eval()
