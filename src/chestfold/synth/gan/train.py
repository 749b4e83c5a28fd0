"""Training a GAN on the nodules of one fold's training part, from top to bottom.

No generator state is kept: step n draws its patches, its z and its augmentation as functions of (seed, fold, n). A
checkpoint holds both networks, both optimizers and the average; with these a killed training goes on as if nothing
had happened.
"""

import json
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save
from torch import Tensor, nn

from chestfold.core import checkpoint, distributed
from chestfold.core.console import bar, say
from chestfold.core.errors import InputError, TrainingError
from chestfold.core.files import (
    sha256_json,
    write_bytes,
)
from chestfold.core.provenance import provenance
from chestfold.core.rng import generator, key
from chestfold.data import folds
from chestfold.data.cache import open_cache
from chestfold.data.catalogue import open_index
from chestfold.data.sampling import random_share
from chestfold.models.runner import cpu_has_bf16
from chestfold.synth.gan.diffaug import turned, varied
from chestfold.synth.gan.generator import (
    WEIGHTS,
    GeneratorConfig,
    GeneratorFolder,
    GeneratorManifest,
    generator_folder,
    to_pixels,
)
from chestfold.synth.gan.grid import write_grid
from chestfold.synth.gan.networks import (
    ARCHITECTURES,
    LATENT,
    SIDE,
    Discriminator,
    Generator,
    average_into,
    discriminator_loss,
    generator_loss,
    plain,
    settle,
)

GENERATOR_LR, DISCRIMINATOR_LR, BETAS = 1e-4, 4e-4, (0.0, 0.9)
"""Zhang et al. (2019), section 5: two rates instead of several discriminator steps a generator step."""
CHECKPOINT_SECONDS = 120.0
NOTE_EVERY = 50
"""Steps between lines of metrics.jsonl."""
LOOK_EVERY = 500
"""Steps between sample pictures, and looks at whether the generator has collapsed."""
MAX_IMAGES = 64
"""Patches in a sample picture, always from the same z."""
SETTLE_BATCHES = 20
ALIKE = 0.25
"""Samples whose mean distance is under this share of that of real patches have collapsed."""
WON = 0.01
"""A discriminator whose mean loss over all steps between two looks is under this has left nothing to learn from."""
PATIENT_UNTIL = 1000
"""Steps before collapse is judged: an untrained generator's patches are alike by nature."""


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
        if self.architecture not in ARCHITECTURES:
            raise InputError(f"architecture = {self.architecture!r} is not one of {', '.join(ARCHITECTURES)}")
        for name, low in (("steps", 1), ("batch", 2), ("width", 8), ("seed", 0)):
            if getattr(self, name) < low:
                raise InputError(f"{name} = {getattr(self, name)}: at least {low}")
        if not 0 < self.share <= 1:
            raise InputError(f"share = {self.share}: above 0, at most 1")


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
    table = chosen.table[(chosen.table["fold"] != recipe.fold) & (chosen.table["label"] == index.dataset.positive)]
    ids = random_share(table["id"].tolist(), recipe.share, recipe.seed, recipe.fold)
    if len(ids) < recipe.batch:
        raise TrainingError(
            f"{len(ids)} training images of class {index.dataset.positive} do not fill a batch; lower --batch"
        )
    cache = open_cache(index, SIDE)
    bound = {"index_sha256": index.sha256(), "content_sha256": cache.content, "folds_sha256": chosen.sha256}
    return Nodules(ids, np.asarray(cache.images[cache.rows(ids)]), bound)


class State:
    """All that changes while a generator trains, on the GPU if there is one."""

    def __init__(self, recipe: Recipe) -> None:
        self.device = distributed.device()
        torch.manual_seed(key(recipe.seed, recipe.fold, "gan weights") >> 1)
        self.live, self.judge = Generator(recipe.architecture, recipe.width), Discriminator(recipe.width)
        self.average = Generator(recipe.architecture, recipe.width, plain)
        for module in (self.live, self.judge, self.average):
            _settle_down(module, self.device)
        average_into(self.average, self.live, 0.0)
        self.optimizer = _adam(self.live, GENERATOR_LR)
        self.judge_optimizer = _adam(self.judge, DISCRIMINATOR_LR)
        self.step = 0
        self.recent: list[list[float]] = []
        self.history: list[dict[str, float]] = []

    def parts(self) -> dict[str, Any]:
        """Name -> what has a state_dict."""
        names = ("live", "judge", "average", "optimizer", "judge_optimizer")
        return {name: getattr(self, name) for name in names}

    def to_dict(self) -> dict[str, Any]:
        """What a checkpoint holds."""
        counters = {"step": self.step, "recent": self.recent, "history": json.dumps(self.history)}
        return {name: part.state_dict() for name, part in self.parts().items()} | counters

    def restore(self, saved: dict[str, Any]) -> None:
        """Become what `to_dict` was taken from."""
        for name, part in self.parts().items():
            part.load_state_dict(saved[name])
        self.step, self.recent, self.history = saved["step"], saved["recent"], json.loads(saved["history"])


def _settle_down(module: nn.Module, device: torch.device) -> None:
    """To the device, channels last: convolutions of a CPU are half as fast again in this order."""
    convert: Any = module.to
    convert(device, memory_format=torch.channels_last)


def _adam(module: nn.Module, lr: float) -> torch.optim.Adam:
    return torch.optim.Adam(module.parameters(), lr=lr, betas=BETAS, fused=True)


def latents(recipe: Recipe, count: int, *draw: int | str) -> Tensor:
    """z of `count` patches, float32 (count, 100), a function of the seed, the fold and the names of the draw."""
    rng = generator(recipe.seed, recipe.fold, "z", *draw)
    return torch.from_numpy(rng.standard_normal((count, LATENT)).astype(np.float32))


def real_batch(recipe: Recipe, nodules: Nodules, step: int) -> Tensor:
    """Real patches of a step, (B, 1, 64, 64) in -1 to 1, turned at random."""
    rng = generator(recipe.seed, recipe.fold, "real", step)
    chosen = turned(nodules.pixels[rng.choice(len(nodules.ids), recipe.batch, replace=False)], rng)
    return torch.from_numpy(np.ascontiguousarray(chosen)).unsqueeze(1).float() / 127.5 - 1


def train_step(recipe: Recipe, state: State, nodules: Nodules, precision: str) -> list[float]:
    """One step of the discriminator and one of the generator, on the device of `state`.

    Returns:
        Loss of the discriminator, of the generator, mean score of the real patches, of the generated ones.
    """
    step, batch, device = state.step, recipe.batch, state.device
    draw = (recipe.seed, recipe.fold, "vary", step)
    low = torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16")
    with torch.no_grad(), low:
        fake = state.live(latents(recipe, batch, "judge", step).to(device)).float()
    both = torch.cat([varied(real_batch(recipe, nodules, step).to(device), generator(*draw, "real")),
                      varied(fake, generator(*draw, "fake"))])  # fmt: skip
    with low:
        scores = state.judge(both).float()
    judged = discriminator_loss(scores[:batch], scores[batch:])
    _update(state.judge_optimizer, judged)
    with low:
        made = state.live(latents(recipe, batch, "make", step).to(device)).float()
        loss = generator_loss(state.judge(varied(made, generator(*draw, "make"))).float())
    _update(state.optimizer, loss)
    decay = min(ARCHITECTURES[recipe.architecture].ema_decay, (1 + step) / (10 + step))
    average_into(state.average, state.live, decay)
    state.step += 1
    return torch.stack([judged, loss, scores[:batch].mean(), scores[batch:].mean()]).tolist()


def _update(optimizer: torch.optim.Optimizer, loss: Tensor) -> None:
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    optimizer.step()


def settled(recipe: Recipe, state: State) -> Generator:
    """A copy of the averaged generator with statistics of its own, ready to draw from on a CPU."""
    made = Generator(recipe.architecture, recipe.width, plain)
    made.load_state_dict(state.average.state_dict())
    settle(made, [latents(recipe, 64, "settle", n) for n in range(SETTLE_BATCHES)])
    return made


@torch.no_grad()
def samples(recipe: Recipe, state: State) -> np.ndarray:
    """The patches that are looked at, uint8 (64, 64, 64): always from the same z."""
    return to_pixels(settled(recipe, state)(latents(recipe, MAX_IMAGES, "look")))


def spread(patches: np.ndarray) -> float:
    """Mean Euclidean distance between two of `patches` (N, S, S) in grey levels, over all pairs."""
    flat = torch.from_numpy(patches.reshape(len(patches), -1).astype(np.float32))
    return float(torch.pdist(flat).mean())


def look(recipe: Recipe, state: State, nodules: Nodules, folder: Path) -> dict[str, float]:
    """Write the sample picture of this step; returns how different its patches are, and as many real ones.

    Raises:
        InputError: the training has collapsed.
    """
    made = samples(recipe, state)
    write_grid(folder / f"samples_{state.step:06d}.png", made)
    figures = {"spread": spread(made), "real_spread": spread(nodules.pixels[:MAX_IMAGES])}
    judged = float(np.mean([row["judge_loss"] for row in state.history if row["step"] > state.step - LOOK_EVERY]))
    reason = collapse(figures["spread"], figures["real_spread"], judged)
    if reason and state.step >= PATIENT_UNTIL:
        raise TrainingError(
            f"the training in {folder} has collapsed at step {state.step}: {reason}; train again with another "
            "--seed, a smaller --width or a larger --share, and --overwrite"
        )
    return figures


def collapse(made: float, real: float, judged: float) -> str:
    """Why a training has collapsed, or nothing. Spreads of generated and real patches; the discriminator's loss."""
    if made < ALIKE * real:
        return f"its patches differ by {made:.0f} grey levels on average, real ones by {real:.0f}"
    if judged < WON:
        return f"the discriminator's loss is {judged:.4f}, so that the generator learns nothing more"
    return ""


def fit(recipe: Recipe, nodules: Nodules, precision: str, folder: GeneratorFolder) -> State:
    """Train, going on from `folder/last.ckpt` if there is one; leaves metrics.jsonl and sample pictures.

    Raises:
        InputError: the training has collapsed, or a loss is no number; the disk is full.
    """
    state = State(recipe)
    saved, complaints = checkpoint.load_newest(folder.last_checkpoint)
    for sentence in complaints:
        say(sentence)
    if saved:
        state.restore(saved)
        say(f"{folder.path}: resuming at step {state.step + 1}")
    saved_at = time.monotonic()
    began, cpu_began = time.perf_counter(), time.process_time()
    with bar(f"fold {recipe.fold}", recipe.steps, done=state.step) as advance:
        while state.step < recipe.steps:
            state.recent.append(train_step(recipe, state, nodules, precision))
            last = state.step == recipe.steps
            if state.step % NOTE_EVERY == 0 or last:
                note(recipe, state)
                measured = look(recipe, state, nodules, folder.path) if state.step % LOOK_EVERY == 0 or last else {}
                now, cpu_now = time.perf_counter(), time.process_time()
                timing = {"seconds": now - began, "cpu_seconds": cpu_now - cpu_began}
                folder.write_history(state.history, "step", timing | measured)
                began, cpu_began = now, cpu_now
            if last or time.monotonic() - saved_at > CHECKPOINT_SECONDS:
                checkpoint.save_keeping_previous(folder.last_checkpoint, state.to_dict())
                saved_at = time.monotonic()
            advance()
    return state


def note(recipe: Recipe, state: State) -> None:
    """Move the figures of the last steps into the history; one that is no number ends the training here."""
    means = np.mean(state.recent, axis=0)
    if not np.isfinite(means).all():
        raise InputError(
            f"a loss is no number at step {state.step} of fold {recipe.fold}; train again with another --seed and "
            "--overwrite"
        )
    names = ("judge_loss", "generator_loss", "real_score", "made_score")
    state.history.append({"step": state.step} | dict(zip(names, means.tolist(), strict=True)))
    state.recent = []


def train(name: str, recipe: Recipe, overwrite: bool = False) -> Path:
    """Train runs/synth/NAME/foldK unless it is finished; returns the folder.

    Raises:
        InputError: the folder was begun with another recipe or other data.
        TrainingError: the training has collapsed.
    """
    folder = generator_folder(name, recipe.fold)
    nodules = read_nodules(recipe)
    config = GeneratorConfig(settings=asdict(recipe), fingerprint=nodules.fingerprint, precision=precision_here())
    with folder.lock():
        folder.claim(config, overwrite)
        if folder.is_finished():
            say(f"{folder.path} is finished")
            return folder.path
        say(f"{folder.path}: {len(nodules.ids)} real patches, {recipe.steps} steps, {config.precision}")
        state = fit(recipe, nodules, config.precision, folder)
        finish(recipe, state, nodules, config, folder)
    return folder.path


def precision_here() -> str:
    """`bf16` where the device has instructions for it, else `fp32`."""
    if distributed.device().type == "cuda":
        fast = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        fast = cpu_has_bf16()
    return "bf16" if fast else "fp32"


def finish(recipe: Recipe, state: State, nodules: Nodules, config: GeneratorConfig, folder: GeneratorFolder) -> None:
    """Write the generator and the manifest, which is what makes it finished."""
    weights = {name: value.contiguous() for name, value in settled(recipe, state).state_dict().items()}
    write_bytes(folder.weights_path, save(weights))  # not save_file, whose file nobody but its owner may read
    checkpoint.previous(folder.last_checkpoint).unlink(missing_ok=True)
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
