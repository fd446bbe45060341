"""What a result keeps of its content's EXIF: date, camera, lens, exposure, artist and copyright.

The rest stays behind: the place (GPS), the thumbnail, serial numbers and names of owners, and what is only true of the
content's own pixels, such as its orientation.
"""

import struct
import warnings

from PIL import Image
from PIL.ExifTags import IFD, Base
from PIL.TiffImagePlugin import ImageFileDirectory_v2

from nst.pictures.decode import bounded

OF_PICTURE = Base.Make, Base.Model, Base.DateTime, Base.Artist, Base.Copyright
CAMERA = int(IFD.Exif)  # the tag of a block with the tags of the camera
OF_CAMERA = (
    *(
        Base.DateTimeOriginal,
        Base.DateTimeDigitized,
        Base.SubsecTime,
        Base.SubsecTimeOriginal,
        Base.SubsecTimeDigitized,
    ),
    *(Base.OffsetTime, Base.OffsetTimeOriginal, Base.OffsetTimeDigitized),
    *(Base.LensMake, Base.LensModel, Base.LensSpecification, Base.FocalLength, Base.FocalLengthIn35mmFilm),
    *(Base.ExposureTime, Base.FNumber, Base.ISOSpeedRatings),
)


def read_kept(path):
    """What a result keeps of a picture's EXIF, {tag: value}. A file without any, or with broken ones, gives {}."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with bounded(None), Image.open(path) as image:
                if image.format == "PNG" and "exif" not in image.info:
                    return {}  # Pillow would decode the picture to look for them
                exif = image.getexif()
                camera = chosen(exif.get_ifd(CAMERA), OF_CAMERA)
                return chosen(exif, OF_PICTURE) | ({CAMERA: camera} if camera else {})
    except Exception:  # a broken block can raise anything, and the picture is read without it
        return {}


def chosen(tags, names):
    """{tag: value} of the names among the tags, those that Pillow can write again."""
    found = {int(name): as_written(tags[name]) for name in names if name in tags}
    return {tag: value for tag, value in found.items() if encoded({tag: value})}


def as_written(value):
    """A value as Pillow writes it. It reads bytes as Latin-1, and would write a ? for each that is not ASCII."""
    return value.encode("latin-1") if isinstance(value, str) and not value.isascii() else value


def encoded(tags):
    """{tag: value} as bytes, for all formats; b"" if there are none, or if Pillow cannot write them."""
    exif = Image.Exif()
    exif.update(tags)
    try:
        return exif.tobytes() if tags else b""
    except Exception:  # of a value that has another type than its tag, or that divides by 0
        return b""


def with_camera(tiff, tags):
    """A compressed TIFF as bytes, with what the camera tells, {tag: value}, added to its end.

    Pillow writes such a block only into a TIFF without compression. Here it has written a number in place of the
    block's position; the numbers are little-endian.
    """
    content = bytearray(tiff + b"\0" * (len(tiff) % 2))
    (start,) = struct.unpack_from("<L", content, 4)
    (count,) = struct.unpack_from("<H", content, start)
    for entry in range(start + 2, start + 2 + 12 * count, 12):
        if struct.unpack_from("<H", content, entry) == (CAMERA,):
            struct.pack_into("<L", content, entry + 8, len(content))
    block = ImageFileDirectory_v2()
    block.update(tags)
    return bytes(content) + block.tobytes(len(content))
