"""A heat map to look at: the picture, and beside it the map laid over what the network saw."""

import cv2
import numpy as np

SIDE = 224
"""Pixels a side at which a picture is shown, whatever the network saw."""
LUNGS, LESION = (90, 220, 255), (120, 255, 120)
"""Colours of the outlines, RGB."""
STRENGTH = 0.65
"""Opacity of the hottest place; colder ones are as much clearer as they are colder, so nothing cold hides the image."""


def side_by_side(
    picture: np.ndarray, seen: np.ndarray, heat: np.ndarray, lungs: np.ndarray | None, lesion: np.ndarray | None
) -> np.ndarray:
    """Two panels, uint8 RGB (SIDE, 2 * SIDE + gap, 3): the picture, and the map over what the network saw of it.

    Args:
        picture: uint8 (S, S), as decoded.
        seen: uint8 (S, S), the network's input channel.
        heat: float32 (S, S), 0 to 1.
        lungs: bool (S, S) or None: outlined where known.
        lesion: as `lungs`.
    """
    panels = [outlined(grey_rgb(picture), lungs, lesion), outlined(overlay(seen, heat), lungs, lesion)]
    gap = np.zeros((SIDE, 4, 3), np.uint8)
    return np.hstack([panels[0], gap, panels[1]])


def grey_rgb(picture: np.ndarray) -> np.ndarray:
    """uint8 (S, S) to uint8 (SIDE, SIDE, 3)."""
    large = cv2.resize(picture, (SIDE, SIDE), interpolation=_way(picture.shape[0]))
    return np.repeat(large[:, :, None], 3, axis=2)


def overlay(picture: np.ndarray, heat: np.ndarray) -> np.ndarray:
    """The map (S, S) in colours from dark to bright over a grey picture (S, S): uint8 RGB (SIDE, SIDE, 3)."""
    warm = np.clip(cv2.resize(heat, (SIDE, SIDE), interpolation=cv2.INTER_LINEAR), 0, 1)
    colours = cv2.applyColorMap((warm * 255).astype(np.uint8), cv2.COLORMAP_INFERNO)[:, :, ::-1]
    opacity = STRENGTH * warm[:, :, None]
    return (grey_rgb(picture) * (1 - opacity) + colours * opacity).round().astype(np.uint8)


def outlined(image: np.ndarray, lungs: np.ndarray | None, lesion: np.ndarray | None) -> np.ndarray:
    """A copy of an RGB image (SIDE, SIDE, 3) with the outlines of the masks (S, S) that are there."""
    drawn = np.ascontiguousarray(image)
    for mask, colour in ((lungs, LUNGS), (lesion, LESION)):
        if mask is not None and mask.any():
            large = cv2.resize(mask.astype(np.uint8) * 255, (SIDE, SIDE), interpolation=cv2.INTER_LINEAR)
            edges, _ = cv2.findContours((large > 127).astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
            cv2.drawContours(drawn, edges, -1, colour, 1, cv2.LINE_AA)
    return drawn


def png(image: np.ndarray) -> bytes:
    """An RGB image as a PNG file."""
    return cv2.imencode(".png", image[:, :, ::-1])[1].tobytes()


def _way(size: int) -> int:
    return cv2.INTER_AREA if size >= SIDE else cv2.INTER_CUBIC
