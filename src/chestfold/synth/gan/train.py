"""Training a GAN on the nodules of one fold's training part, from top to bottom.

No random state is kept: step n draws its patches, its z and its augmentation as functions of (seed, fold, n). A
checkpoint holds both networks, both optimizers and the average; with these a killed training resumes to the same bytes.
"""

import json
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save
from scipy.spatial.distance import pdist
from torch import Tensor, nn
from torch.optim.swa_utils import update_bn

from chestfold.core import checkpoint, distributed, rng
from chestfold.core.console import bar, say
from chestfold.core.errors import InputError, TrainingError
from chestfold.core.files import remove, sha256_json, write_bytes
from chestfold.core.provenance import provenance
from chestfold.core.run_folder import Config
from chestfold.data import folds
from chestfold.data.cache import open_cache
from chestfold.data.catalogue import open_index
from chestfold.data.sampling import random_share
from chestfold.models.runner import cpu_has_bf16
from chestfold.synth.gan import networks
from chestfold.synth.gan.diffaug import diff_augment, random_d4
from chestfold.synth.gan.generator import WEIGHTS, GeneratorFolder, GeneratorManifest, generator_folder, to_pixels
from chestfold.synth.gan.images import write_grid
from chestfold.synth.gan.networks import EMA_DECAY, LATENT, SIDE, Discriminator, Generator, plain

GENERATOR_LR = 1e-4
DISCRIMINATOR_LR = 4e-4
BETAS = (0.0, 0.9)
"""Zhang et al. (2019), section 5: two rates instead of several discriminator steps a generator step."""
CHECKPOINT_SECONDS = 120.0
RECORD_EVERY = 50
"""Steps between rows of metrics.jsonl."""
SAMPLE_EVERY = 500
"""Steps between sample pictures, and checks whether the generator has collapsed; a multiple of `RECORD_EVERY`."""
SAMPLES = 64
"""Patches in a sample picture, always from the same z."""
BN_BATCHES = 20
"""Batches of z that the statistics of a finished generator's batch normalisations are taken over."""
COLLAPSED_SPREAD = 0.25
"""Samples whose mean distance is under this share of that of real patches have collapsed."""
COLLAPSED_LOSS = 0.01
"""A discriminator whose mean loss between two samples is under this leaves the generator nothing to learn from."""
GRACE_STEPS = 1000
"""Steps before collapse is checked: an untrained generator's patches are alike by nature."""
PARTS = ("generator", "discriminator", "average", "generator_optimizer", "discriminator_optimizer")
"""What a checkpoint holds of `State`."""
LOSSES = ("discriminator_loss", "generator_loss", "real_score", "fake_score")
"""What `train_step` returns, as metrics.jsonl calls it."""


@dataclass(frozen=True)
class Recipe:
    """Every setting of one training. `share`: of the fold's training nodules; `width`: channels at 32 x 32."""

    data: str
    fold: int
    architecture: str = "sagan"
    steps: int = 8000
    batch: int = 32
    width: int = 32
    share: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        if self.architecture not in EMA_DECAY:
            raise InputError(f"architecture = {self.architecture!r} is not one of {', '.join(EMA_DECAY)}")
        for name, least in (("steps", 1), ("batch", 2), ("width", 8), ("seed", 0)):
            if getattr(self, name) < least:
                raise InputError(f"{name} = {getattr(self, name)}: at least {least}")
        if not 0 < self.share <= 1:
            raise InputError(f"share = {self.share}: above 0, at most 1")


def train(name: str, recipe: Recipe, overwrite: bool = False) -> Path:
    """Train runs/synth/NAME/foldK unless it is finished; returns the folder.

    Raises:
        InputError: the folder was begun with another recipe or other data.
        TrainingError: the training has collapsed, or a loss is no number.
    """
    folder = generator_folder(name, recipe.fold)
    nodules = read_nodules(recipe)
    precision = best_precision()
    config = Config(settings=asdict(recipe) | {"precision": precision}, fingerprint=nodules.fingerprint)
    with folder.lock():
        folder.claim(config, overwrite)
        if folder.is_finished():
            say(f"{folder.path} is finished")
            return folder.path
        say(f"{folder.path}: {len(nodules.ids)} real patches, {recipe.steps} steps, {precision}")
        state = fit(recipe, nodules, precision, folder)
        finish(recipe, state, nodules, config, folder)
    return folder.path


def best_precision() -> str:
    """`bf16` where the device has instructions for it, else `fp32`."""
    if distributed.device().type == "cuda":
        has_bf16 = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        has_bf16 = cpu_has_bf16()
    return "bf16" if has_bf16 else "fp32"


@dataclass(frozen=True)
class Nodules:
    """What a generator is trained on: `pixels` uint8 (N, 64, 64) of `ids`, and the hashes of where they are from."""

    ids: list[str]
    pixels: np.ndarray
    fingerprint: dict[str, str]


def read_nodules(recipe: Recipe) -> Nodules:
    """The positive class of the training part of the recipe's fold, or its share of it.

    Raises:
        InputError: no such data set or fold; fewer nodules than a batch.
    """
    index = open_index(recipe.data)
    chosen = folds.load(recipe.data, index)
    chosen.require(recipe.fold)
    table = chosen.table
    nodules = table[(table["fold"] != recipe.fold) & (table["label"] == index.dataset.positive)]
    ids = random_share(nodules["id"].tolist(), recipe.share, recipe.seed, recipe.fold)
    if len(ids) < recipe.batch:
        raise InputError(
            f"{len(ids)} training images of class {index.dataset.positive} do not fill a batch; lower --batch"
        )
    cache = open_cache(index, SIDE)
    fingerprint = {"index_sha256": index.sha256(), "content_sha256": cache.content, "folds_sha256": chosen.sha256}
    return Nodules(ids, np.asarray(cache.images[cache.rows(ids)]), fingerprint)


class State:
    """All that changes while a generator trains, on the GPU if there is one."""

    def __init__(self, recipe: Recipe) -> None:
        self.device = distributed.device()
        torch.manual_seed(rng.key(recipe.seed, recipe.fold, "gan weights") >> 1)
        self.generator = _to_device(Generator(recipe.architecture, recipe.width), self.device)
        self.discriminator = _to_device(Discriminator(recipe.width), self.device)
        self.average = _to_device(Generator(recipe.architecture, recipe.width, plain), self.device)
        networks.update_average(self.average, self.generator, decay=0.0)
        self.generator_optimizer = create_optimizer(self.generator, GENERATOR_LR)
        self.discriminator_optimizer = create_optimizer(self.discriminator, DISCRIMINATOR_LR)
        self.step = 0
        self.recent: list[list[float]] = []
        self.history: list[dict[str, float]] = []

    def to_dict(self) -> dict[str, Any]:
        """What a checkpoint holds."""
        states = {name: getattr(self, name).state_dict() for name in PARTS}
        return states | {"step": self.step, "recent": self.recent, "history": json.dumps(self.history)}

    def restore(self, saved: dict[str, Any]) -> None:
        """Become what `to_dict` was taken from."""
        for name in PARTS:
            getattr(self, name).load_state_dict(saved[name])
        self.step = saved["step"]
        self.recent = saved["recent"]
        self.history = json.loads(saved["history"])


def _to_device(module: Any, device: torch.device) -> Any:
    """To the device, channels last: convolutions of a CPU are half as fast again in this order."""
    return module.to(device, memory_format=torch.channels_last)


def create_optimizer(module: nn.Module, lr: float) -> torch.optim.Adam:
    """Adam with the paper's betas."""
    return torch.optim.Adam(module.parameters(), lr=lr, betas=BETAS, fused=True)


def fit(recipe: Recipe, nodules: Nodules, precision: str, folder: GeneratorFolder) -> State:
    """Train, resuming from `folder/last.ckpt` if there is one; leaves metrics.jsonl and sample pictures.

    Raises:
        TrainingError: the training has collapsed, or a loss is no number.
    """
    state = State(recipe)
    saved, complaints = checkpoint.load_newest(folder.last_checkpoint)
    for sentence in complaints:
        say(sentence)
    if saved:
        state.restore(saved)
        say(f"{folder.path}: resuming at step {state.step + 1}")
    saved_at = time.monotonic()
    started = time.perf_counter()
    cpu_started = time.process_time()
    with bar(f"fold {recipe.fold}", recipe.steps, done=state.step) as advance:
        while state.step < recipe.steps:
            state.recent.append(train_step(recipe, state, nodules, precision))
            is_last = state.step == recipe.steps
            if state.step % RECORD_EVERY == 0 or is_last:
                record_losses(recipe, state)
                is_sampled = state.step % SAMPLE_EVERY == 0 or is_last
                spreads = check_samples(recipe, state, nodules, folder.path) if is_sampled else {}
                seconds = time.perf_counter() - started
                timing = {"seconds": seconds, "cpu_seconds": time.process_time() - cpu_started}
                folder.write_history(state.history, "step", timing | spreads)
                started = time.perf_counter()
                cpu_started = time.process_time()
            if is_last or time.monotonic() - saved_at > CHECKPOINT_SECONDS:
                checkpoint.save_keeping_previous(folder.last_checkpoint, state.to_dict())
                saved_at = time.monotonic()
            advance()
    return state


def train_step(recipe: Recipe, state: State, nodules: Nodules, precision: str) -> list[float]:
    """One step of the discriminator and one of the generator, on the device of `state`.

    Returns:
        `LOSSES`: of the discriminator, of the generator, mean score of the real patches, of the generated ones.
    """
    step = state.step
    count = recipe.batch
    low = torch.autocast(state.device.type, torch.bfloat16, enabled=precision == "bf16")

    def augment(patches: Tensor, kind: str) -> Tensor:
        return diff_augment(patches, rng.generator(recipe.seed, recipe.fold, "augment", step, kind))

    def generate(kind: str) -> Tensor:
        z = latents(recipe, count, kind, step).to(state.device)
        return state.generator(z).float()

    real = real_batch(recipe, nodules, step).to(state.device)
    with torch.no_grad(), low:
        fake = generate("discriminator")
    batch = torch.cat([augment(real, "real"), augment(fake, "fake")])
    with low:
        scores = state.discriminator(batch).float()
    real_scores, fake_scores = scores.split(count)
    discriminator = networks.discriminator_loss(real_scores, fake_scores)
    _update(state.discriminator_optimizer, discriminator)
    with low:
        made = augment(generate("generator"), "generator")
        loss = networks.generator_loss(state.discriminator(made).float())
    _update(state.generator_optimizer, loss)
    decay = min(EMA_DECAY[recipe.architecture], (1 + step) / (10 + step))
    networks.update_average(state.average, state.generator, decay)
    state.step += 1
    return torch.stack([discriminator, loss, real_scores.mean(), fake_scores.mean()]).tolist()


def _update(optimizer: torch.optim.Optimizer, loss: Tensor) -> None:
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    optimizer.step()


def latents(recipe: Recipe, count: int, *draw: int | str) -> Tensor:
    """z of `count` patches, float32 (count, 100), a function of the seed, the fold and the names of the draw."""
    normal = rng.generator(recipe.seed, recipe.fold, "z", *draw).standard_normal((count, LATENT))
    return torch.from_numpy(normal.astype(np.float32))


def real_batch(recipe: Recipe, nodules: Nodules, step: int) -> Tensor:
    """Real patches of a step, (B, 1, 64, 64) in -1 to 1, rotated at random."""
    draws = rng.generator(recipe.seed, recipe.fold, "real", step)
    rows = draws.choice(len(nodules.ids), recipe.batch, replace=False)
    patches = random_d4(nodules.pixels[rows], draws)
    return torch.from_numpy(patches).unsqueeze(1).float() / 127.5 - 1


def record_losses(recipe: Recipe, state: State) -> None:
    """Move the mean losses of the last steps into the history.

    Raises:
        TrainingError: one is no number.
    """
    means = np.mean(state.recent, axis=0)
    if not np.isfinite(means).all():
        raise TrainingError(
            f"a loss is no number at step {state.step} of fold {recipe.fold}; train again with another --seed and "
            "--overwrite"
        )
    state.history.append({"step": state.step} | dict(zip(LOSSES, means.tolist(), strict=True)))
    state.recent = []


def finished_generator(recipe: Recipe, state: State) -> Generator:
    """A copy of the averaged generator, ready to draw from on a CPU.

    Its batch normalisations get the mean statistics of some batches of z (BigGAN's standing statistics): those that
    training leaves belong to other weights than the averaged ones.
    """
    made = Generator(recipe.architecture, recipe.width, plain)
    made.load_state_dict(state.average.state_dict())
    update_bn([latents(recipe, 64, "statistics", n) for n in range(BN_BATCHES)], made)
    return made.eval()


@torch.no_grad()
def draw_samples(recipe: Recipe, state: State) -> np.ndarray:
    """The patches of the sample picture, uint8 (64, 64, 64): always from the same z."""
    return to_pixels(finished_generator(recipe, state)(latents(recipe, SAMPLES, "samples")))


def spread(patches: np.ndarray) -> float:
    """Mean Euclidean distance between two of `patches` (N, S, S) in grey levels, over all pairs."""
    return float(pdist(patches.reshape(len(patches), -1)).mean())


def check_samples(recipe: Recipe, state: State, nodules: Nodules, folder: Path) -> dict[str, float]:
    """Write the sample picture of this step; returns the spread of its patches, and that of as many real ones.

    Raises:
        TrainingError: the training has collapsed.
    """
    made = draw_samples(recipe, state)
    write_grid(folder / f"samples_{state.step:06d}.png", made, columns=8)
    spreads = {"spread": spread(made), "real_spread": spread(nodules.pixels[:SAMPLES])}
    since = state.step - SAMPLE_EVERY
    losses = [row["discriminator_loss"] for row in state.history if row["step"] > since]
    reason = collapse(spreads["spread"], spreads["real_spread"], float(np.mean(losses)))
    if reason and state.step >= GRACE_STEPS:
        raise TrainingError(
            f"the training in {folder} has collapsed at step {state.step}: {reason}; train again with another "
            "--seed, a smaller --width or a larger --share, and --overwrite"
        )
    return spreads


def collapse(made: float, real: float, loss: float) -> str:
    """Why a training has collapsed, or nothing. Spreads of generated and real patches; the discriminator's loss."""
    if made < COLLAPSED_SPREAD * real:
        return f"its patches differ by {made:.0f} grey levels on average, real ones by {real:.0f}"
    if loss < COLLAPSED_LOSS:
        return f"the discriminator's loss is {loss:.4f}, so that the generator learns nothing more"
    return ""


def finish(recipe: Recipe, state: State, nodules: Nodules, config: Config, folder: GeneratorFolder) -> None:
    """Write the generator and the manifest, which is what makes it finished."""
    weights = {name: value.contiguous() for name, value in finished_generator(recipe, state).state_dict().items()}
    write_bytes(folder.path / WEIGHTS, save(weights))  # not save_file, whose file nobody but its owner may read
    remove(checkpoint.previous(folder.last_checkpoint))
    rows = folder.history()
    manifest = GeneratorManifest(
        config_sha256=sha256_json(config.to_dict()),
        parents=nodules.ids,
        seconds=round(sum(row.get("seconds", 0.0) for row in rows), 1),
        cpu_seconds=round(sum(row.get("cpu_seconds", 0.0) for row in rows), 1),
        files=folder.hashes([WEIGHTS, "metrics.jsonl"]),
        **provenance().to_dict(),
    )
    manifest.write(folder.manifest_path)
