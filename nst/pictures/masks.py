"""Masks: which region of a picture each pixel belongs to, from what a user or a program drew.

A drawing can be in grey, in colours or in transparency, or hold the numbers of regions. as_masks() makes a mask of it:
a Pillow image in grey, "L". Its regions are {name: share}, where share is such an image too: white
where a pixel belongs to the region, black where it does not, grey where it belongs in part.

    [Guided]  Gatys, Ecker, Bethge, Hertzmann & Shechtman 2017, Controlling Perceptual Factors in Neural
              Style Transfer, arXiv 1611.07865
"""

import itertools

import numpy as np
from PIL import Image, ImageFilter

from nst.errors import InputError
from nst.pictures import decode
from nst.pictures.resize import size_with_long_side

EVERYWHERE = -1  # the name of the only region, if there is only one
MOST_REGIONS = 16  # of a mask
NEAR = 16  # grey values within this distance are one region, in a mask that was smoothed or compressed
SMALL_SIDE = 256  # pixels: the long side of the copy in which areas are searched
AREA = 1 / 2000  # of the pixels: the smallest area that makes a region


def drawn(image):
    """(a Pillow image of any mode as it was drawn, in grey or RGB, its alpha channel or None if it is opaque).

    Whole numbers of 16 bits or more that fit into 8 are kept: they are the numbers of regions.
    """
    if image.mode.startswith("I") or image.mode == "F":
        values = np.asarray(image)
        least = 2 if image.mode == "F" else 1  # floats of 0 to 1 are grey values
        if values.min() >= 0 and least <= values.max() <= 255 and np.all(values == np.floor(values)):
            return Image.fromarray(values.astype("uint8")), None
        return decode.flatten(image)[0].convert("L"), None
    alpha = image.convert("RGBA").getchannel("A") if image.has_transparency_data else None
    image = image.convert("L" if image.mode in ("1", "L", "LA", "La") else "RGB")
    return image, None if alpha is None or alpha.getextrema()[0] == 255 else alpha


def as_masks(drawings, names, as_regions):
    """([mask, or None for no drawing], notices) of [what drawn() returns, or None] and their names.

    All drawings of a job are read together, so that a colour or a number means the same region in each of them. If
    they are not read as regions, every colour but black and every number but 0 counts as white.
    """
    images, notices = [], []
    for drawing, name in zip(drawings, names, strict=True):
        image, how = opaque(*drawing) if drawing else (None, "")
        images.append(image)
        notices += [f"{name}: {how}"] if how else []
    there = [image for image in images if image]
    together = ", ".join(name for name, image in zip(names, images, strict=True) if image)
    if any(map(is_coloured, there)):
        images, how = by_colour(images, together, as_regions)
        notices.append(f"{together}: {how}")
    images = [image and image.convert("L") for image in images]
    numbers = sorted({value for image in images if image for value in np.unique(image).tolist()})
    if numbers and 0 < numbers[-1] < MOST_REGIONS:
        levels = levels_for(numbers, as_regions)
        table = [levels[numbers.index(value)] if value in numbers else 0 for value in range(256)]
        images = [image and image.point(table) for image in images]
        notices.append(f"{together}: the numbers {listed(numbers)} are read as grey values {listed(levels)}")
    return images, tuple(notices)


def opaque(image, alpha):
    """(the image with its transparency taken into account, how that was read or "")."""
    if alpha is None:
        return image, ""
    visible = np.asarray(image)[np.asarray(alpha) > 0]
    if not len(visible) or np.ptp(visible, 0).max() <= NEAR:
        return alpha, "drawn in transparency: what is opaque counts as white"
    return Image.composite(image, Image.new(image.mode, image.size), alpha), "what is transparent counts as black"


def is_coloured(image):
    """Whether areas of the image have a colour; JPEG and scanners colour single pixels."""
    return image.mode == "RGB" and any(max(colour) - min(colour) > NEAR for colour in colours_of(image))


def by_colour(images, names, as_regions):
    """(the images in grey, with a grey value for each colour that fills areas in any of them; how that was read)."""
    images = [image and image.convert("RGB") for image in images]
    found = {colour for image in images if image for colour in colours_of(image)}
    palette = sorted(found, key=lambda colour: (sum(colour), colour))
    palette = [colour for k, colour in enumerate(palette) if all(apart(colour, other) for other in palette[:k])]
    if len(palette) > MOST_REGIONS:
        raise InputError(f"{names}: areas of {len(palette)} colours, and masks may have {MOST_REGIONS}")
    levels = levels_for(map(sum, palette), as_regions)
    with_palette = Image.new("P", (1, 1))
    with_palette.putpalette(sum((*palette, *[palette[0]] * (256 - len(palette))), ()))
    table = [levels[k] if k < len(levels) else levels[0] for k in range(256)]

    def in_grey(image):
        nearest = image.quantize(palette=with_palette, dither=Image.Dither.NONE)
        return Image.frombytes("L", image.size, nearest.tobytes()).point(table)

    how = ", ".join(f"{colour} as {level}" for colour, level in zip(palette, levels, strict=True))
    return [image and in_grey(image) for image in images], f"colours are read as grey values: {how}"


def colours_of(image):
    """The colours, (r, g, b), that fill areas of an image in RGB; what is found along edges only is left out."""
    inner, size = areas(image)
    colours, counts = np.unique(inner, axis=0, return_counts=True)
    order = np.argsort(-counts, kind="stable")
    found = []
    for colour, count in zip(colours[order].tolist(), counts[order], strict=True):
        if count >= AREA * size and all(apart(colour, other) for other in found):
            found.append(tuple(colour))
    return found


def areas(image):
    """(the values of pixels whose neighbours all have the same value, the number of all pixels), in a small copy."""
    small = image.resize(size_with_long_side(image.size, min(max(image.size), SMALL_SIDE)), Image.Resampling.NEAREST)
    least, most = (np.atleast_3d(small.filter(kind(3))) for kind in (ImageFilter.MinFilter, ImageFilter.MaxFilter))
    return least[(least == most).all(2)], small.width * small.height


def apart(colour, other):
    return max(abs(a - b) for a, b in zip(colour, other, strict=True)) > NEAR


def levels_for(values, as_regions):
    """A grey value for each of some values in order: evenly spaced for regions, else white for all that are not 0."""
    values = list(values)
    if not as_regions:
        return [255 if value > 0 else 0 for value in values]
    return [round(255 * k / max(len(values) - 1, 1)) for k in range(len(values))]


def pair_regions(content_mask, style_masks, names):
    """(the content's regions, [the regions of each style], notices), regions being None for a picture without a mask.

    names are those of the content's mask and of each style's.
    A content mask alone says where to paint, a style mask alone where the style is taken from: white counts,
    grey in part. With both, areas of one grey value belong together [Guided], and a region of the content that no
    style has is left out. Raises InputError if no region is left.
    """
    content_name, *style_names = names
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
    inner, size = areas(mask)
    found, counts = np.unique(inner, return_counts=True)
    by_area = sorted(zip(-counts, found.tolist(), strict=True))
    values = np.unique(mask).tolist()
    candidates = [value for area, value in by_area if -area >= AREA * size]
    if set(candidates) == set(values):
        return values, len(values)
    levels = []
    for value in (*candidates, values[0], values[-1]):
        if all(abs(value - level) > NEAR for level in levels):
            levels.append(value)
    return sorted(levels), len(values)
