"""A heat map to look at: over its image, and beside the image without it."""

import cv2
import numpy as np

SIDE = 224
"""Pixels a side at which an image is shown, whatever the network's size."""
GAP = 4
"""Pixels between two panels."""
LUNGS, LESION = (90, 220, 255), (120, 255, 120)
"""Colours of the outlines, RGB."""
STRENGTH = 0.65
"""Opacity at a map's maximum; elsewhere it is proportional to the map, so nothing cold hides the image."""


def overlay(grey: np.ndarray, heat: np.ndarray) -> np.ndarray:
    """A map over a grey image.

    Args:
        grey: uint8 (H, W).
        heat: float32 (S, S), 0 to 1, of the same field of view: it is stretched to the image's aspect.

    Returns:
        uint8 RGB (H, W, 3), the map in colours from dark to bright.
    """
    warm = np.clip(cv2.resize(heat, grey.shape[::-1], interpolation=cv2.INTER_LINEAR), 0, 1)
    colours = cv2.applyColorMap((warm * 255).astype(np.uint8), cv2.COLORMAP_INFERNO)[:, :, ::-1]
    opacity = STRENGTH * warm[:, :, None]
    return (grey[:, :, None] * (1 - opacity) + colours * opacity).round().astype(np.uint8)


def as_rgb(grey: np.ndarray) -> np.ndarray:
    """uint8 (H, W) to (H, W, 3)."""
    return np.repeat(grey[:, :, None], 3, axis=2)


def beside(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Two RGB panels of one height, uint8 (H, W, 3), with a black gap between them."""
    return np.hstack([left, np.zeros((len(left), GAP, 3), np.uint8), right])


def side_by_side(
    image: np.ndarray, network_input: np.ndarray, heat: np.ndarray, lungs: np.ndarray | None, lesion: np.ndarray | None
) -> np.ndarray:
    """The image, and the map over what the network was given of it.

    Args:
        image: uint8 (S, S), as decoded.
        network_input: uint8 (S, S), its first channel.
        heat: float32 (S, S), 0 to 1.
        lungs: bool (S, S) or None: outlined where known.
        lesion: as `lungs`.

    Returns:
        uint8 RGB (SIDE, 2 * SIDE + GAP, 3).
    """
    panels = (as_rgb(_resized(image)), overlay(_resized(network_input), heat))
    return beside(*[_outlined(_outlined(panel, lungs, LUNGS), lesion, LESION) for panel in panels])


def _resized(grey: np.ndarray) -> np.ndarray:
    interpolation = cv2.INTER_AREA if len(grey) >= SIDE else cv2.INTER_CUBIC
    return cv2.resize(grey, (SIDE, SIDE), interpolation=interpolation)


def _outlined(panel: np.ndarray, mask: np.ndarray | None, colour: tuple[int, int, int]) -> np.ndarray:
    """A panel (SIDE, SIDE, 3) with the outline of a mask (S, S), where there is one."""
    if mask is None or not mask.any():
        return panel
    drawn = np.ascontiguousarray(panel)
    large = cv2.resize(mask.astype(np.uint8) * 255, (SIDE, SIDE), interpolation=cv2.INTER_LINEAR)
    edges, _ = cv2.findContours((large > 127).astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(drawn, edges, -1, colour, 1, cv2.LINE_AA)
    return drawn


def png(image: np.ndarray) -> bytes:
    """An RGB image as a PNG file."""
    return cv2.imencode(".png", image[:, :, ::-1])[1].tobytes()
