"""What a network sees of a picture: one treatment for training, validation, shifts, test and a single picture."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from conftest import tiny_experiment

from chestfold.core.config import Experiment
from chestfold.core.errors import InputError
from chestfold.data.catalogue import find_dataset
from chestfold.data.loader import Images, TrainBatches, images_of, plain_batches
from chestfold.data.phantom import draw_slice
from chestfold.data.transforms.corruptions import CORRUPTIONS, corrupt
from chestfold.data.transforms.lungs import segment_lungs
from chestfold.data.transforms.preprocess import Preprocess, apply_frame, require_lungs
from chestfold.models.runner import predict
from chestfold.train import loop
from chestfold.train.prepare import corrupted_images, format_lungs_not_found, limit_per_class

SLICES = np.stack([draw_slice(0, patient, 0, patient % 2 == 0).image for patient in range(8)])
IDS = [f"s{n}" for n in range(8)]
ZERO, CHANNEL = Preprocess(lung_mask="zero"), Preprocess(lung_mask="channel")
STRONG = {"augment": "plain", "randaugment": (3, 9)}


def images(how: Preprocess, pixels: np.ndarray = SLICES) -> Images:
    return images_of(how, pixels, IDS[: len(pixels)], np.arange(len(pixels)) % 2)


def marked() -> np.ndarray:
    """The same slices with something white in two corners."""
    pixels = SLICES.copy()
    pixels[:, 3:15, 3:12] = 255
    pixels[:, -12:-4, -30:-4] = 255
    return pixels


def trained_on(how: Preprocess, pixels: np.ndarray = SLICES, **changes) -> np.ndarray:
    """What a network is given in three epochs, uint8 (3 x 8, C, S, S), with the lungs of the slices as they were."""
    exp = tiny_experiment(image_size=128, lung_mask=how.lung_mask, **changes)
    batches = TrainBatches(exp, 0, replace(images(how), pixels=pixels), workers=0)
    return np.concatenate([batches[epoch, 0][0].numpy() for epoch in range(3)])


def predicted_on(how: Preprocess, pixels: np.ndarray = SLICES) -> np.ndarray:
    return np.concatenate([batch.numpy() for batch in plain_batches(images(how, pixels), 3)])


def masks() -> np.ndarray:
    return np.stack([segment_lungs(s) for s in SLICES])


# Lungs


def test_zero_is_black_outside_the_lungs_and_the_picture_inside():
    seen = predicted_on(ZERO)
    assert seen.shape == (8, 1, 128, 128)
    np.testing.assert_array_equal(seen[:, 0], SLICES * masks())


def test_a_channel_is_the_whole_picture_and_its_lungs():
    seen = predicted_on(CHANNEL)
    np.testing.assert_array_equal(seen[:, 0], SLICES)
    np.testing.assert_array_equal(seen[:, 1], masks() * np.uint8(255))


def test_without_a_treatment_pictures_are_the_files():
    np.testing.assert_array_equal(predicted_on(Preprocess())[:, 0], SLICES)


@pytest.mark.parametrize("changes", [{"augment": "plain"}, {"augment": "d4"}, STRONG], ids=str)
def test_training_moves_the_lungs_with_the_picture_and_keeps_the_rest_black(changes):
    both, alone = trained_on(CHANNEL, **changes), trained_on(ZERO, **changes)
    assert set(np.unique(both[:, 1])) == {0, 255}
    assert not alone[:, 0][both[:, 1] == 0].any()
    assert alone[:, 0].any(axis=(1, 2)).mean() > 0.9
    assert not np.array_equal(both[:8, 1], both[8:16, 1]), "each epoch has draws of its own"


def test_a_turned_mask_is_that_of_the_turned_picture():
    whole = SLICES * masks()
    for picture, mask in trained_on(CHANNEL, augment="d4"):
        own = np.where(mask > 0, picture, 0)
        turns = [np.rot90(side, k, (1, 2)) for k in range(4) for side in (whole, whole[..., ::-1])]
        assert any((own == turn).all(axis=(1, 2)).any() for turn in turns)


def test_what_is_cut_out_does_not_speak_through_contrast_or_equalizing():
    """With a marker and without: the same bytes, whatever an operation makes of the whole picture."""
    np.testing.assert_array_equal(trained_on(ZERO, marked(), **STRONG), trained_on(ZERO, SLICES, **STRONG))
    assert not np.array_equal(trained_on(CHANNEL, marked(), **STRONG), trained_on(CHANNEL, SLICES, **STRONG))


@pytest.mark.parametrize("shift", CORRUPTIONS)
def test_the_lungs_of_a_shifted_picture_are_its_own(shift):
    moved = corrupted_images(shift, images(ZERO))
    pixels = corrupt(shift, SLICES, IDS)
    own = [segment_lungs(p) for p in pixels]
    expected = np.stack([p if m is None else p * m for p, m in zip(pixels, own, strict=True)])
    np.testing.assert_array_equal(np.concatenate([b.numpy() for b in plain_batches(moved, 5)])[:, 0], expected)


def test_a_declined_slice_is_seen_whole_and_counted():
    pixels = SLICES.copy()
    pixels[3] = 255 - pixels[3]
    whole = images(ZERO, pixels)
    np.testing.assert_array_equal(predicted_on(ZERO, pixels)[3, 0], pixels[3])
    (line,) = format_lungs_not_found("training", whole)
    assert line.startswith("no lungs were found in 1 of 8 training images, which are seen whole (1 x no axial slice")
    few = replace(whole, rows=np.array([0, 1]))
    assert format_lungs_not_found("training", few) == [] and few.lungs_not_found().total() == 0


def test_the_few_of_each_class_keep_their_lungs():
    few = limit_per_class(tiny_experiment(train_per_class=2), 0, images(ZERO))
    rows = [IDS.index(i) for i in few.ids]
    np.testing.assert_array_equal(next(plain_batches(few, 9))[:, 0].numpy(), (SLICES * masks())[rows])


@pytest.mark.parametrize("backbone", ["test_resnet", "test_vit", "test_efficientnet", "five_block_cnn", "fine_cnn"])
def test_a_network_takes_as_many_channels_as_there_are(backbone):
    exp = tiny_experiment(backbone=backbone, image_size=128, lung_mask="channel")
    runner = loop.start(exp, 0, 2).runner
    first = next(m for m in runner.module.modules() if isinstance(m, torch.nn.Conv2d))
    assert first.in_channels == 2
    assert predict(runner, images(CHANNEL)).shape == (8, 2)


def test_a_head_of_its_own_takes_two_channels_too():
    exp = tiny_experiment(image_size=128, lung_mask="channel", head_width=5)
    assert predict(loop.start(exp, 0, 2).runner, images(CHANNEL)).shape == (8, 2)


# Frames


def test_the_centre_is_the_middle_of_each_side_scaled_back():
    ramp = np.tile(np.arange(100, dtype=np.uint8) * 2, (100, 1))
    seen = predicted_on(Preprocess(frame="centre"), ramp[None])[0, 0]
    assert seen.shape == (100, 100)
    assert seen[50, 0] == pytest.approx(20, abs=1) and seen[50, -1] == pytest.approx(178, abs=1)


def test_the_border_is_black_and_the_rest_is_left_alone():
    seen = apply_frame("border", SLICES)
    band = round(0.08 * 128)
    np.testing.assert_array_equal(seen[:, band:-band, band:-band], SLICES[:, band:-band, band:-band])
    inner = np.zeros((128, 128), bool)
    inner[band:-band, band:-band] = True
    assert not seen[:, ~inner].any() and SLICES[:, ~inner].any()


@pytest.mark.parametrize("frame", ["centre", "border"])
def test_training_sees_the_frame_that_validation_sees(frame):
    how = Preprocess(frame=frame)
    exp = tiny_experiment(image_size=128, frame=frame)
    batch, labels = TrainBatches(exp, 0, replace(images(how), labels=np.arange(8)), workers=0)[0, 0]
    np.testing.assert_array_equal(batch.numpy(), predicted_on(how)[labels])


# What does not apply


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        ("chest_xray", "does not apply to chest_xray: its images are projection X-rays.*take --frame centre or"),
        ("luna16_patches", "does not apply to luna16_patches: its images are patches; leave it at none"),
        ("tiny", 'tiny does not say what its images are; declare view = "axial" in its dataset.toml'),
    ],
)
def test_lungs_are_looked_for_in_axial_slices_only(project, data, sentence):
    with pytest.raises(InputError, match=sentence):
        require_lungs(tiny_experiment(lung_mask="zero", image_size=64), find_dataset(data))
    with pytest.raises(InputError, match="lung_mask"):
        project.run(tiny_experiment(lung_mask="channel", image_size=64))
    assert not project.runs.exists()


def test_pictures_too_small_for_lungs_are_refused():
    with pytest.raises(InputError, match="lungs are found from an image_size of 48 on; raise it"):
        require_lungs(tiny_experiment(lung_mask="zero", image_size=40), find_dataset("phantom"))


def test_lungs_and_a_frame_exclude_each_other():
    with pytest.raises(
        InputError, match=r"lung_mask = zero \(for CT slices\) and frame = centre \(for X-rays\): choose one"
    ):
        Experiment(lung_mask="zero", frame="centre")
