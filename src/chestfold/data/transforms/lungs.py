"""Both lungs of one axial CT slice, in the classical way: threshold, body, enclosed air, both sides, closing.

The steps are those of Hu, Hoffman, Reinhardt (IEEE Trans. Med. Imaging 20(6), 2001, p. 490) on a single slice; nothing
is learnt. Where a step finds something else than it expects, the method fails and says why, it never guesses: on a
slice above or below the lungs, a projection X-ray, a patch, a window in which the wall of the chest is as black as air.

All lengths are shares of the body's width (`_width`), so that neither pixels nor the field of view matter. They were
chosen on phantom slices and by looking at `iq_othnccd`.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

METHOD = "axial-1"
"""Names what `segment_lungs` does; changed whenever a mask would change, so that no run mixes two methods."""
SMALLEST = 48
"""Pixels of the shorter side below which walls and vessels are thinner than a pixel."""
WORK_SIDE = 160
"""Larger images are segmented at about this side: outlines are smooth at that scale, and it takes milliseconds."""
WALL, EDGE = 0.45, 0.65
"""Shares of the way from air to tissue: above the first air is walled in, above the second is surely no lung."""
GAPS = (0.0, 0.01, 0.02, 0.03)
"""Half the width of the gaps in the wall that are bridged, as shares of the image's side. In a window that shows fat
as black as air, ribs and muscles are a dotted line, and the lungs run out between the dots."""
STABLE = 0.9
"""Dice coefficient of the lungs under two neighbouring GAPS above which the wall counts as closed by the first."""
VESSEL = 0.12
"""Half the width of vessels and nodules that are closed over."""
NECK = 0.045
"""Half the width of a neck behind which something is no part of the lung."""
REACH = 0.04
"""How far the outline may move from WALL to EDGE."""
PIPE = 0.01
"""Share of the squared width below which air near the midline is windpipe, gullet or bronchus."""

Mask = NDArray[np.uint8]  # 0 or 1: what OpenCV works on
Greys = NDArray[np.float32]


class NotFound(Exception):
    """No lungs can be told with confidence; the text says why."""


def segment_lungs(grey: np.ndarray) -> NDArray[np.bool_] | None:
    """Both lungs of an axial CT slice, with the vessels and nodules in them; None where they cannot be told.

    Args:
        grey: (H, W) of any number type, air darker than tissue, in any window that shows a wall around the lungs.

    Returns:
        bool (H, W), True inside the lungs, or None (`lungs_or_reason` says why).
    """
    return lungs_or_reason(grey)[0]


def lungs_or_reason(grey: np.ndarray) -> tuple[NDArray[np.bool_] | None, str]:
    """As `segment_lungs`, and why they were not found; "" where they were.

    Raises:
        ValueError: `grey` does not have two dimensions.
    """
    if grey.ndim != 2:
        raise ValueError(f"one grey slice has the shape (H, W), not {grey.shape}")
    try:
        return _segment(grey), ""
    except NotFound as reason:
        return None, str(reason)


def _segment(grey: np.ndarray) -> NDArray[np.bool_]:
    if min(grey.shape) < SMALLEST:
        raise NotFound(f"smaller than {SMALLEST} px")
    greys = _stretched(_at_work_size(grey))
    tissue, core = _tissues(greys)
    _require_air_around(tissue)
    lungs = _stable_lungs(greys, tissue, core)
    if lungs.shape == grey.shape:
        return lungs.astype(bool)
    size = (grey.shape[1], grey.shape[0])
    return np.asarray(cv2.resize(lungs.astype(np.float32), size, interpolation=cv2.INTER_LINEAR) > 0.5)


def _stable_lungs(greys: Greys, tissue: Mask, core: Mask) -> Mask:
    """The lungs with the least bridging of the wall that a little more does not change."""
    before, last = None, NotFound("")
    for gap in GAPS:
        try:
            body, lungs = _lungs(greys, tissue, gap * max(tissue.shape))
        except NotFound as reason:
            before, last = None, reason
            continue
        if before is not None and _dice(before[1], lungs) >= STABLE:
            return _to_the_edge(*before, core)
        before = body, lungs
        last = NotFound("the lungs are not walled in: their outline runs out through gaps in the wall")
    raise last


def _lungs(greys: Greys, tissue: Mask, gap: float) -> tuple[Mask, Mask]:
    """Body and lungs where gaps of so many pixels to either side are bridged."""
    wall = _closed(tissue, gap)
    body = _body(wall)
    lungs = _both_sides(_enclosed_air(wall, body), body)
    _require_two_lungs(lungs, body)
    _require_whole_chest(lungs, tissue, body)
    _require_black_as_air(greys, tissue, body, lungs)
    return body, lungs


def _to_the_edge(body: Mask, lungs: Mask, core: Mask) -> Mask:
    """The outline moved outwards, from WALL to EDGE."""
    near = _grown(lungs, REACH * _width(body)) & (1 - core)
    return _both_sides(lungs | near, body)


# Grey values


def _at_work_size(grey: np.ndarray) -> Greys:
    scale = WORK_SIDE / max(grey.shape)
    image = np.ascontiguousarray(grey, np.float32)
    small = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA) if scale < 1 else image
    return np.asarray(small, np.float32)


def _stretched(image: Greys) -> Greys:
    """From the 1st to the 99th percentile as 0 to 1: scale and window no longer matter."""
    low, high = np.percentile(image, (1, 99))
    if not high > low:
        raise NotFound("a blank image")
    return np.clip((image - low) / (high - low), 0, 1)


def _tissues(greys: Greys) -> tuple[Mask, Mask]:
    """What is above WALL and what is above EDGE on the way from air to tissue.

    The two ends are the medians of the classes of Otsu's threshold (IEEE Trans. SMC 9(1), 1979, p. 62) on the square
    root, which draws the two tissues of a narrow window, soft and bone, together: without it they would be the classes.
    """
    smooth = cv2.GaussianBlur(greys, (0, 0), max(0.5, 0.006 * max(greys.shape)))
    roots = (np.sqrt(smooth) * 255).astype(np.uint8)
    level, _ = cv2.threshold(roots, 0, 1, cv2.THRESH_BINARY + cv2.THRESH_OTSU)
    air, solid = np.median(smooth[roots <= level]), np.median(smooth[roots > level])
    tissue, core = ((smooth > air + share * (solid - air)).astype(np.uint8) for share in (WALL, EDGE))
    return tissue, core


# Shapes


def _grown(mask: Mask, radius: float) -> Mask:
    """Dilation by a disc, by distances: its cost does not depend on the radius."""
    return (cv2.distanceTransform(1 - mask, cv2.DIST_L2, 5) <= radius).astype(np.uint8)


def _shrunk(mask: Mask, radius: float) -> Mask:
    return (cv2.distanceTransform(mask, cv2.DIST_L2, 5) > radius).astype(np.uint8)


def _closed(mask: Mask, radius: float) -> Mask:
    """Closing as on an endless canvas: nothing sticks to the image's edge."""
    if radius < 1:
        return mask
    pad = int(radius) + 2
    wide = np.pad(mask, pad)
    return np.ascontiguousarray(_shrunk(_grown(wide, radius), radius)[pad:-pad, pad:-pad])


def _opened(mask: Mask, radius: float) -> Mask:
    return _grown(_shrunk(mask, radius), radius) & mask if mask.any() else mask


def _filled(mask: Mask) -> Mask:
    outside = np.pad(mask, 1)
    cv2.floodFill(outside, None, (0, 0), 1)
    return mask | (1 - outside[1:-1, 1:-1])


def _parts(mask: Mask) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.float64]]:
    """Label of each pixel; area and mean column of each label. The background is label 0, of area 0."""
    _, labels, stats, centres = cv2.connectedComponentsWithStats(mask, connectivity=4)
    areas = np.asarray(stats[:, cv2.CC_STAT_AREA].copy(), np.int32)
    areas[0] = 0
    return np.asarray(labels, np.int32), areas, np.asarray(centres[:, 0])


def _main_parts(mask: Mask, share: float) -> Mask:
    """The largest part and those of at least `share` of its area."""
    labels, areas, _ = _parts(mask)
    return (areas >= max(1, share * areas.max()))[labels].astype(np.uint8)


def _solidity(mask: Mask) -> float:
    """Share of its convex hull that a shape fills: 1 of an ellipse, less of a crescent or a ring."""
    hull = cv2.convexHull(np.asarray(cv2.findNonZero(mask)))
    return float(mask.sum() / cv2.fillConvexPoly(np.zeros_like(mask), hull, 1).sum())


def _width(body: Mask) -> float:
    """Side of the square of the body's area, pixels."""
    return float(np.sqrt(body.sum()))


def _middle(body: Mask) -> int:
    """Column that halves a body."""
    return round(float(np.nonzero(body)[1].mean()))


def _halves(mask: Mask, middle: int) -> tuple[Mask, Mask]:
    """The parts left and right of a column."""
    left, right = mask.copy(), mask.copy()
    left[:, middle:], right[:, :middle] = 0, 0
    return left, right


def _dice(a: Mask, b: Mask) -> float:
    return float(2 * (a & b).sum() / (a.sum() + b.sum()))


# Anatomy


def _require_air_around(tissue: Mask) -> None:
    """An axial slice ends in air; the neck and the belly of a projection extend beyond the image."""
    ends = {"upper": tissue[0], "lower": tissue[-1], "left": tissue[:, 0], "right": tissue[:, -1]}
    shares = {name: float(edge.mean()) for name, edge in ends.items()}
    for name in ("upper", "lower"):
        if shares[name] > 0.3:
            raise NotFound(f"no axial slice: tissue extends beyond the image at its {name} edge")
    if sum(shares.values()) > 1.2:
        raise NotFound("no axial slice: there is no air around the body")


def _body(wall: Mask) -> Mask:
    """The largest thing, filled; couch, cables and arms beside it are opened away."""
    body = _main_parts(_opened(_filled(wall), 0.04 * max(wall.shape)), 1.0)
    if body.sum() < 0.08 * body.size:
        raise NotFound("no body: nothing closed and large is there")
    rows, columns = np.nonzero(body)
    if np.ptp(columns) < 0.95 * np.ptp(rows) or _solidity(body) < 0.85:
        raise NotFound("no body: the largest closed thing does not have the shape of a trunk")
    return body


def _enclosed_air(wall: Mask, body: Mask) -> Mask:
    """Air in the body without pipes (windpipe, gullet, bronchi: small and near the midline) and without black fat."""
    width = _width(body)
    labels, areas, columns = _parts(_shrunk(body, 0.01 * width) & (1 - wall))
    unwanted = (areas < PIPE * width**2) & (np.abs(columns - _middle(body)) < 0.12 * width)
    unwanted[0] = True
    for part in np.flatnonzero(areas > 0.05 * width**2):
        unwanted[part] = _surrounds(labels == part, width)
    return (~unwanted)[labels].astype(np.uint8)


def _surrounds(part: NDArray[np.bool_], width: float) -> bool:
    """Whether something is a ring around much of the body, as fat under the skin is and lungs are not."""
    filled = int(_filled(part.astype(np.uint8)).sum())
    return filled > 0.4 * width**2 and filled > 1.7 * int(part.sum())


def _both_sides(air: Mask, body: Mask) -> Mask:
    """Each side's air closed over vessels and nodules, without what is small beside the lung or behind a neck."""
    width = _width(body)
    lungs = np.zeros_like(air)
    for part in _halves(air, _middle(body)):
        lung = _filled(_closed(part, VESSEL * width))
        trunk = _main_parts(_opened(lung, NECK * width), 0.1)
        if trunk.any():
            lungs |= lung & _grown(trunk, 0.3 * NECK * width)
    return lungs & body


def _require_two_lungs(lungs: Mask, body: Mask) -> None:
    """Both sides, of the size, the shape and the place of lungs."""
    share = lungs.sum() / body.sum()
    if share < 0.1:
        raise NotFound("too little air inside the body for two lungs")
    if share > 0.75:
        raise NotFound("the body is little more than a shell: the wall of the chest is not seen")
    sides = _halves(lungs, _middle(body))
    areas = [int(side.sum()) for side in sides]
    if min(areas) < 0.25 * max(areas):
        raise NotFound("air on one side of the body only")
    if min(map(_solidity, sides)) < 0.6:
        raise NotFound("the air in the body does not have the shape of lungs")
    rows = [float(np.nonzero(side)[0].mean()) for side in sides]
    if abs(rows[0] - rows[1]) > 0.2 * _width(body):
        raise NotFound("the two parts of the air in the body are not side by side")


def _require_whole_chest(lungs: Mask, tissue: Mask, body: Mask) -> None:
    """All of the chest was closed, not one half of it: little tissue is outside."""
    rows = np.flatnonzero(lungs.any(axis=1))
    level = np.s_[rows[0] : rows[-1] + 1]
    if (tissue[level] & body[level]).sum() < 0.8 * tissue[level].sum():
        raise NotFound("a part of the chest is not walled in")


def _require_black_as_air(greys: Greys, tissue: Mask, body: Mask, lungs: Mask) -> None:
    """Lungs in a slice are nearly as black as the air around the body; those of a projection are far from it."""
    outside, inside = (body | tissue) == 0, (lungs & (1 - tissue)) > 0
    if not outside.any() or not inside.any():
        raise NotFound("no air around the body")
    air, solid = float(greys[outside].mean()), float(greys[tissue > 0].mean())
    if float(greys[inside].mean()) - air > 0.35 * (solid - air):
        raise NotFound("the enclosed region is too bright to be lung")
