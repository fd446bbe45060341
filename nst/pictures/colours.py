"""Colours: --recolor_content and --preserve_colors, as maps from the colours of one picture to those of another.

A map is found from the Palette of the content in a region. So a film can take one map for all frames of a scene.
--preserve_colors changes a style by an affine Map, x -> A (x - mean) + other mean; --recolor_content changes the
content by a Recolouring.

    [Colour]  Gatys, Bethge, Hertzmann & Shechtman 2016, Preserving Color in Neural Artistic Style
              Transfer, arXiv 1606.05897
    [Pitie]   Pitie & Kokaram 2007, The Linear Monge-Kantorovitch Linear Colour Mapping for Example-Based
              Colour Transfer, CVMP
    [Tone]    Bae, Paris & Durand 2006, Two-scale Tone Management for Photographic Look, SIGGRAPH
    [Guided]  He, Sun & Tang 2010, Guided Image Filtering, ECCV

Pictures are arrays (n_H, n_W, 3) in RGB, 0 to 255. Results are floats, which can lie outside that range.
"""

import itertools
from typing import NamedTuple

import numpy as np

LUMINANCE = np.array([0.299, 0.587, 0.114])  # Y of YIQ

GREY = 3  # levels: in a grey picture the channels differ by no more
NOISE = 5  # levels, the standard deviation that every colour of a photograph is taken to have
HUES = 0.3  # how much of the style's differences of hue at one luminance a recoloured photograph gets
NEAR = 12  # levels, the standard deviation of the luminances that count as one in a Palette
MOST_GAIN = 4  # by which contrasts of a photograph, also those of hue, are raised at most
BROAD = 1 / 16  # of the long side: the radius within which luminance counts as broad light
EDGE = 40  # levels, the standard deviation around a pixel from which it lies at an edge of broad light
LEVELS = np.arange(256)


class Palette(NamedTuple):
    """The colours of a picture in a region: their mean and covariance, and which chroma is at which luminance."""

    mean: np.ndarray  # (3,)
    covariance: np.ndarray  # (3, 3)
    fine: float  # the mean of the fine light, which in a region can be other than 0
    light: np.ndarray  # (2, 2): the covariance of the broad and the fine light
    near: np.ndarray  # (256, 4, 4): for each luminance the weighted sum of v v^T, of v = (1, R - Y, G - Y, B - Y)

    def chroma(self):
        """The mean (256, 3) and covariance (256, 3, 3) of the chroma R - Y, G - Y, B - Y at each luminance."""
        every = self.near / self.near[:, :1, :1]
        mean = every[:, 0, 1:]
        return mean, every[:, 1:, 1:] - mean[:, :, np.newaxis] * mean[:, np.newaxis]


def palette(image, share=1, scales=None):
    """The Palette of image (n_H, n_W, 3) where share, (n_H, n_W) or 1, counts each pixel; None if nothing counts.

    scales is two_scales() of its luminance, if it is known.
    In near a colourful pixel counts more than a grey one: the mean of orange and blue is brown, and this keeps the
    stronger.
    """
    X, Y = np.asarray(image, float).reshape(-1, 3), luminance(image)
    share = np.broadcast_to(share, np.shape(image)[:2]).ravel()
    if not share.any():
        return None
    chroma = X - Y.reshape(-1, 1)
    v = np.ones(len(X)), *chroma.T
    weight = (1 + np.linalg.norm(chroma, axis=1)) * share / share.sum()
    level = Y.ravel().round().clip(0, 255).astype(int)
    sums = np.empty((4, 4, 256))
    for i, j in itertools.combinations_with_replacement(range(4), 2):
        sums[i, j] = sums[j, i] = np.bincount(level, weight * v[i] * v[j], 256)
    gauss = np.exp(-(((LEVELS[:, np.newaxis] - LEVELS) / NEAR) ** 2) / 2)
    near = np.moveaxis(sums @ gauss, 2, 0)
    scales = np.reshape(scales or two_scales(Y), (2, -1))
    covariance, of_light = (np.cov(rows, bias=True, aweights=share) for rows in (X.T, scales))
    return Palette(np.average(X, 0, share), covariance, np.average(scales[1], 0, share), of_light, near)


def by_region(picture):
    """{region: Palette} of a Picture. A region without a pixel is left out."""
    scales = two_scales(luminance(picture.image))
    found = {name: palette(picture.image, share, scales) for name, share in picture.regions.items()}
    return {name: of_region for name, of_region in found.items() if of_region}


def mean_of(weighted):
    """The weighted mean of [(weight, Palette)]."""
    weights, palettes = zip(*weighted, strict=True)
    return Palette(*(np.average(parts, 0, weights) for parts in zip(*palettes, strict=True)))


def luminance(image):
    """Y of a picture, (n_H, n_W, 1)."""
    return (np.asarray(image, float) @ LUMINANCE)[..., np.newaxis]


def two_scales(Y):
    """(the broad light of a luminance (n_H, n_W, 1), the fine light that is left) [Tone].

    Broad light is the luminance smoothed by a filter that keeps edges, the picture itself being the guide [Guided].
    """
    import scipy.ndimage  # takes half a second, for which the first line need not wait

    size = 2 * round(BROAD * max(Y.shape)) + 1

    def mean(values):
        return scipy.ndimage.uniform_filter(values, (size, size, 0), mode="nearest")

    around = mean(Y)
    variance = mean(Y * Y) - around**2
    kept = variance / (variance + EDGE**2)
    broad = mean(kept) * Y + mean((1 - kept) * around)
    return broad, Y - broad


def deviation(covariance):
    """The standard deviation of the luminance of colours with a covariance (3, 3)."""
    return np.sqrt(max(0, LUMINANCE @ covariance @ LUMINANCE))  # by rounding it can be less than 0


def is_even(palette):
    """Whether the colours of a Palette are one colour, apart from noise."""
    return deviation(palette.covariance) < NOISE


def is_grey(image):
    """Whether the channels are alike, apart from what a scanner or JPEG adds to grey."""
    values = np.asarray(image)
    return float((values.max(2) - values.min(2)).max()) <= GREY


# --- Maps -----------------------------------------------------------------------------------------------


class Map(NamedTuple):
    """The change of colours x -> A (x - mean) + other_mean, with A (3, 3) and means (3,)."""

    A: np.ndarray
    mean: np.ndarray
    other_mean: np.ndarray

    def __call__(self, image):
        return (image - np.float32(self.mean)) @ np.float32(self.A.T) + np.float32(self.other_mean)


def match_histogram(here, there):
    """The Map from the colours of a Palette to the mean and covariance of another's [Colour, histogram matching].

    A style that lacks a colour (a grey one has one axis of the three) cannot get it from this map.
    """
    return Map(power(there.covariance, 0.5) @ power(here.covariance, -0.5), here.mean, there.mean)


def match_luminance(here, there):
    """The Map to grey, with the mean and deviation of the luminance of there [Colour, luminance-only transfer]."""
    scale = deviation(there.covariance) / (deviation(here.covariance) or 1)
    return Map(np.tile(scale * LUMINANCE, (3, 1)), here.mean, np.full(3, LUMINANCE @ there.mean))


TO_GREY = Map(np.tile(LUMINANCE, (3, 1)), np.zeros(3), np.zeros(3))


class Recolouring(NamedTuple):
    """The change of a content to its styles' colours: of its light, and of its chroma at each luminance."""

    gains: np.ndarray  # (2,), of the broad and of the fine light
    means: tuple  # of the content's broad and of its fine light
    other_mean: float  # of the styles' luminance
    chroma: np.ndarray  # (256, 3): the mean of the styles at each of their luminances
    hues: np.ndarray  # (4, 256, 3): its sum with v = (1, R - Y, G - Y, B - Y) is added at each luminance of the content

    def __call__(self, image):
        Y = luminance(image)
        scales = zip(self.gains, two_scales(Y), self.means, strict=True)
        light = self.other_mean + sum(gain * (light - mean) for gain, light, mean in scales)
        v = 1, *np.moveaxis(image - Y, 2, 0)[..., np.newaxis]
        hues = sum(at_levels(Y[..., 0], table) * part for table, part in zip(self.hues, v, strict=True))
        chroma = at_levels(light[..., 0], self.chroma)
        length = np.linalg.norm(chroma, axis=2, keepdims=True)
        direction = chroma / np.maximum(length, 1e-9)
        greyer = np.clip(-(hues * direction).sum(2, keepdims=True), 0, length)  # what a hue would take from the mean
        return np.float32(light + chroma + hues + greyer * direction)


def at_levels(Y, table):
    """The values of a table (256, ...) at luminances; between two levels they are interpolated."""
    below = np.clip(Y, 0, 254).astype(int)
    above = np.clip(Y, 0, 255) - below
    # np.take is several times faster than table[below].
    here, step = (np.take(values, below, axis=0) for values in (table, np.diff(table, axis=0)))
    return here + (above.T * step.T).T


def recolor(here, styles):
    """The map from a content with the Palette here to the colours of its styles, [(weight, Palette)].

    The luminance gets the styles' mean, and their contrast in broad and in fine light [Tone]: a house in front of a
    bright sky keeps its own light and dark. Each luminance gets the mean chroma that the styles have there: a bright
    sky gets the colours of what is bright in the style. The differences of hue at one luminance become those that the
    styles have there [Pitie], and count HUES times. So a red roof is redder than the sky, if what is as bright in the
    style is red and blue. A hue that is opposite to that mean counts only as far as it is longer: between orange and
    blue there is a grey that the style does not have.

    The content counts as having NOISE in every colour, and its contrasts are raised by MOST_GAIN at most. Otherwise the
    noise of a grey photograph would become coloured, and the JPEG blocks of one in fog would be seen.
    """
    there = mean_of(styles)
    if is_even(there):  # it has no light and dark: the content keeps its own
        return Map(np.tile(LUMINANCE, (3, 1)), here.mean, there.mean)
    light = here.light + NOISE**2 * LUMINANCE @ LUMINANCE * np.eye(2)
    gains = np.sqrt(np.diag(there.light) / np.diag(light))
    gains *= deviation(there.covariance) / np.sqrt(gains @ light @ gains)
    mean, other_mean = LUMINANCE @ here.mean, LUMINANCE @ there.mean
    gain = min(MOST_GAIN, deviation(there.covariance) / deviation(here.covariance + NOISE**2 * np.eye(3)))
    to_chroma = np.eye(3) - LUMINANCE
    chroma, covariance = here.chroma()
    covariance = covariance + NOISE**2 * to_chroma @ to_chroma.T
    becomes = np.clip(gain * (LEVELS - mean) + other_mean, 0, 255)
    other_chroma, other_covariance = there.chroma()
    A = HUES * transport(covariance, at_levels(becomes, other_covariance))
    offset = -A @ chroma[:, :, np.newaxis]
    hues = np.moveaxis(np.concatenate([offset, A], 2), 2, 0)
    means = mean - here.fine, here.fine
    return Recolouring(gains.clip(0, MOST_GAIN), means, other_mean, other_chroma, hues)


def transport(here, there):
    """The symmetric matrices that turn covariances (..., n, n) into others, and change what they map least [Pitie].

    None of their eigenvalues is larger than MOST_GAIN.
    """
    root, inverse = power(here, 0.5), power(here, -0.5)
    return of_eigenvalues(inverse @ power(root @ there @ root, 0.5) @ inverse, lambda values: values.clip(0, MOST_GAIN))


def power(covariance, exponent):
    """Symmetric matrices (..., n, n) to a power; eigenvalues of 0 stay 0."""

    def raised(values):
        is_there = values > 1e-9 * np.maximum(values.max(-1, keepdims=True), 1e-9)
        return np.where(is_there, np.where(is_there, values, 1) ** exponent, 0)

    return of_eigenvalues(covariance, raised)


def of_eigenvalues(matrix, change):
    """Symmetric matrices (..., n, n) with their eigenvalues (..., n) changed."""
    values, vectors = np.linalg.eigh(matrix)
    return (vectors * change(values)[..., np.newaxis, :]) @ np.swapaxes(vectors, -1, -2)


def apply(maps, picture):
    """The image of a Picture with each region changed by its map of {region: Map}; float32.

    A pixel that belongs to a region in part is changed in part; a region without a map stays.
    """
    result = picture.image.copy()
    for name, change in maps.items():
        share = picture.regions[name]
        if np.ndim(share) == 0:  # the whole picture: no other region is there
            return change(picture.image)
        result += (change(picture.image) - picture.image) * share[..., np.newaxis]
    return result


def with_colours_of(content, painted):
    """The content's colours with the luminance of the painted picture.

    If Y + I + Q would leave 0 to 255, I and Q are scaled down together, which keeps the hue, until they fit. Y is
    the painted picture's everywhere.
    """
    Y, content = np.clip(luminance(painted), 0, 255), np.asarray(content, float)
    chroma = content - luminance(content)
    with np.errstate(divide="ignore", invalid="ignore"):
        room = np.where(chroma > 0, (255 - Y) / chroma, np.where(chroma < 0, Y / -chroma, 1))
    return Y + chroma * np.minimum(room.min(2, keepdims=True), 1)
