"""Whose colours the result has: --preserve_colors.

    [Colour]  Gatys, Bethge, Hertzmann & Shechtman 2016, Preserving Color in Neural Artistic Style
              Transfer, arXiv 1606.05897

Pictures are arrays (n_H, n_W, 3) in RGB, 0 to 255; they come back as floats and may reach beyond.
"""

import numpy as np

LUMINANCE = np.array([0.299, 0.587, 0.114])  # Y of YIQ, in which the eye sees the most detail

GREY = 3  # levels between the channels, at the most


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

    x becomes A (x - mean of S) + mean of C, where A = cov_C^(1/2) cov_S^(-1/2). Colours that the style
    does not have (a grey one has but one axis of the three) cannot be made from it.
    """
    S, C = (np.asarray(image, float).reshape(-1, 3) for image in (style, content))
    A = power(np.cov(C.T, bias=True), 0.5) @ power(np.cov(S.T, bias=True), -0.5)
    return ((S - S.mean(0)) @ A.T + C.mean(0)).reshape(np.shape(style))


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
