"""Masks: which region of a picture each pixel belongs to, from the grey values that a user drew.

A mask is a Pillow image in grey, "L". Its regions are {name: share}, where share is such an image too: white
where a pixel belongs to the region, black where it does not, grey where it belongs in part.

    [Guided]  Gatys, Ecker, Bethge, Hertzmann & Shechtman 2017, Controlling Perceptual Factors in Neural
              Style Transfer, arXiv 1611.07865
"""

import itertools

import numpy as np
from PIL import Image, ImageFilter

from nst.errors import InputError
from nst.pictures.resize import size_with_long_side

EVERYWHERE = -1  # the name of the only region, if there is only one
MOST_REGIONS = 16  # of a mask
NEAR = 16  # grey values within this distance are one region, in a mask that was smoothed or compressed
SMALL_SIDE = 256  # pixels: the long side of the copy in which areas are searched
AREA = 1 / 2000  # of the pixels: the smallest area that makes a region


def pair_regions(content_mask, style_masks, content_name, style_names):
    """(the content's regions, [the regions of each style], notices), regions being None for a picture without a mask.

    A content mask alone says where to paint, a style mask alone where the style is taken from: white counts,
    grey in part. With both, areas of one grey value belong together [Guided], and a region of the content that no
    style has is left out. Raises InputError if no region is left.
    """
    if not content_mask or not any(style_masks):
        if content_mask and not content_mask.getbbox():
            raise InputError(f"{content_name}: it is black all over, which leaves nothing to paint")
        for name, mask in zip(style_names, style_masks, strict=True):
            if mask and not mask.getbbox():
                raise InputError(f"{name}: it is black all over, which leaves nothing of the style")
        alone = [mask and {EVERYWHERE: mask} for mask in (content_mask, *style_masks)]
        return alone[0], alone[1:], ()
    content, notices = split(content_mask, content_name)
    known = sorted(content)
    styles = []
    for name, mask in zip(style_names, style_masks, strict=True):
        regions, more = split(mask, name)
        notices += more
        pairs = ((nearest(value, known), share) for value, share in regions.items())
        styles.append({value: share for value, share in pairs if value is not None})
        if not styles[-1]:
            raise InputError(
                f"{name}: none of its regions, of grey value {listed(regions)}, is in {content_name},"
                f" which has {listed(known)}"
            )
    painted = set().union(*styles)
    if bare := [value for value in known if value not in painted]:
        notices += (f"{content_name}: no style has grey value {listed(bare)}: what it covers stays as it is",)
    return {value: share for value, share in content.items() if value in painted}, styles, notices


def listed(values):
    return ", ".join(map(str, sorted(values)))


def nearest(value, known):
    """The known grey value that is near enough to mean the same region, or None."""
    best = min(known, key=lambda other: abs(other - value))
    gap = min((abs(other - best) for other in known if other != best), default=256)
    return best if abs(best - value) <= reach(gap) else None


def reach(gap):
    """How far a grey value may be from a region's and still mean it, if the next region is gap away."""
    return min(NEAR, (gap - 1) // 3)


def split(mask, name):
    """({grey value: share} of a mask's regions, notices). A value between two regions belongs to both in part."""
    levels, count = levels_of(mask)
    if len(levels) > MOST_REGIONS:
        raise InputError(f"{name}: areas of {len(levels)} grey values, and a mask may have {MOST_REGIONS}")
    notices = ()
    if count > len(levels):
        notices = (f"{name}: its {count} grey values are taken for {len(levels)} regions, of {listed(levels)}",)
    edges = []  # the grey values where a region starts to fade, and where the next one is complete
    for before, after in itertools.pairwise(levels):
        edges += [before + reach(after - before), after - reach(after - before)]
    shares = {}
    for k, level in enumerate(levels):
        belongs = np.zeros(2 * len(levels) - 2)
        belongs[max(0, 2 * k - 1) : 2 * k + 1] = 255
        table = np.interp(range(256), edges, belongs) if edges else np.full(256, 255)
        shares[level] = mask.point(np.rint(table).astype(int).tolist())
    return shares, notices


def levels_of(mask):
    """(the grey values of a mask's regions in order, the number of all its grey values).

    The value of a region fills an area. A value that is found along edges only comes from smoothing or
    compression, and so does a value near another one that fills more. The lightest and the darkest value
    are always regions: a mask can be one smooth slope.
    """
    small = mask.resize(size_with_long_side(mask.size, min(max(mask.size), SMALL_SIDE)), Image.Resampling.NEAREST)
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
