"""Picture files out: written whole, without loss where the format can, with a comment that read_comment finds again."""

import io
import pathlib
import warnings

from PIL import Image
from PIL.PngImagePlugin import PngInfo

import nst.files
from nst.errors import InputError, WriteError, reason
from nst.pictures.decode import bounded

COMMENT = "Comment"  # the keyword of the PNG standard
DESCRIPTION, X_RESOLUTION, Y_RESOLUTION, RESOLUTION_UNIT, INCH = 270, 282, 283, 296, 2  # tags of TIFF and EXIF
# Pillow's options for each format: colours at full resolution, and no loss where the format allows it.
WRITING = {
    "JPEG": {"quality": 95, "subsampling": 0},
    "TIFF": {"compression": "tiff_adobe_deflate"},
    "WEBP": {"lossless": True},
}
WITH_ALPHA = ("PNG", "TIFF", "WEBP")
LONGEST_SIDES = {"JPEG": 65500, "WEBP": 16383}  # pixels
LONGEST_SIDE = 1_000_000  # pixels, of the other formats: memory ends before


def format_of(path):
    """Pillow's name of the format that a file's suffix stands for."""
    return Image.registered_extensions()[pathlib.Path(path).suffix.lower()]


def write_image(path, pixels, comment="", dpi=0, alpha=None):
    """Write uint8 pixels (n_H, n_W, 3) in the format that the suffix names. Raises WriteError.

    comment is text in ASCII, dpi the pixels per inch for printing (0 for none), alpha a Pillow image in grey.
    Each is written if the format has a place for it.
    """
    path, encoded = pathlib.Path(path), io.BytesIO()  # some formats seek and read while they write
    format, image = format_of(path), Image.fromarray(pixels)
    if alpha and format in WITH_ALPHA:
        image.putalpha(alpha.resize(image.size))
    try:
        image.save(encoded, format=format, **WRITING.get(format, {}), **remarks(format, comment, dpi))
    except (OSError, ValueError) as error:  # the picture is larger than the format allows
        raise WriteError(f"{path}: cannot be written ({reason(error)})") from error
    with nst.files.whole_file(path) as file:
        file.write(encoded.getbuffer())


def remarks(format, comment, dpi):
    """Pillow's options that write a comment and the pixels per inch (0 for none) in a format."""
    density = {"dpi": (dpi, dpi)} if dpi else {}
    if format == "PNG":
        text = PngInfo()
        text.add_text(COMMENT, comment)
        return {"pnginfo": text, **density}
    if format == "JPEG":
        return {"comment": comment, **density}
    if format == "TIFF":
        return {"description": comment, **density}
    if format == "WEBP":
        exif = Image.Exif()
        exif[DESCRIPTION] = comment
        if dpi:
            exif.update({X_RESOLUTION: dpi, Y_RESOLUTION: dpi, RESOLUTION_UNIT: INCH})
        return {"exif": exif}
    return {}


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
