"""Pictures of more than 8 bits a channel, in integers or floats, as 8-bit sRGB."""

import io
import math

import imageio.v3 as imageio
import numpy as np
from PIL import ExifTags, Image, ImageCms

ALPHA = {1: "associated", 2: "straight"}  # by TIFF's number for a channel after the colours
TIFF = b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"  # how a TIFF begins; the latter two are those of a BigTIFF


def read_tiff(path):
    """The first page of a TIFF that Pillow has no mode for: colours as floats, or of more than 16 bits.

    The Pillow image, RGB or RGBA, is upright and in sRGB. Raises OSError for a TIFF of another kind, and
    Image.DecompressionBombError for one of more than Image.MAX_IMAGE_PIXELS.
    """
    try:
        with imageio.imopen(path, "r", plugin="tifffile") as file:
            shape, tags = file.properties(page=0).shape, file.metadata(page=0)
            planar = tags["planar_configuration"] == 2 and len(shape) == 3
            if math.prod(shape[1:] if planar else shape[:2]) > (Image.MAX_IMAGE_PIXELS or math.inf):
                raise Image.DecompressionBombError
            values = file.read(page=0)
    except (MemoryError, Image.DecompressionBombError):
        raise
    except Exception as error:  # a decoder can raise anything
        raise OSError(f"a TIFF of a kind that is not read: {error}; save it as PNG") from error
    values = np.moveaxis(values, 0, -1) if planar else np.atleast_3d(values)
    if tags.get("PhotometricInterpretation") == 0 and values.dtype.kind == "u":  # 0 is white
        values = np.iinfo(values.dtype).max - values
    alpha = ALPHA.get(int(np.ravel(tags.get("ExtraSamples", 0))[0]))
    image = as_image(values, tags.get("InterColorProfile"), alpha)
    image.getexif()[ExifTags.Base.Orientation] = int(tags.get("Orientation", 1))
    return image


def as_image(values, profile=None, alpha=None):
    """An array (n_H, n_W, n) of more than 8 bits as a Pillow image in sRGB, RGB or RGBA.

    The channels are grey or RGB, then one of ALPHA, if any, then others. profile is the ICC profile of the colours,
    bytes.
    """
    count = 3 if values.shape[2] > 2 else 1
    colours, opacity = scaled(values[..., :count]), None
    if alpha and values.shape[2] > count:
        opacity = scaled(values[..., count])
        if alpha == "associated":  # the colours are multiplied by it
            share = opacity[..., np.newaxis]
            colours = np.divide(colours, share, out=np.zeros_like(colours), where=share > 0).clip(0, 1)
    image = converted(colours, profile) or Image.fromarray(to_8_bits(colours.repeat(3 // count, 2)))
    if opacity is not None:
        image.putalpha(Image.fromarray(to_8_bits(opacity)))
    return image


def scaled(values):
    """Values as floats of 0 to 1.

    16-bit numbers range to 65535 and floats, by convention, from 0 to 1. Where values lie outside that range,
    black is the least of them (or 0) and white the greatest.
    """
    values, is_float = np.nan_to_num(values.astype("float32"), posinf=0, neginf=0), values.dtype.kind == "f"
    low, high = min(0, values.min()), 1 if is_float else 65535
    if low < 0 or values.max() > high:
        high = values.max()
    return (values - low) / (high - low or 1)


def to_8_bits(values):
    return np.rint(values * 255).astype("uint8")


def converted(colours, profile):
    """Colours (n_H, n_W, 1 or 3) of 0 to 1 from an ICC profile to sRGB, as a Pillow image.

    None without a profile, and if it is broken or for other colours, which viewers ignore. Pillow converts 8 bits,
    which are too few for the dark colours of a linear profile: all that sRGB has below level 13 is between 0 and 1.
    So the colours between two levels are mixed from theirs, as light.
    """
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile or b""))
        is_grey = source.profile.xcolor_space.strip() == "GRAY"
        transform = ImageCms.buildTransform(source, ImageCms.createProfile("sRGB"), "L" if is_grey else "RGB", "RGB")
    except (ImageCms.PyCMSError, OSError):
        return None
    colours = colours[..., :1] if is_grey else colours.repeat(3 // colours.shape[2], 2)

    def light(levels):
        levels = levels[..., 0] if is_grey else levels
        return to_light(np.asarray(ImageCms.applyTransform(Image.fromarray(levels), transform)) / 255)

    low = np.floor(colours * 255).clip(0, 254).astype("uint8")
    base = found = light(low)
    for channel in range(colours.shape[2]):
        step = np.arange(colours.shape[2], dtype="uint8") == channel
        found = found + (colours * 255 - low)[..., channel, np.newaxis] * (light(low + step) - base)
    return Image.fromarray(to_8_bits(from_light(found.clip(0, 1))))


def to_light(values):
    """sRGB's values of 0 to 1 as light, IEC 61966-2-1."""
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def from_light(light):
    """The way back."""
    return np.where(light <= 0.0031308, light * 12.92, 1.055 * light ** (1 / 2.4) - 0.055)
