"""Colours: --recolor_content and --preserve_colors, as maps from the colours of one picture to those of another.

A map is found from the Moments of the content: the mean and covariance of its colours in a region. So a film can take
one map for all frames of a scene. --preserve_colors changes a style by an affine Map, x -> A (x - mean) + other mean;
--recolor_content changes the content by a Recolouring.

    [Colour]  Gatys, Bethge, Hertzmann & Shechtman 2016, Preserving Color in Neural Artistic Style
              Transfer, arXiv 1606.05897

Pictures are arrays (n_H, n_W, 3) in RGB, 0 to 255. Results are floats, which can lie outside that range.
"""

from typing import NamedTuple

import numpy as np

LUMINANCE = np.array([0.299, 0.587, 0.114])  # Y of YIQ

GREY = 3  # levels: in a grey picture the channels differ by no more
NOISE = 5  # levels, the standard deviation that every colour of a photograph is taken to have
HUES = 0.2  # how much of the differences of hue a recoloured photograph has
NEAR = 12  # levels, the standard deviation of the luminances that count as one in a Palette
MOST_GAIN = 4  # by which the contrast of a photograph is raised at most


class Moments(NamedTuple):
    """The mean (3,) and covariance (3, 3) of the colours in a region, and how much of it was seen."""

    mean: np.ndarray
    covariance: np.ndarray
    weight: float = 1


def moments(image, share=1):
    """The Moments of image (n_H, n_W, 3) where share, (n_H, n_W) or 1, counts each pixel; None if nothing counts."""
    X = np.asarray(image, float).reshape(-1, 3)
    if np.ndim(share) == 0:
        return Moments(X.mean(0), np.cov(X.T, bias=True))
    weights = np.asarray(share, float).ravel()
    if not weights.any():
        return None
    return Moments(np.average(X, 0, weights), np.cov(X.T, bias=True, aweights=weights))


class Palette(NamedTuple):
    """The colours of a style in a region: their Moments, and at which luminance which chroma is."""

    moments: Moments
    chroma: np.ndarray  # (256, 3): for each luminance the weighted sum of R - Y, G - Y and B - Y
    count: np.ndarray  # (256, 1): the sum of those weights


def palette(image, share=1):
    """The Palette of image (n_H, n_W, 3) where share, (n_H, n_W) or 1, counts each pixel; None if nothing counts.

    A colourful pixel counts more than a grey one: the mean of orange and blue is brown, and this keeps the stronger.
    """
    if (found := moments(image, share)) is None:
        return None
    Y = luminance(image)
    chroma = (np.asarray(image, float) - Y).reshape(-1, 3)
    share = np.ravel(np.broadcast_to(share, Y.shape[:2]))
    weight = (1 + np.linalg.norm(chroma, axis=1)) * share / share.sum()
    level = Y.ravel().round().clip(0, 255).astype(int)
    sums = np.stack([np.bincount(level, column, 256) for column in (*(weight * chroma.T), weight)], 1)
    levels = np.arange(256)
    near = np.exp(-(((levels[:, np.newaxis] - levels) / NEAR) ** 2) / 2) @ sums
    return Palette(found, near[:, :3], near[:, 3:])


def by_region(picture, of=moments):
    """{region: Moments, or what else of returns} of a Picture. A region without a pixel is left out."""
    found = {name: of(picture.image, share) for name, share in picture.regions.items()}
    return {name: of_region for name, of_region in found.items() if of_region}


def mean_of(several):
    """The weighted mean of Moments: of their means, and of their covariances."""
    weights = [one.weight for one in several]
    return Moments(*(np.average([one[k] for one in several], 0, weights) for k in (0, 1)))


def luminance(image):
    """Y of a picture, (n_H, n_W, 1)."""
    return (np.asarray(image, float) @ LUMINANCE)[..., np.newaxis]


def is_even(moments):
    """Whether colours with these Moments are one colour, apart from noise."""
    return LUMINANCE @ moments.covariance @ LUMINANCE < NOISE**2


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
    """The Map from colours with the Moments here to the mean and covariance of there [Colour, histogram matching].

    A style that lacks a colour (a grey one has one axis of the three) cannot get it from this map.
    """
    return Map(power(there.covariance, 0.5) @ power(here.covariance, -0.5), here.mean, there.mean)


def match_luminance(here, there):
    """The Map to grey, with the mean and deviation of the luminance of there [Colour, luminance-only transfer]."""
    deviation, other_deviation = (np.sqrt(LUMINANCE @ one.covariance @ LUMINANCE) for one in (here, there))
    scale = other_deviation / (deviation or 1)
    return Map(np.tile(scale * LUMINANCE, (3, 1)), here.mean, np.full(3, LUMINANCE @ there.mean))


TO_GREY = Map(np.tile(LUMINANCE, (3, 1)), np.zeros(3), np.zeros(3))


class Recolouring(NamedTuple):
    """The change of a content to its styles' colours: its luminance, the chroma there, and a Map of what is left."""

    gain: float
    mean: float  # of the content's luminance
    other_mean: float  # of the styles'
    chroma: np.ndarray  # (256, 3), of each luminance of the styles
    hues: Map  # to chroma

    def __call__(self, image):
        Y = self.gain * (luminance(image) - self.mean) + self.other_mean
        chroma = [np.interp(Y[..., 0], np.arange(256), column) for column in self.chroma.T]
        return np.float32(Y + np.stack(chroma, 2)) + self.hues(image)


def recolor(here, styles):
    """The map from a content with the Moments here to the colours of its styles, [(weight, Palette)].

    The luminance gets the styles' mean and deviation, and each luminance the chroma that the styles have there: a
    bright sky gets the colours of what is bright in the style. What is left, the differences of hue at one luminance,
    is matched as [Colour] matches histograms, and counts HUES times: a blue sky would look for what is blue in the
    style, however dark that is.

    The content counts as having NOISE in every colour: otherwise the noise of a grey photograph would become coloured.
    Its contrast is raised by MOST_GAIN at most: otherwise the JPEG blocks of a photograph in fog would be seen.
    """
    there = mean_of([one.moments._replace(weight=weight) for weight, one in styles])
    if is_even(there):  # it has no light and dark: the content keeps its own
        return Map(np.tile(LUMINANCE, (3, 1)), here.mean, there.mean)
    here = here._replace(covariance=here.covariance + NOISE**2 * np.eye(3))
    (deviation, colour, hues), (other_deviation, _, other_hues) = map(by_luminance, (here, there))
    of_hues = match_histogram(hues, other_hues).A @ (np.eye(3) - np.outer(colour, LUMINANCE))
    chroma, count = (sum(weight * one[k] for weight, one in styles) for k in (1, 2))
    gain = min(MOST_GAIN, other_deviation / deviation)
    to_hues = Map(HUES * of_hues, here.mean, np.zeros(3))
    return Recolouring(gain, LUMINANCE @ here.mean, LUMINANCE @ there.mean, chroma / count, to_hues)


def by_luminance(moments):
    """(deviation of the luminance, colour (3,) that a level of luminance brings, Moments of what is left)."""
    variance = LUMINANCE @ moments.covariance @ LUMINANCE
    colour = moments.covariance @ LUMINANCE / variance
    left = moments.covariance - variance * np.outer(colour, colour)
    return np.sqrt(variance), colour, moments._replace(covariance=left)


def power(covariance, exponent):
    """A symmetric matrix to a power; eigenvalues of 0 stay 0."""
    values, vectors = np.linalg.eigh(covariance)
    is_there = values > 1e-9 * max(values.max(), 1e-9)
    powers = np.where(is_there, np.where(is_there, values, 1) ** exponent, 0)
    return (vectors * powers) @ vectors.T


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
