"""Picture files in: any format and mode becomes what a viewer shows, as 8-bit sRGB.

Pillow decodes, and pillow-heif adds the format of iPhones. nst.pictures.deep reads more than 8 bits.
"""

import contextlib
import io
import math
import warnings
from typing import NamedTuple

import numpy as np
import pillow_heif
from PIL import ExifTags, Image, ImageCms, ImageFile, ImageOps

from nst.errors import InputError, reason
from nst.pictures import deep

# The most pixels of a picture that is read: Pillow's limit, against small files that unpack to more than memory holds.
MOST_PIXELS = Image.MAX_IMAGE_PIXELS
ORIENTATION, SUBFILE_TYPE = ExifTags.Base.Orientation, ExifTags.Base.NewSubfileType
BITS, COMPRESSION = ExifTags.Base.BitsPerSample, ExifTags.Base.Compression
PHOTOMETRIC, PLANES = ExifTags.Base.PhotometricInterpretation, ExifTags.Base.PlanarConfiguration

pillow_heif.register_heif_opener()


class Decoded(NamedTuple):
    """A picture as a viewer shows it: in sRGB, upright, laid over white.

    alpha is its alpha channel in grey, None if it is opaque; notices are lines on what is wrong with the file.
    """

    image: Image.Image
    alpha: Image.Image | None = None
    notices: tuple = ()


def read_image(path, max_pixels=MOST_PIXELS):
    """The image of read()."""
    return read(path, max_pixels).image


def read(path, max_pixels=MOST_PIXELS, finish=None, image=None):
    """The Decoded first picture in a file, or the Decoded Pillow image, which then is called path.

    finish(Pillow image of any mode) makes (image, alpha) of it; by default it is flatten. Raises InputError if the
    file holds no picture, or one of more than max_pixels.
    """
    try:
        with warnings.catch_warnings(), bounded(max_pixels):
            warnings.simplefilter("ignore")  # remarks on odd metadata
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            return decoded_image(image, path, finish or flatten) if image else decoded(path, finish or flatten)
    except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
        raise InputError(
            f"{path}: over {max_pixels:,} pixels, the most that is read; shrink it, or raise max_pixels"
        ) from error
    except (InputError, MemoryError):
        raise
    except OSError as error:
        damaged = "" if error.errno else "a damaged picture, "
        raise InputError(f"{path}: {damaged}cannot be read ({reason(error)})") from error
    except Exception as error:  # a decoder can raise anything when it parses a damaged file
        raise InputError(f"{path}: a damaged picture, cannot be read ({reason(error)})") from error


def decoded(path, finish):
    """The Decoded of a file, as in read(). Raises what the decoders raise."""
    try:
        with opened(path) as image:
            if not is_misread(image):
                return decoded_image(image, path, finish)
    except Image.UnidentifiedImageError as error:
        with open(path, "rb") as file:
            head = file.read(4)
        if head not in deep.TIFF:
            what = "not a picture in any format that is read" if head else "an empty file"
            raise InputError(f"{path}: {what}; give a JPEG, PNG, HEIC, TIFF, WebP, BMP or GIF") from error
    return Decoded(*finish(upright(deep.read_tiff(path))))


@contextlib.contextmanager
def opened(path):
    """The Pillow image in a file, as a context.

    Pillow gets the file, not its name. By its name a newer Pillow maps an uncompressed TIFF into memory, and reads one
    that lies on its side in the wrong shape.
    """
    with open(path, "rb") as file, Image.open(file) as image:
        yield image


def is_misread(image):
    """Whether Pillow would take the 16-bit numbers of a TIFF for twice as many of 8 bits."""
    if image.format != "TIFF":
        return False
    tags = image.tag_v2
    return tags.get(PLANES, 1) == 2 and 16 in tags.get(BITS, ()) and tags.get(COMPRESSION, 1) == 1


def decoded_image(image, path, finish):
    """The Decoded of a Pillow image, as in read(). Raises what the decoders raise."""
    if image.width * image.height > (Image.MAX_IMAGE_PIXELS or math.inf):
        raise Image.DecompressionBombError
    picture = largest_in(image, path) if is_preview(image) else image
    rows, notices = loaded_rows(picture), ()
    if rows < picture.height:
        notices = (f"{path}: cut off; {picture.height - rows} of its {picture.height} rows are grey",)
    return Decoded(*finish(upright(right_way_round(picture))), notices)


def loaded_rows(image):
    """Decode an image, and return how many of its rows are there: fewer than all if a JPEG was cut off.

    The missing rows are grey. Raises OSError for other damage, and if less than half of the rows are there.
    """
    try:
        image.load()
        return image.height
    except OSError as error:
        if image.format != "JPEG" or error.errno:
            raise
        ImageFile.LOAD_TRUNCATED_IMAGES = True
        try:
            image.load()
        finally:
            ImageFile.LOAD_TRUNCATED_IMAGES = False
        is_there = np.flatnonzero((np.asarray(image) != 128).reshape(image.height, -1).any(1))
        rows = int(is_there[-1]) + 1 if len(is_there) else 0
        if rows < image.height / 2:
            raise
        return rows


def right_way_round(image):
    """The image; if it is a TIFF of 16 bits in which 0 is white, its negative. Pillow does that for 8 bits only."""
    if image.format != "TIFF" or not image.mode.startswith("I;16") or image.tag_v2.get(PHOTOMETRIC) != 0:
        return image
    positive = Image.fromarray(65535 - np.asarray(image).astype("uint16"))
    positive.info = image.info
    return positive


def upright(image):
    """The image turned as its EXIF says. If the EXIF is broken, the image stays as it is, as in viewers."""
    try:
        return ImageOps.exif_transpose(image)
    except MemoryError:
        raise
    except Exception:  # a parser can raise anything
        return image


def is_preview(image):
    """Whether the first picture of a file is a small copy of another one, as in the raw files of many cameras."""
    return image.format == "TIFF" and image.tag_v2.get(SUBFILE_TYPE, 0) & 1 == 1


def largest_in(image, path):
    """The largest picture in a file that begins with a preview. Raises InputError if Pillow cannot decode it."""
    try:
        children = image.get_child_images()
    except MemoryError:
        raise
    except Exception:  # what a camera's sensor measured is no picture yet
        children = []
    largest = max(children, key=lambda child: child.width * child.height, default=image)
    if largest.width <= image.width:
        raise InputError(
            f"{path}: a camera's raw file, of which only a preview of {image.width} x {image.height} can be read;"
            " export it as JPEG or TIFF"
        )
    if orientation := image.getexif().get(ORIENTATION):
        largest.getexif()[ORIENTATION] = orientation
    return largest


@contextlib.contextmanager
def bounded(max_pixels):
    """While the body runs, Pillow refuses pictures of more pixels."""
    before, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, max_pixels
    try:
        yield
    finally:
        Image.MAX_IMAGE_PIXELS = before


def flatten(image):
    """(a Pillow image of any mode as 8-bit sRGB over white, its alpha channel or None if it is opaque)."""
    if image.mode.startswith("I") or image.mode == "F":
        image = deep.as_image(np.asarray(image)[..., np.newaxis], image.info.get("icc_profile"))
    alpha = None
    if image.has_transparency_data:
        alpha = image.convert("RGBA").getchannel("A")
        image = image.convert("L" if image.mode in ("1", "L", "LA", "La") else "RGB")
    image = to_srgb(image)
    if alpha is None or alpha.getextrema()[0] == 255:
        return image, None
    return Image.composite(image, Image.new("RGB", image.size, "white"), alpha), alpha


def to_srgb(image):
    """The image in RGB, converted by its embedded ICC profile if that is sound, as viewers do."""
    profile = image.info.get("icc_profile")
    if profile:
        image = image.convert("RGB") if image.mode == "P" else image
        with contextlib.suppress(ImageCms.PyCMSError, OSError):  # a broken profile, or one for another mode
            embedded = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            return ImageCms.profileToProfile(image, embedded, ImageCms.createProfile("sRGB"), outputMode="RGB")
    return image.convert("RGB")
