"""`chestfold synth quiz`: which nodules are real, and which were put there by a computer?"""

from chestfold.core.errors import InputError
from chestfold.core.rng import generator
from chestfold.synth.study.blended_set import BlendedSet, Sample, open_blended_set
from chestfold.synth.study.quiz import Question, Quiz, half_of


def blended_quiz(name: str, count: int, seed: int, blind: bool = False) -> Quiz:
    """A quiz of `count` images, half of them real, in a seeded order.

    Raises:
        InputError: an odd number, or more than there are.
    """
    questions = []
    for sample in draw_samples(open_blended_set(name), count, seed):
        questions.append(Question(sample.id, sample.truth, sample.image, sample.mask))
    return Quiz(name, "synthetic", ("real", "synthetic"), questions, blind)


def draw_samples(blended_set: BlendedSet, count: int, seed: int) -> list[Sample]:
    """Half real, half synthetic, shuffled. No nodule is shown twice: where it was found, and where it was put."""
    half = half_of(count)
    rng = generator("quiz", seed)
    synthetic = blended_set.blended.iloc[rng.permutation(len(blended_set.blended))[:half]]
    others = blended_set.real[~blended_set.real["real"].isin(synthetic["parents"])]
    real = others.iloc[rng.permutation(len(others))[:half]]
    samples = []
    for truth, chosen in (("synthetic", synthetic), ("real", real)):
        if len(chosen) < half:
            there = f"{blended_set.folder} has {len(chosen)} {truth} images for this quiz"
            raise InputError(f"{there}; ask for --count {2 * len(chosen)}, or blend more")
        samples += [blended_set.sample(image_id, truth) for image_id in chosen["id"]]
    return [samples[n] for n in rng.permutation(count)]
