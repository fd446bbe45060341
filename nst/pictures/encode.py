"""Picture files out: written whole, without loss where the format can, with a comment that read_comment finds again."""

import io
import pathlib
import warnings

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo

import nst.files
from nst.errors import InputError, WriteError, reason
from nst.pictures import exif
from nst.pictures.decode import bounded

COMMENT = "Comment"  # the keyword of the PNG standard
MARK = b"nsTr"  # the name of a chunk of a PNG; by its small first letter other programs know that they can pass it over
DESCRIPTION, X_RESOLUTION, Y_RESOLUTION, RESOLUTION_UNIT, INCH = 270, 282, 283, 296, 2  # tags of TIFF and EXIF
# Pillow's options for each format: colours at full resolution, and no loss where the format allows it.
WRITING = {
    "JPEG": {"quality": 95, "subsampling": 0},
    "TIFF": {"compression": "tiff_adobe_deflate"},
    "WEBP": {"lossless": True},
}
SUFFIXES = (".jpg", ".jpeg", ".png", ".tif", ".tiff", ".webp")
WITH_ALPHA = ("PNG", "TIFF", "WEBP")
LONGEST_SIDES = {"JPEG": 65500, "WEBP": 16383}  # pixels
LONGEST_SIDE = 1_000_000  # pixels, of the other formats: memory ends before


def format_of(path):
    """Pillow's name of the format that a file's suffix stands for."""
    return Image.registered_extensions()[pathlib.Path(path).suffix.lower()]


def write_image(path, pixels, comment="", dpi=0, alpha=None, kept=None, mark=b""):
    """Write uint8 pixels (n_H, n_W, 3), over white, in the format that the suffix names. Raises WriteError.

    comment is text in ASCII, dpi the pixels per inch for printing (0 for none), alpha that of with_alpha, kept
    {tag: value} of nst.pictures.exif, and mark the bytes by which read_mark tells a PNG from others. Each is written if
    the format has a place for it.
    """
    path, encoded = pathlib.Path(path), io.BytesIO()  # some formats seek and read while they write
    format, image = format_of(path), Image.fromarray(pixels)
    if alpha and format in WITH_ALPHA:
        image = with_alpha(image, alpha)
    try:
        image.save(encoded, format=format, **WRITING.get(format, {}), **remarks(format, comment, dpi, kept or {}, mark))
    except (OSError, ValueError) as error:  # the picture is larger than the format allows
        raise WriteError(f"{path}: cannot be written ({reason(error)})") from error
    content = encoded.getbuffer()
    if format == "TIFF" and exif.CAMERA in (kept or {}):
        content = exif.with_camera(encoded.getvalue(), kept[exif.CAMERA])
    with nst.files.whole_file(path) as file:
        file.write(content)


def with_alpha(image, alpha):
    """A Pillow image in RGB as one in RGBA that shows the same over white, or what is nearest to it with this alpha.

    alpha is a Pillow image in grey; it is resized to the image.
    """
    alpha = alpha.resize(image.size)
    share = np.asarray(alpha, "float32")[..., np.newaxis] / 255
    over_white = np.asarray(image, "float32")
    colours = np.divide(over_white - 255 * (1 - share), share, out=over_white.copy(), where=share > 0)
    image = Image.fromarray(np.rint(colours.clip(0, 255)).astype("uint8"))
    image.putalpha(alpha)
    return image


def remarks(format, comment, dpi, kept, mark):
    """Pillow's options that write the remarks of write_image in a format."""
    density = {"dpi": (dpi, dpi)} if dpi else {}
    if format == "PNG":
        chunks = PngInfo()
        if comment:
            chunks.add_text(COMMENT, comment)
        if mark:
            chunks.add(MARK, mark)
        return {"pnginfo": chunks, "exif": exif.encoded(kept), **density}
    if format == "JPEG":
        return {"comment": comment, "exif": exif.encoded(kept), **density}
    if format == "TIFF":
        place = {exif.CAMERA: 1} if exif.CAMERA in kept else {}  # with_camera puts the block there
        return {"tiffinfo": {**kept, **place}, **({"description": comment} if comment else {}), **density}
    kept = {**kept, DESCRIPTION: comment} if comment else dict(kept)  # WebP
    if dpi:
        kept |= {X_RESOLUTION: dpi, Y_RESOLUTION: dpi, RESOLUTION_UNIT: INCH}
    return {"exif": exif.encoded(kept)}


def read_mark(path):
    """The mark that write_image wrote into a PNG, b"" if there is none."""
    with bounded(None), Image.open(path) as image:
        return dict(getattr(image, "private_chunks", ())).get(MARK, b"")


def read_comment(path):
    """The comment that write_image wrote into a picture, "" if there is none. Raises InputError for no picture."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with bounded(None), Image.open(path) as image:  # of any size: the pixels are not decoded
                comment = image.info.get(COMMENT) or image.info.get("comment")  # PNG, JPEG
                comment = comment or image.getexif().get(DESCRIPTION) or ""  # TIFF, WebP
    except (OSError, ValueError, SyntaxError) as error:  # Pillow raises the latter for a broken PNG
        raise InputError(f"{path}: cannot be read ({reason(error)})") from error
    return comment if isinstance(comment, str) else comment.decode("utf-8", "replace")
