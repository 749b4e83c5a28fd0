"""What a network sees of an image: the same preprocessing in training, validation, corruption, test and prediction."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from conftest import tiny_experiment
from tasks import exclusive

from chestfold.core.config import Experiment
from chestfold.core.errors import InputError
from chestfold.data.catalogue import find_dataset
from chestfold.data.loader import Images, TrainBatches, images_of, plain_batches
from chestfold.data.phantom import draw_slice
from chestfold.data.transforms import preprocess as module
from chestfold.data.transforms.corruptions import CORRUPTIONS, corrupt
from chestfold.data.transforms.lungs import METHOD, segment_lungs
from chestfold.data.transforms.preprocess import Preprocess, apply_frame, require_lungs, seen_part, undo_frame
from chestfold.explain import fold as explain_fold
from chestfold.models.runner import predict
from chestfold.predict import heatmap
from chestfold.train import loop
from chestfold.train.prepare import FoldImages, corrupted_images, limit_per_class

SLICES = np.stack([draw_slice(0, patient, 0, patient % 2 == 0).image for patient in range(8)])
IDS = [f"s{n}" for n in range(8)]
ZERO, CHANNEL = Preprocess(lung_mask="zero"), Preprocess(lung_mask="channel")
STRONG = {"augment": "plain", "randaugment": (3, 9)}


def images(preprocess: Preprocess, pixels: np.ndarray = SLICES) -> Images:
    return images_of(preprocess, pixels, IDS[: len(pixels)], np.arange(len(pixels)) % 2)


def marked() -> np.ndarray:
    """The same slices with something white in two corners."""
    pixels = SLICES.copy()
    pixels[:, 3:15, 3:12] = 255
    pixels[:, -12:-4, -30:-4] = 255
    return pixels


def trained_on(preprocess: Preprocess, pixels: np.ndarray = SLICES, **changes) -> np.ndarray:
    """What a network is given in three epochs, uint8 (3 x 8, C, S, S), with the lungs of the slices as they were."""
    exp = tiny_experiment(image_size=128, lung_mask=preprocess.lung_mask, **changes)
    batches = TrainBatches(exp, exclusive(), 0, replace(images(preprocess), pixels=pixels), workers=0)
    return np.concatenate([batches[epoch, 0][0].numpy() for epoch in range(3)])


def predicted_on(preprocess: Preprocess, pixels: np.ndarray = SLICES) -> np.ndarray:
    return np.concatenate([batch.numpy() for batch in plain_batches(images(preprocess, pixels), 3)])


def masks() -> np.ndarray:
    """The lungs in `SLICES`, bool (8, S, S)."""
    found = [mask for mask in map(segment_lungs, SLICES) if mask is not None]
    assert len(found) == len(SLICES)
    return np.stack(found)


# Lungs


def test_zero_is_black_outside_the_lungs_and_the_image_inside():
    seen = predicted_on(ZERO)
    assert seen.shape == (8, 1, 128, 128)
    np.testing.assert_array_equal(seen[:, 0], SLICES * masks())


def test_a_channel_is_the_unmasked_image_and_its_lungs():
    seen = predicted_on(CHANNEL)
    np.testing.assert_array_equal(seen[:, 0], SLICES)
    np.testing.assert_array_equal(seen[:, 1], masks() * np.uint8(255))


def test_without_preprocessing_images_are_the_files():
    np.testing.assert_array_equal(predicted_on(Preprocess())[:, 0], SLICES)


@pytest.mark.parametrize("changes", [{"augment": "plain"}, {"augment": "d4"}, STRONG], ids=str)
def test_training_moves_the_lungs_with_the_image_and_keeps_the_rest_black(changes):
    both, alone = trained_on(CHANNEL, **changes), trained_on(ZERO, **changes)
    assert set(np.unique(both[:, 1])) == {0, 255}
    assert not alone[:, 0][both[:, 1] == 0].any()
    assert alone[:, 0].any(axis=(1, 2)).mean() > 0.9
    assert not np.array_equal(both[:8, 1], both[8:16, 1]), "each epoch has draws of its own"


def test_a_rotated_mask_is_that_of_the_rotated_image():
    masked = SLICES * masks()
    rotations = []
    for side in (masked, masked[..., ::-1]):
        rotations += [np.rot90(side, quarter, (1, 2)) for quarter in range(4)]
    for image, mask in trained_on(CHANNEL, augment="d4"):
        own = np.where(mask > 0, image, 0)
        assert any((own == rotation).all(axis=(1, 2)).any() for rotation in rotations)


def test_what_is_cut_out_does_not_influence_contrast_or_equalizing():
    """With a marker and without: the same bytes, whatever an operation makes of the entire image."""
    np.testing.assert_array_equal(trained_on(ZERO, marked(), **STRONG), trained_on(ZERO, SLICES, **STRONG))
    assert not np.array_equal(trained_on(CHANNEL, marked(), **STRONG), trained_on(CHANNEL, SLICES, **STRONG))


@pytest.mark.parametrize("corruption", CORRUPTIONS)
def test_the_lungs_of_a_corrupted_image_are_its_own(corruption):
    corrupted = corrupted_images(corruption, images(ZERO))
    pixels = corrupt(corruption, SLICES, IDS)
    own = [segment_lungs(p) for p in pixels]
    expected = np.stack([p if m is None else p * m for p, m in zip(pixels, own, strict=True)])
    np.testing.assert_array_equal(np.concatenate([b.numpy() for b in plain_batches(corrupted, 5)])[:, 0], expected)


def test_a_slice_without_lungs_stays_unmasked_and_is_counted():
    pixels = SLICES.copy()
    pixels[3] = 255 - pixels[3]
    np.testing.assert_array_equal(predicted_on(ZERO, pixels)[3, 0], pixels[3])
    every = images(ZERO, pixels)
    few = every.take(np.array([0, 1]))
    fold = FoldImages(every, few, few.take(np.array([0])))
    _, line = fold.describe()
    assert line.startswith("no lungs were found in 1 of 8 training images, which stay unmasked (1 x no axial slice")
    assert fold.lungs_not_found() == {"training": 1, "validation": 0, "test": 0}


def test_where_no_lungs_are_wanted_none_are_counted():
    every = images(Preprocess())
    fold = FoldImages(every, every, every)
    assert fold.describe() == ["8 training, 8 validation and 8 test images"] and fold.lungs_not_found() is None


def test_the_few_of_each_class_keep_their_lungs():
    few = limit_per_class(tiny_experiment(train_per_class=2), 0, images(ZERO), exclusive())
    rows = [IDS.index(i) for i in few.ids]
    np.testing.assert_array_equal(next(plain_batches(few, 9))[:, 0].numpy(), (SLICES * masks())[rows])


@pytest.mark.parametrize("backbone", ["test_resnet", "test_vit", "test_efficientnet", "five_block_cnn", "fine_cnn"])
def test_a_network_takes_as_many_channels_as_there_are(backbone):
    exp = tiny_experiment(backbone=backbone, image_size=128, lung_mask="channel")
    runner = loop.start(exp, 0, exclusive()).runner
    first = next(m for m in runner.module.modules() if isinstance(m, torch.nn.Conv2d))
    assert first.in_channels == 2
    assert predict(runner, images(CHANNEL)).shape == (8, 2)


def test_a_head_of_its_own_takes_two_channels_too():
    exp = tiny_experiment(image_size=128, lung_mask="channel", head_width=5)
    assert predict(loop.start(exp, 0, exclusive()).runner, images(CHANNEL)).shape == (8, 2)


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


def test_without_the_lungs_only_the_edges_are_seen():
    seen = apply_frame("lungs_black", SLICES)
    band = round(0.1 * 128)
    assert not seen[:, band:-band, band:-band].any() and SLICES[:, band:-band, band:-band].any()
    outer = np.ones((128, 128), bool)
    outer[band:-band, band:-band] = False
    np.testing.assert_array_equal(seen[:, outer], SLICES[:, outer])


@pytest.mark.parametrize("frame", ["centre", "border", "lungs_black"])
def test_training_sees_the_frame_that_validation_sees(frame):
    preprocess = Preprocess(frame=frame)
    exp = tiny_experiment(image_size=128, frame=frame)
    batch, labels = TrainBatches(exp, exclusive(), 0, replace(images(preprocess), labels=np.arange(8)), workers=0)[0, 0]
    np.testing.assert_array_equal(batch.numpy(), predicted_on(preprocess)[labels])


def heat_at(*places: tuple[int, int]) -> np.ndarray:
    """A heat map of 100 px a side, float32, hot at some places."""
    heat = np.zeros((100, 100), np.float32)
    for row, column in places:
        heat[row - 2 : row + 3, column - 2 : column + 3] = 1
    return heat


def test_a_heat_map_of_the_centre_is_put_back_where_it_was_taken_from():
    """Row r of the network's input shows row 10 + 0.8 r of the image: its middle stays, its corners move inwards."""
    heat = heat_at((50, 50), (10, 80))
    back = undo_frame(Preprocess(frame="centre"), heat[None])[0]
    assert back.shape == (100, 100) and back.dtype == np.float32
    assert back[50, 50] == 1 and back[18, 74] == 1
    assert not back[:10].any() and not back[-10:].any() and not back[:, :10].any() and not back[:, -10:].any()
    assert back.sum() == pytest.approx(heat.sum() * 0.64, rel=0.1), "areas shrink with the scale"


def test_what_was_framed_and_put_back_is_the_image_inside_and_0_around_it():
    smooth = np.add.outer(np.arange(100), np.arange(100)).astype(np.uint8)
    back = undo_frame(Preprocess(frame="centre"), apply_frame("centre", smooth[None]))[0]
    assert np.abs(back[10:90, 10:90].astype(int) - smooth[10:90, 10:90]).max() <= 2
    around = back.copy()
    around[10:90, 10:90] = 0
    assert not around.any()


@pytest.mark.parametrize("frame", ["none", "border", "lungs_black", "centre"])
def test_the_part_that_a_network_sees_is_where_its_heat_map_is_put_back(frame):
    back = undo_frame(Preprocess(frame=frame), np.ones((100, 100), np.float32))
    seen = np.flatnonzero(back.any(axis=0))
    assert len(seen) == 100 * seen_part(frame)
    assert seen[0] == 99 - seen[-1], "it is in the middle"


@pytest.mark.parametrize("frame", ["none", "border", "lungs_black"])
def test_a_heat_map_of_another_frame_stays_as_it_is(frame):
    heat = heat_at((10, 80))
    assert undo_frame(Preprocess(frame=frame), heat) is heat


def test_heat_maps_of_several_classes_are_put_back_one_by_one():
    stacked = np.stack([[heat_at((50, 50)), heat_at((10, 80))], [heat_at((80, 10)), heat_at((30, 30))]])
    back = undo_frame(Preprocess(frame="centre"), stacked)
    assert back.shape == (2, 2, 100, 100)
    for image in range(2):
        for label in range(2):
            alone = undo_frame(Preprocess(frame="centre"), stacked[image, label])
            np.testing.assert_array_equal(back[image, label], alone)


def test_predictions_and_explanations_put_heat_maps_back_by_the_same_function():
    """Two functions for one rule once drew the same map at different places."""
    assert explain_fold.undo_frame is undo_frame is heatmap.undo_frame


# What does not apply


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        ("chest_xray", "does not apply to chest_xray: its images are X-rays, where .* overlap; use --frame centre or"),
        ("luna16_patches", "does not apply to luna16_patches: its images are patches; leave it at none"),
        ("tiny", 'tiny does not say what its images are; declare view = "axial" in its dataset.toml'),
    ],
)
def test_lungs_are_searched_in_axial_slices_only(project, data, sentence):
    with pytest.raises(InputError, match=sentence):
        require_lungs(tiny_experiment(lung_mask="zero", image_size=64), find_dataset(data))
    with pytest.raises(InputError, match="lung_mask"):
        project.run(tiny_experiment(lung_mask="channel", image_size=64))
    assert not project.runs.exists()


def test_images_too_small_for_lungs_are_refused():
    with pytest.raises(InputError, match="lungs are found from an image_size of 48 on; raise it"):
        require_lungs(tiny_experiment(lung_mask="zero", image_size=40), find_dataset("phantom"))


def test_lungs_and_a_frame_exclude_each_other():
    with pytest.raises(
        InputError, match=r"lung_mask = zero \(for CT slices\) and frame = centre \(for X-rays\): choose one"
    ):
        Experiment(lung_mask="zero", frame="centre")


@pytest.mark.parametrize("frame", ["centre", "border"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_three_channels_and_16_bits_are_framed_alike(frame, dtype):
    grey = SLICES.astype(dtype)
    colours = np.stack([grey, grey // 2, grey], axis=-1)
    framed = apply_frame(frame, colours)
    assert framed.dtype == dtype and framed.shape == colours.shape
    np.testing.assert_array_equal(framed[..., 0], apply_frame(frame, grey))
    np.testing.assert_array_equal(framed[..., 1], apply_frame(frame, grey // 2))


def test_three_channels_come_first_in_what_the_network_is_given():
    colours = np.stack([SLICES, SLICES // 2, 255 - SLICES], axis=-1)
    seen = predicted_on(Preprocess(), colours)
    assert seen.shape == (len(SLICES), 3, 128, 128)
    np.testing.assert_array_equal(seen, colours.transpose(0, 3, 1, 2))


@pytest.mark.parametrize("lung_mask", ["zero", "channel"])
def test_lungs_in_16_bits_are_those_in_8_bits(lung_mask):
    preprocess = Preprocess(lung_mask=lung_mask)
    eight, sixteen = predicted_on(preprocess), predicted_on(preprocess, SLICES.astype(np.uint16) * np.uint16(257))
    assert sixteen.dtype == np.uint16
    np.testing.assert_array_equal(sixteen, eight * np.uint16(257))


def test_the_settings_that_decide_what_is_seen():
    assert module.preprocess_of(tiny_experiment(frame="border")) == Preprocess("none", "border")
    assert module.preprocess_of(tiny_experiment(lung_mask="zero")) == Preprocess("zero", "none")
    assert module.lung_method(tiny_experiment()) == {}
    assert module.lung_method(tiny_experiment(lung_mask="channel")) == {"lungs": METHOD}


def test_lungs_that_were_not_found_are_counted_by_reason():
    lungs = module.Lungs(np.ones((4, 2, 2), np.uint8), ["", "no body", "a blank image", "no body"])
    assert lungs.not_found(np.arange(4)) == {"no body": 2, "a blank image": 1}
    assert lungs.not_found(np.array([0, 3])) == {"no body": 1} and lungs.not_found(np.array([0])) == {}


def test_from_48_pixels_on_lungs_are_looked_for(project):
    require_lungs(tiny_experiment(lung_mask="zero", image_size=48), find_dataset("phantom"))
    require_lungs(tiny_experiment(image_size=8), find_dataset("tiny"))
    assert module.find_lungs(Preprocess(), SLICES) is None
    found = module.find_lungs(Preprocess(lung_mask="zero"), np.stack([SLICES[0], SLICES[0] * 0]))
    assert found is not None and found.reasons == ["", "a blank image"]
    assert 0 < found.masks[0].mean() < 0.5 and (found.masks[1] == 1).all() and found.masks.dtype == np.uint8


@pytest.mark.parametrize(("size", "first", "band"), [(10, 1, 1), (32, 3, 3), (100, 10, 8), (224, 22, 18)])
def test_how_much_each_frame_leaves(size, first, band):
    """A tenth of a side at either end is left out by `centre`, 8 % by `border`, rounded."""
    white = np.full((1, size, size), 255, np.uint8)
    assert module._centre(size) == slice(first, size - first)
    for frame, margin, inner in (("border", band, 255), ("lungs_black", first, 0)):
        expected = np.full((size, size), 255 - inner)
        expected[margin : size - margin, margin : size - margin] = inner
        np.testing.assert_array_equal(apply_frame(frame, white)[0], expected)
    assert (white == 255).all()


def test_what_a_network_is_given_of_pixels_and_masks():
    pixels = np.array([[[10, 20], [30, 40]]], np.uint8)
    lungs = np.array([[[1, 0], [0, 1]]], np.uint8)
    zero, channel = Preprocess("zero"), Preprocess("channel")
    assert module.post_augment(zero, pixels, lungs).tolist() == [[[[10, 0], [0, 40]]]]
    assert module.post_augment(channel, pixels, lungs).tolist() == [[[[10, 20], [30, 40]], [[255, 0], [0, 255]]]]
    assert module.post_augment(channel, pixels.astype(np.uint16), lungs)[0, 1].tolist() == [[65535, 0], [0, 65535]]
    assert module.post_augment(zero, pixels, None).tolist() == [[[[10, 20], [30, 40]]]]
    assert module.pre_augment(zero, pixels, lungs).tolist() == [[[10, 0], [0, 40]]]
    assert module.pre_augment(zero, pixels, None) is pixels
    assert module.pre_augment(channel, pixels, lungs) is pixels
