"""Sizes: pictures as Pillow images and as float arrays, brought to another size with their aspect ratio kept."""

import numpy as np
from PIL import Image, ImageOps

LANCZOS = Image.Resampling.LANCZOS


def size_with_long_side(size, long_side):
    """The size (a, b) scaled so that its longer side is long_side; no side is below 1."""
    return tuple(max(1, round(side * long_side / max(size))) for side in size)


def resize_to_long_side(image, long_side):
    """A Pillow image at size_with_long_side. An image that has this size is returned unchanged."""
    size = size_with_long_side(image.size, long_side)
    return image if size == image.size else image.resize(size, LANCZOS)


def each_channel(image, change):
    """image (n_H, n_W, n) with each channel changed as a Pillow image of floats; float32, of the new size."""
    channels = (change(Image.fromarray(np.float32(channel))) for channel in np.moveaxis(image, -1, 0))
    return np.stack([np.asarray(channel) for channel in channels], -1)


def resize(image, size):
    """image (n_H, n_W, 3) at another size (n_H, n_W), by Lanczos' filter; float32, not rounded.

    The filter overshoots at edges: no value goes beyond 0 and 255, or beyond what the image had.
    """
    if image.shape[:2] == tuple(size):
        return image
    resized = each_channel(image, lambda channel: channel.resize(size[::-1], LANCZOS))
    return resized.clip(min(0, image.min()), max(255, image.max()))


def fill(image, size):
    """image (n_H, n_W, 3) scaled and cropped around its centre to fill the size (n_H, n_W); float32."""
    filled = each_channel(image, lambda channel: ImageOps.fit(channel, size[::-1], LANCZOS))
    return filled.clip(min(0, image.min()), max(255, image.max()))


def resize_share(share, size):
    """A region's share (n_H, n_W), or 1 for the whole picture, at another size (n_H, n_W), with smooth edges."""
    if np.ndim(share) == 0 or share.shape == tuple(size):
        return share
    return np.asarray(Image.fromarray(share).resize(size[::-1], Image.Resampling.BILINEAR))
