"""A heat map to look at: over its image, beside the image without it, with a scale and a caption.

One hue that grows denser with the map, and lines at 50 and 80 % of its maximum: colour maps that end in a bright colour
are weakest on bone where they should be strongest. The plain image is left as it is.
"""

from collections.abc import Sequence

import contourpy
import cv2
import numpy as np
from PIL import Image, ImageDraw

from chestfold.evaluate.fonts import pillow_font

RGB = tuple[int, int, int]
SIDE = 256
"""Pixels of the longer side at which an explained image is shown, whatever the network's size."""
GAP = 6
"""Pixels between two panels."""
LUNGS, LESION = (90, 220, 255), (120, 255, 120)
"""Colours of the outlines."""
VIVID, FADED = (255, 128, 0), (130, 140, 170)
"""The hue of a map, and that of one which says little: of an image unlike the training data."""
VIVID_LINE, FADED_LINE = (225, 40, 0), (120, 135, 185)
"""Colours of the lines: seen on bone as well as on air."""
STRENGTH, FADED_STRENGTH = 0.6, 0.35
"""Opacity at a map's maximum; elsewhere it is proportional to the map, so nothing cold hides the image."""
LEVELS = {0.5: 1, 0.8: 2}
"""Share of the maximum that a line is drawn at -> its width in pixels."""
BAR = 16
"""Width of the scale's colours."""
TEXT = 15
"""Pixels of a letter's height."""
_SHIFT = 4
"""Bits of a fraction of a pixel, as OpenCV's lines are given them."""


def overlay(grey: np.ndarray, heat: np.ndarray, faded: bool = False) -> np.ndarray:
    """A map over a grey image, uint8 (H, W): uint8 RGB (H, W, 3). The other arguments are those of `map_layer`."""
    layer = map_layer(grey.shape, heat, faded)
    return _blended(as_rgb(grey), layer[:, :, :3], layer[:, :, 3:] / 255)


def map_layer(shape: tuple[int, ...], heat: np.ndarray, faded: bool = False) -> np.ndarray:
    """What a map lays over an image of `shape` (H, W).

    Args:
        shape: of the image.
        heat: float32 (S, S), 0 to 1, of the same field of view: it is stretched to the image's aspect.
        faded: draw it so that it does not catch the eye.

    Returns:
        uint8 RGBA (H, W, 4).
    """
    warm = np.clip(cv2.resize(heat, shape[1::-1], interpolation=cv2.INTER_LINEAR), 0, 1)
    hue, strength = (FADED, FADED_STRENGTH) if faded else (VIVID, STRENGTH)
    layer = np.empty((*warm.shape, 4), np.uint8)
    layer[:, :, :3] = hue
    layer[:, :, 3] = np.rint(255 * strength * warm)
    if min(warm.shape) > 1:  # else it is a row of pixels, in which no line is drawn
        for level, width in LEVELS.items():
            for line in contourpy.contour_generator(z=warm).lines(level):
                _draw_line(layer, np.asarray(line), width, faded)
    return layer


def _blended(image: np.ndarray, colours: np.ndarray, opacity: np.ndarray) -> np.ndarray:
    return (image * (1 - opacity) + colours * opacity).round().astype(np.uint8)


def _draw_line(layer: np.ndarray, points: np.ndarray, width: int, faded: bool) -> None:
    """An opaque line through points (N, 2), x and y, into RGBA."""
    fixed = [np.rint(points * 2**_SHIFT).astype(np.int32)]
    colour = (*(FADED_LINE if faded else VIVID_LINE), 255)
    cv2.polylines(layer, fixed, False, colour, width, cv2.LINE_AA, _SHIFT)


def scale_bar(height: int, faded: bool = False) -> np.ndarray:
    """What the colours and lines of a map mean, in shares of its maximum: uint8 RGB (height, W, 3)."""
    labels = {1.0: "max", 0.0: "0", 0.5: "50 %", 0.8: "80 %"}
    font = pillow_font("0", TEXT)
    width = BAR + GAP + max(int(font.getlength(text)) for text in labels.values()) + GAP
    bar = np.zeros((height, width, 3), np.uint8)
    heat = np.linspace(1, 0, height, dtype=np.float32)[:, None].repeat(BAR, axis=1)
    bar[:, :BAR] = overlay(np.full((height, BAR), 90, np.uint8), heat, faded)
    canvas = Image.fromarray(bar)
    draw = ImageDraw.Draw(canvas)
    tops: list[float] = []
    for level, text in labels.items():
        top = float(np.clip((1 - level) * (height - 1) - TEXT / 2, 0, max(0, height - TEXT - 2)))
        if all(abs(top - other) > TEXT for other in tops):  # a flat image has no room for all of them
            draw.text((BAR + GAP, top), text, fill=(200, 200, 200), font=font)
            tops.append(top)
    return np.asarray(canvas)


def as_rgb(grey: np.ndarray) -> np.ndarray:
    """uint8 (H, W) to (H, W, 3)."""
    return np.repeat(grey[:, :, None], 3, axis=2)


def beside(*panels: np.ndarray) -> np.ndarray:
    """RGB panels of one height, uint8 (H, W, 3), with black gaps between them."""
    gap = np.zeros((len(panels[0]), GAP, 3), np.uint8)
    row = [panels[0]]
    for panel in panels[1:]:
        row += [gap, panel]
    return np.hstack(row)


def fitted(grey: np.ndarray, shortest: int, longest: int) -> np.ndarray:
    """An image (H, W) scaled, its aspect kept, until its longer side is between `shortest` and `longest` pixels."""
    longer = max(grey.shape)
    factor = np.clip(longer, shortest, longest) / longer
    if factor == 1:
        return grey
    height, width = (max(1, round(side * factor)) for side in grey.shape)
    return cv2.resize(grey, (width, height), interpolation=cv2.INTER_AREA if factor < 1 else cv2.INTER_CUBIC)


def side_by_side(
    image: np.ndarray, network_input: np.ndarray, heat: np.ndarray, lungs: np.ndarray | None, lesion: np.ndarray | None
) -> np.ndarray:
    """The plain image, and the map over what the network was given of it, with outlines.

    Args:
        image: uint8 (H, W), in its own aspect, which all panels keep.
        network_input: uint8 (S, S), its first channel.
        heat: float32 (S, S), 0 to 1.
        lungs: bool (S, S) or None: outlined where known.
        lesion: as `lungs`.

    Returns:
        uint8 RGB: two panels whose longer side is `SIDE`, and the scale.
    """
    plain = fitted(image, SIDE, SIDE)
    given = cv2.resize(network_input, plain.shape[::-1], interpolation=cv2.INTER_CUBIC)
    drawn = overlay(given, heat)
    for mask, colour in ((lungs, LUNGS), (lesion, LESION)):
        if mask is not None:
            _outline(drawn, mask, colour)
    return beside(as_rgb(plain), drawn, scale_bar(len(plain)))


def _outline(panel: np.ndarray, mask: np.ndarray, colour: RGB) -> None:
    """Draw the outline of a mask (S, S) into a panel (H, W, 3)."""
    large = cv2.resize(mask.astype(np.uint8) * 255, panel.shape[1::-1], interpolation=cv2.INTER_LINEAR)
    edges, _ = cv2.findContours((large > 127).astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(panel, edges, -1, colour, 1, cv2.LINE_AA)


def captioned(image: np.ndarray, lines: Sequence[str | tuple[str, RGB]]) -> np.ndarray:
    """An RGB image with lines of text beneath it, each white or of its own colour, widened in black where needed."""
    written = [(line, (255, 255, 255)) if isinstance(line, str) else line for line in lines]
    fonts = [pillow_font(text, TEXT) for text, _ in written]
    lengths = [int(font.getlength(text)) for font, (text, _) in zip(fonts, written, strict=True)]
    width = max(image.shape[1], *(length + 2 * GAP for length in lengths))
    height = len(written) * (TEXT + GAP) + 2 * GAP
    canvas = Image.new("RGB", (width, len(image) + height))
    canvas.paste(Image.fromarray(image))
    draw = ImageDraw.Draw(canvas)
    for n, (text, colour) in enumerate(written):
        draw.text((GAP, len(image) + GAP + n * (TEXT + GAP)), text, fill=colour, font=fonts[n])
    return np.asarray(canvas)


def png(image: np.ndarray) -> bytes:
    """A grey, RGB or RGBA image as a PNG file."""
    from_rgb = {2: None, 3: cv2.COLOR_RGB2BGR, 4: cv2.COLOR_RGBA2BGRA}[image.shape[2] if image.ndim == 3 else 2]
    return cv2.imencode(".png", image if from_rgb is None else cv2.cvtColor(image, from_rgb))[1].tobytes()
