"""Whose colours the result has: --preserve_colors, and what it is painted from: --recolor_content.

    [Colour]  Gatys, Bethge, Hertzmann & Shechtman 2016, Preserving Color in Neural Artistic Style
              Transfer, arXiv 1606.05897

Pictures are arrays (n_H, n_W, 3) in RGB, 0 to 255; they come back as floats and may reach beyond.
"""

import numpy as np
from PIL import Image

LUMINANCE = np.array([0.299, 0.587, 0.114])  # Y of YIQ, in which the eye sees the most detail

GREY = 3  # levels between the channels, at the most
NOISE = 5  # levels, the standard deviation of what is not taken for colour


def luminance(image):
    """Y of a picture, (n_H, n_W, 1)."""
    return (np.asarray(image, float) @ LUMINANCE)[..., np.newaxis]


def is_grey(image):
    """Whether the channels of a picture are alike, but for what a scanner or a JPEG makes of grey."""
    values = np.asarray(image)
    return int((values.max(2) - values.min(2)).max()) <= GREY


def match_luminance(style, content):
    """The style in grey, its Y with the mean and deviation of the content's [Colour, luminance-only transfer]."""
    Y_S, Y_C = luminance(style), luminance(content)
    Y = (Y_S - Y_S.mean()) * (Y_C.std() / (Y_S.std() or 1)) + Y_C.mean()
    return np.repeat(Y, 3, axis=2)


def match_histogram(style, content):
    """The style with the mean and covariance of the content's colours [Colour, histogram matching].

    Colours that the style does not have (a grey one has but one axis of the three) cannot be made from it.
    """
    return matched(style, *matching(moments(style), moments(content)))


def recoloring(content, styles, weights):
    """{region: what matched() takes} to give a Picture the mean and covariance of its styles' colours.

    It is [Colour]'s histogram matching turned round. Of several styles the weighted mean counts, as in the style
    cost; the content is taken to have NOISE of each colour at least, so that a photograph in grey stays clean.
    """
    found = {}
    for name, share in (content.regions or {None: None}).items():
        of_styles = [
            (moments(style.image, style.regions and style.regions[name]), weight)
            for style, weight in zip(styles, weights, strict=True)
            if weight and (style.regions is None or name in style.regions)
        ]
        if of_styles and (share is None or share.getbbox()):  # it can be hidden, or of a style that does not count
            mean, covariance = moments(content.image, share)
            found[name] = matching((mean, covariance + NOISE**2 * np.eye(3)), average(of_styles))
    return found


def recolored(content, found):
    """The Picture with its regions recoloured as recoloring() has found, for it or for another frame of its film."""
    image = np.asarray(content.image)
    result = image.astype(float)
    for name, how in found.items():
        change = matched(image, *how) - image
        result += change if name is None else change * (np.asarray(content.regions[name])[..., np.newaxis] / 255)
    return content._replace(image=Image.fromarray(np.clip(np.rint(result), 0, 255).astype("uint8")))


def moments(image, share=None):
    """(mean (3,), covariance (3, 3)) of a picture's colours, where it has a share."""
    X = np.asarray(image, float).reshape(-1, 3)
    weights = None if share is None else np.asarray(share, float).ravel()
    return np.average(X, 0, weights), np.cov(X.T, bias=True, aweights=weights)


def average(of_styles):
    """The mean of ((mean, covariance), weight) pairs."""
    all_moments, weights = zip(*of_styles, strict=True)
    return [np.average(values, 0, weights) for values in zip(*all_moments, strict=True)]


def matching(here, there):
    """(A, mean, other mean) of the x -> A (x - mean) + other mean that takes moments to others."""
    (mean, covariance), (other_mean, other_covariance) = here, there
    return power(other_covariance, 0.5) @ power(covariance, -0.5), mean, other_mean


def matched(image, A, mean, other_mean):
    return (np.asarray(image, float) - mean) @ A.T + other_mean


def power(covariance, exponent):
    """A power of a symmetric matrix; what is 0 of it stays 0."""
    values, vectors = np.linalg.eigh(covariance)
    is_there = values > 1e-9 * max(values.max(), 1e-9)
    powers = np.where(is_there, np.where(is_there, values, 1) ** exponent, 0)
    return (vectors * powers) @ vectors.T


def paint_with(how, content, *others):
    """The pictures that a run with --preserve_colors paints with: the content first, then the others."""
    if how == "luminance":
        return [np.repeat(luminance(content), 3, axis=2), *(match_luminance(other, content) for other in others)]
    if how == "histogram":
        return [content, *(match_histogram(other, content) for other in others)]
    return [content, *others]


def with_colours_of(content, painted):
    """The content's colours with the luminance of the painted picture.

    Where Y + I + Q would leave 0 to 255, as much of I and Q is kept, in their proportion, which is the hue,
    as fits; Y is the painted picture's everywhere.
    """
    Y, content = np.clip(luminance(painted), 0, 255), np.asarray(content, float)
    chroma = content - luminance(content)
    with np.errstate(divide="ignore", invalid="ignore"):
        room = np.where(chroma > 0, (255 - Y) / chroma, np.where(chroma < 0, Y / -chroma, 1))
    return Y + chroma * np.minimum(room.min(2, keepdims=True), 1)
