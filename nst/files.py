"""Files in and out: any picture as RGB, and files that appear whole or not at all.

Pillow decodes, with pillow-heif what iPhones take, and imageio what Pillow has no mode for; this module
sees to it that what a viewer shows is what the network gets, and that no run leaves half a file behind.
It knows nothing of networks, flags or TensorFlow: pixels are 0 to 255.
"""

import contextlib
import errno
import functools
import hashlib
import io
import math
import os
import pathlib
import time
import warnings
import zipfile

import filelock
import imageio.v3 as imageio
import numpy as np
import pillow_heif
from PIL import Image, ImageCms, ImageOps
from PIL.PngImagePlugin import PngInfo

# The most pixels of a picture that is read: Pillow's limit against files that unpack to more than memory holds.
MOST_PIXELS = Image.MAX_IMAGE_PIXELS
COMMENT = "Comment"  # the PNG standard's word
DESCRIPTION, X_RESOLUTION, Y_RESOLUTION, RESOLUTION_UNIT, INCH = 270, 282, 283, 296, 2  # TIFF's, and EXIF's
# How Pillow is to write a format: colours at full resolution, and without loss where that can be had.
WRITING = {
    "JPEG": {"quality": 95, "subsampling": 0},
    "TIFF": {"compression": "tiff_adobe_deflate"},
    "WEBP": {"lossless": True},
}
WITH_ALPHA = ("PNG", "TIFF", "WEBP")
LONGEST_SIDES = {"JPEG": 65500, "WEBP": 16383}  # of those formats that have one within reach
# Windows does not let a file be replaced or removed that another program, a viewer or a scanner, has open.
PATIENCE_SECONDS = 2 if os.name == "nt" else 0

pillow_heif.register_heif_opener()


class InputError(ValueError):
    """Something a user gave cannot be used. The text is one line: what, where, what to do."""


class RunError(Exception):
    """A run that began well and failed. The text is one line: what, where, what to do."""


class WriteError(OSError):
    """A file could not be written; what stood in its place still does. The text is one line."""


def reason(error):
    """What an exception says, in one line, without the path and number that an OSError repeats."""
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return text.splitlines()[0]


# --- Pictures in ----------------------------------------------------------------------------------


def read_image(path, max_pixels=MOST_PIXELS):
    """read_layers without the alpha channel."""
    return read_layers(path, max_pixels)[0]


def read_layers(path, max_pixels=MOST_PIXELS):
    """(the first picture in a file as a viewer shows it, its alpha channel or None where it hides nothing).

    The one is a Pillow image in sRGB, upright, over white, the other one in grey.

    Raises InputError where there is none, or one of more than max_pixels: a small file can hold a picture
    that no memory does.
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
    except Exception as error:  # decoders answer a damaged file with whatever their parsing runs into
        raise InputError(f"{path}: a damaged picture, cannot be read ({reason(error)})") from error


@contextlib.contextmanager
def bounded(max_pixels):
    """Within, Pillow opens no picture of more pixels."""
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
    except Exception as error:  # as above
        raise InputError(f"{path}: a TIFF of a kind that is not read ({reason(error)}); save it as PNG") from error
    raise bomb(path, max_pixels)


def from_deep(values, has_alpha):
    """A Pillow image of numbers (n_H, n_W, n) of more than 8 bits: grey or RGB, then alpha, then what is not shown."""
    is_float, count = values.dtype.kind == "f", 3 if values.shape[2] > 2 else 1
    image = Image.fromarray(to_8_bits(values[..., :count].repeat(3 // count, 2), is_float))
    if has_alpha and values.shape[2] > count:
        image.putalpha(Image.fromarray(to_8_bits(values[..., count], is_float)))
    return image


def flatten(image):
    """(a Pillow image of any mode as 8-bit sRGB, transparency laid over white; its alpha channel, None for none)."""
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
    """Numbers of more than 8 bits, scaled to 0 to 255 by the range they have.

    16-bit numbers range over 65535 and floats, by convention, from 0 to 1; where values go beyond
    these, black is the smaller of 0 and the least of them, and white the greatest.
    """
    values = np.nan_to_num(values.astype(float), posinf=0, neginf=0)
    low, high = min(0, values.min()), 1 if is_float else 65535
    if low < 0 or values.max() > high:
        high = values.max()
    return np.rint((values - low) * (255 / (high - low or 1))).astype("uint8")


def to_srgb(image):
    """The image in RGB, through its embedded ICC profile if it has a sound one, as viewers do."""
    profile = image.info.get("icc_profile")
    if profile:
        image = image.convert("RGB") if image.mode == "P" else image
        with contextlib.suppress(ImageCms.PyCMSError, OSError):  # a broken profile, or one for another mode
            embedded = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            return ImageCms.profileToProfile(image, embedded, ImageCms.createProfile("sRGB"), outputMode="RGB")
    return image.convert("RGB")


def size_with_long_side(size, long_side):
    """(width, height) with its longer side set to long_side pixels, its aspect ratio kept."""
    return tuple(max(1, round(side * long_side / max(size))) for side in size)


def resize_to_long_side(image, long_side):
    """The Pillow image at size_with_long_side; one that has it already comes back pixel for pixel."""
    size = size_with_long_side(image.size, long_side)
    return image if size == image.size else image.resize(size, Image.Resampling.LANCZOS)


def locate(name, folder):
    """The path of a file: a bare name is looked for in the folder, then as a path."""
    kept = folder / name
    is_kept = pathlib.Path(name).name == name and os.path.isfile(kept)  # noqa: PTH113 (Path's own can raise)
    return kept if is_kept else pathlib.Path(name)


def sha256(path):
    """The SHA-256 of a file, in hexadecimal. Raises InputError where it cannot be read."""
    try:
        facts = pathlib.Path(path).stat()
        return digest(os.path.realpath(path), facts.st_size, facts.st_mtime_ns)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({reason(error)})") from error


@functools.lru_cache(maxsize=1000)  # a batch asks for the weights, half a gigabyte, with every row
def digest(path, size, changed):
    found = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            found.update(block)
    return found.hexdigest()


# --- Files out, whole ------------------------------------------------------------------------------------


@contextlib.contextmanager
def claimed(folder):
    """The folder made, locked until the body ends, and swept. Raises InputError where that cannot be."""
    with locked(folder, ".lock"):
        try:
            for part in folder.glob(".*.part"):  # what a killed run left unfinished
                part.unlink()
        except OSError as error:
            raise InputError(f"{folder}: not a folder that can be written in ({reason(error)})") from error
        yield


@contextlib.contextmanager
def locked(folder, name):
    """The folder made, and a lock of that name held in it until the body ends. Raises InputError where that cannot be.

    The operating system drops a lock with the process that held it, so a dead run blocks nobody.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = filelock.FileLock(folder / name, fallback_to_soft=False)  # a soft one would outlive its process
        lock.acquire(timeout=0)
    except filelock.Timeout as error:
        raise InputError(f"{folder}: another run is writing there; wait for it, or name another folder") from error
    except OSError as error:
        if error.errno == errno.ENOSYS:
            told = f"{folder}: its file system has no locks, which keep two runs apart; name another"
        else:
            told = f"{folder}: not a folder that can be written in ({reason(error)})"
        raise InputError(told) from error
    try:
        yield
    finally:
        lock.release()


@contextlib.contextmanager
def whole_path(path):
    """A path to write to: what is there takes its place at path when the body ends well, or never.

    Until then it stands beside its place. Raises WriteError where the system refuses.
    """
    part = path.with_name(f".{path.name}.part")
    try:
        yield part
        patiently(synchronize, part)
        patiently(part.replace, path)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise WriteError(f"{path}: cannot be written ({reason(error)}); what was there stays") from error
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def synchronize(path):
    """See to it that the disk has what the file holds, before another takes its name for whole."""
    with open(path, "rb+") as file:
        os.fsync(file.fileno())


def remove(path):
    """Remove a file, if it is there. Raises WriteError where the system refuses."""
    try:
        patiently(path.unlink, missing_ok=True)
    except OSError as error:
        raise WriteError(f"{path}: cannot be removed ({reason(error)})") from error


def patiently(action, *words, **options):
    """action(*words, **options), with PATIENCE_SECONDS for a system that refuses."""
    end = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            return action(*words, **options)
        except PermissionError:
            if time.monotonic() >= end:
                raise
        time.sleep(0.1)


@contextlib.contextmanager
def whole_file(path):
    """A binary file to write in, as whole_path."""
    with whole_path(path) as part, open(part, "wb") as file:
        yield file


def write_text(path, text):
    """Write a text in UTF-8. Raises WriteError."""
    with whole_file(path) as file:
        file.write(text.encode())


def format_of(path):
    """Pillow's name of the format that a suffix stands for."""
    return Image.registered_extensions()[pathlib.Path(path).suffix.lower()]


def write_image(path, pixels, comment="", dpi=0, alpha=None):
    """Write uint8 pixels (n_H, n_W, 3), in the format that the suffix names.

    A comment in ASCII, pixels per inch for who prints it and alpha, a Pillow image in grey, go where the
    format has them.
    """
    path, encoded = pathlib.Path(path), io.BytesIO()  # some formats seek and read while they write
    format, image = format_of(path), Image.fromarray(pixels)
    if alpha and format in WITH_ALPHA:
        image.putalpha(alpha.resize(image.size))
    try:
        image.save(encoded, format=format, **WRITING.get(format, {}), **remarks(format, comment, dpi))
    except (OSError, ValueError) as error:  # larger than the format can be
        raise WriteError(f"{path}: cannot be written ({reason(error)})") from error
    with whole_file(path) as file:
        file.write(encoded.getbuffer())


def remarks(format, comment, dpi):
    """How Pillow is told a comment and the pixels per inch (0 for none), in a format's own words."""
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
    """The comment of write_image in a picture, "" for none. Raises InputError where there is no picture."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # its pixels are not unpacked
            with Image.open(path) as image:
                comment = image.info.get(COMMENT) or image.info.get("comment")  # a PNG's, a JPEG's
                comment = comment or image.getexif().get(DESCRIPTION) or ""  # a TIFF's, a WebP's
    except (OSError, Image.DecompressionBombError) as error:
        raise InputError(f"{path}: cannot be read ({reason(error)})") from error
    return comment if isinstance(comment, str) else comment.decode("utf-8", "replace")


def write_arrays(path, arrays):
    """Write a dict of arrays as .npz."""
    with whole_file(path) as file:
        np.savez(file, **arrays)


def read_arrays(path):
    """What write_arrays wrote. Raises InputError for anything else, pickled objects (code) included."""
    try:
        with np.load(path, allow_pickle=False) as file:
            return dict(file)
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise InputError(f"{path}: not a checkpoint of this program ({reason(error)}); remove it") from error
