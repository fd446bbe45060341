"""Picture files in: any format and mode becomes what a viewer shows, as 8-bit sRGB.

Pillow decodes, pillow-heif adds the format of iPhones, and imageio reads the TIFFs that Pillow has no mode for.
"""

import contextlib
import io
import math
import warnings

import imageio.v3 as imageio
import numpy as np
import pillow_heif
from PIL import Image, ImageCms, ImageOps

from nst.errors import InputError, reason

# The most pixels of a picture that is read: Pillow's limit, against small files that unpack to more than memory holds.
MOST_PIXELS = Image.MAX_IMAGE_PIXELS

pillow_heif.register_heif_opener()


def read_image(path, max_pixels=MOST_PIXELS):
    """The picture of read_layers, without its alpha channel."""
    return read_layers(path, max_pixels)[0]


def read_layers(path, max_pixels=MOST_PIXELS):
    """(the first picture in a file, its alpha channel or None if it is opaque), as a viewer shows them.

    The picture is a Pillow image in sRGB, upright and laid over white; the alpha channel is in grey. Raises
    InputError if the file holds no picture, or one of more than max_pixels.
    """
    try:
        with warnings.catch_warnings(), bounded(max_pixels):
            warnings.simplefilter("ignore")  # remarks on odd metadata
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path) as image:
                image.load()
                return flatten(ImageOps.exif_transpose(image))
    except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
        raise bomb(path, max_pixels) from error
    except Image.UnidentifiedImageError as error:
        with open(path, "rb") as file:
            head = file.read(4)
        if head in (b"II*\0", b"MM\0*"):
            return read_deep_tiff(path, max_pixels)
        what = "not a picture in any format that is read" if head else "an empty file"
        raise InputError(f"{path}: {what}; give a JPEG, PNG, HEIC, TIFF, WebP, BMP or GIF") from error
    except MemoryError:
        raise
    except OSError as error:
        damaged = "" if error.errno else "a damaged picture, "
        raise InputError(f"{path}: {damaged}cannot be read ({reason(error)})") from error
    except Exception as error:  # a decoder can raise anything when it parses a damaged file
        raise InputError(f"{path}: a damaged picture, cannot be read ({reason(error)})") from error


@contextlib.contextmanager
def bounded(max_pixels):
    """While the body runs, Pillow refuses pictures of more pixels."""
    before, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, max_pixels
    try:
        yield
    finally:
        Image.MAX_IMAGE_PIXELS = before


def bomb(path, max_pixels):
    return InputError(f"{path}: over {max_pixels:,} pixels, the most that is read; shrink it, or raise max_pixels")


def read_deep_tiff(path, max_pixels):
    """The first page of a TIFF that Pillow has no mode for: colours as floats, or of more than 16 bits."""
    try:
        with imageio.imopen(path, "r", plugin="tifffile") as file:
            shape, tags = file.properties(page=0).shape, file.metadata(page=0)
            planar = tags["planar_configuration"] == 2 and len(shape) == 3
            if math.prod(shape[1:] if planar else shape[:2]) <= max_pixels:
                values = file.read(page=0)
                values = np.moveaxis(values, 0, -1) if planar else np.atleast_3d(values)
                return flatten(from_deep(values, has_alpha=np.ravel(tags.get("ExtraSamples", 0))[0] in (1, 2)))
    except MemoryError:
        raise
    except Exception as error:  # as in read_layers
        raise InputError(f"{path}: a TIFF of a kind that is not read ({reason(error)}); save it as PNG") from error
    raise bomb(path, max_pixels)


def from_deep(values, has_alpha):
    """A Pillow image of an array (n_H, n_W, n) of more than 8 bits: grey or RGB, then alpha, then hidden channels."""
    is_float, count = values.dtype.kind == "f", 3 if values.shape[2] > 2 else 1
    image = Image.fromarray(to_8_bits(values[..., :count].repeat(3 // count, 2), is_float))
    if has_alpha and values.shape[2] > count:
        image.putalpha(Image.fromarray(to_8_bits(values[..., count], is_float)))
    return image


def flatten(image):
    """(a Pillow image of any mode as 8-bit sRGB over white, its alpha channel or None if it is opaque)."""
    if image.mode.startswith("I") or image.mode == "F":
        return Image.fromarray(to_8_bits(np.asarray(image), is_float=image.mode == "F")).convert("RGB"), None
    alpha = None
    if image.has_transparency_data:
        alpha = image.convert("RGBA").getchannel("A")
        image = image.convert("L" if image.mode in ("1", "L", "LA", "La") else "RGB")
    image = to_srgb(image)
    if alpha is None or alpha.getextrema()[0] == 255:
        return image, None
    return Image.composite(image, Image.new("RGB", image.size, "white"), alpha), alpha


def to_8_bits(values, is_float):
    """An array of more than 8 bits as uint8, scaled from its range to 0 to 255.

    16-bit numbers range to 65535 and floats, by convention, from 0 to 1. Where values lie outside that range,
    black is the least of them (or 0) and white the greatest.
    """
    values = np.nan_to_num(values.astype(float), posinf=0, neginf=0)
    low, high = min(0, values.min()), 1 if is_float else 65535
    if low < 0 or values.max() > high:
        high = values.max()
    return np.rint((values - low) * (255 / (high - low or 1))).astype("uint8")


def to_srgb(image):
    """The image in RGB, converted by its embedded ICC profile if that is sound, as viewers do."""
    profile = image.info.get("icc_profile")
    if profile:
        image = image.convert("RGB") if image.mode == "P" else image
        with contextlib.suppress(ImageCms.PyCMSError, OSError):  # a broken profile, or one for another mode
            embedded = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            return ImageCms.profileToProfile(image, embedded, ImageCms.createProfile("sRGB"), outputMode="RGB")
    return image.convert("RGB")
