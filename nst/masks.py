"""Where to paint, and with which style: regions from masks, cut-outs, and the rest, which stays as it is.

    [Guided]  Gatys, Ecker, Bethge, Hertzmann & Shechtman 2017, Controlling Perceptual Factors in Neural
              Style Transfer, arXiv 1611.07865

Masks and shares are Pillow images in grey, "L". A picture's regions are {name: share}, white in the pixels
that belong to the region, grey in those that do in part.
"""

import itertools
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageChops, ImageFilter

import nst.files
from nst.files import InputError

EVERYWHERE = -1  # the name of the one region where no mask tells several apart
MOST_REGIONS = 16  # of a mask
NEAR = 16  # grey values that are one region, where a mask was smoothed or compressed
LOOKED_AT = 256  # pixels of a mask's long side, enough to find its areas
AREA = 1 / 2000  # of the pixels, the least that is one
CONTEXT = 64  # pixels around what is painted that the network sees as well


def regions_of(content_mask, style_masks, content_name, style_names):
    """(the content's regions, [the regions of each style], lines to tell), regions being None where there is no mask.

    A content mask alone says where to paint, and a style mask alone which part of it is the style: white
    is, grey in part. Both together pair regions of one grey value [Guided]. What no style has of the
    content is none of its regions. Raises InputError where nothing is left.
    """
    if not content_mask or not any(style_masks):
        if content_mask and not content_mask.getbbox():
            raise InputError(f"{content_name}: it is black all over, which leaves nothing to paint")
        for name, mask in zip(style_names, style_masks, strict=True):
            if mask and not mask.getbbox():
                raise InputError(f"{name}: it is black all over, which leaves nothing of the style")
        alone = [mask and {EVERYWHERE: mask} for mask in (content_mask, *style_masks)]
        return alone[0], alone[1:], ()
    told = []
    content = split(content_mask, content_name, told)
    known = sorted(content)
    styles = []
    for name, mask in zip(style_names, style_masks, strict=True):
        regions = split(mask, name, told)
        pairs = ((nearest(value, known), share) for value, share in regions.items())
        styles.append({value: share for value, share in pairs if value is not None})
        if not styles[-1]:
            raise InputError(
                f"{name}: none of its regions, of grey value {listed(regions)}, is in {content_name},"
                f" which has {listed(known)}"
            )
    painted = set().union(*styles)
    if bare := [value for value in known if value not in painted]:
        told.append(f"{content_name}: no style has grey value {listed(bare)}: what it covers stays as it is")
    return {value: share for value, share in content.items() if value in painted}, styles, tuple(told)


def listed(values):
    return ", ".join(map(str, sorted(values)))


def nearest(value, known):
    """The known value that is near enough to be the same region; None if there is none."""
    best = min(known, key=lambda other: abs(other - value))
    gap = min((abs(other - best) for other in known if other != best), default=256)
    return best if abs(best - value) <= reach(gap) else None


def reach(gap):
    """How far from a region's grey value another still means it, where the next region's is so far away."""
    return min(NEAR, (gap - 1) // 3)


def split(mask, name, told):
    """{grey value: share} of a mask's regions. What lies between two values belongs to both, by its nearness."""
    levels, values = levels_of(mask)
    if len(levels) > MOST_REGIONS:
        raise InputError(f"{name}: areas of {len(levels)} grey values, and a mask may have {MOST_REGIONS}")
    if values > len(levels):
        told.append(f"{name}: its {values} grey values are taken for {len(levels)} regions, of {listed(levels)}")
    edges = []  # where each region begins to fade, and the next one is whole
    for before, after in itertools.pairwise(levels):
        edges += [before + reach(after - before), after - reach(after - before)]
    shares = {}
    for k, level in enumerate(levels):
        there = np.zeros(2 * len(levels) - 2)
        there[max(0, 2 * k - 1) : 2 * k + 1] = 255
        table = np.interp(range(256), edges, there) if edges else np.full(256, 255)
        shares[level] = mask.point(np.rint(table).astype(int).tolist())
    return shares


def levels_of(mask):
    """(the grey values of a mask's regions in order, how many values it has in all).

    A region's value fills areas. One that is found along edges alone is what smoothing or compression made
    of its neighbours; so are values near another with more of the mask. Lightest and darkest are regions in
    any case: between them a mask may be one smooth slope.
    """
    small = mask.resize(
        nst.files.size_with_long_side(mask.size, min(max(mask.size), LOOKED_AT)), Image.Resampling.NEAREST
    )
    least, most = (np.asarray(small.filter(extreme(3))) for extreme in (ImageFilter.MinFilter, ImageFilter.MaxFilter))
    found, counts = np.unique(least[least == most], return_counts=True)
    by_area = sorted(zip(-counts, found.tolist(), strict=True))
    values = np.unique(mask).tolist()
    candidates = [value for area, value in by_area if -area >= AREA * least.size]
    if set(candidates) == set(values):
        return values, len(values)
    levels = []
    for value in (*candidates, values[0], values[-1]):
        if all(abs(value - level) > NEAR for level in levels):
            levels.append(value)
    return sorted(levels), len(values)


class Canvas(NamedTuple):
    """The whole content, at the size of the result, and what of it is painted: box, and each pixel's share or None."""

    image: Image.Image
    box: tuple  # left, top, right, bottom
    share: Image.Image | None = None
    alpha: Image.Image | None = None  # of the result

    def around(self, painted):
        """The whole picture (n_H, n_W, 3), 0 to 255, about what was painted in the box, at its size or smaller."""
        if self.share is None:
            return painted
        height, width = painted.shape[:2]
        left, top, right, bottom = self.box
        size = nst.files.size_with_long_side(self.image.size, round(max(self.image.size) * width / (right - left)))
        size = max(size[0], width), max(size[1], height)
        whole, share = (np.asarray(image.resize(size), "float32") for image in (self.image, self.share))
        left = min(round(left * width / (right - left)), size[0] - width)
        top = min(round(top * height / (bottom - top)), size[1] - height)
        inside = slice(top, top + height), slice(left, left + width)
        whole[inside] += (painted - whole[inside]) * (share[inside] / 255)[..., np.newaxis]
        return whole


def canvas_of(image, regions, alpha):
    """(the Canvas of a content with those regions and that alpha, the regions with what is hidden taken off)."""
    if alpha:
        regions = {EVERYWHERE: alpha} if regions is None else regions
        regions = {name: ImageChops.multiply(share, alpha) for name, share in regions.items()}
    everything = (0, 0, *image.size)
    if regions is None:
        return Canvas(image, everything), None
    share = Image.new("L", image.size)
    for part in regions.values():
        share = ImageChops.add(share, part)
    if share.getextrema()[0] == 255:
        return Canvas(image, everything), regions
    left, top, right, bottom = share.getbbox() or everything
    box = (
        max(0, left - CONTEXT),
        max(0, top - CONTEXT),
        min(image.width, right + CONTEXT),
        min(image.height, bottom + CONTEXT),
    )
    return Canvas(image, box, share, alpha), regions
