"""The originals: the pictures of a job as arrays in their own colours, read from their files, masked and resized."""

import collections.abc
import hashlib
import os
import pathlib
import types
from typing import NamedTuple

import numpy as np
from PIL import Image

import nst.files
from nst.errors import InputError, PictureError
from nst.pictures import colours, decode, encode, exif, masks, video
from nst.pictures.masks import EVERYWHERE
from nst.pictures.resize import fill, resize, resize_share, size_with_long_side

IMAGES = pathlib.Path(__file__).resolve().parents[2] / "images"
CONTEXT = 64  # pixels around the painted part that the network sees too


class Picture(NamedTuple):
    """A picture and its regions.

    image is float32 (n_H, n_W, 3) in RGB, 0 to 255; regions is {name: share}, at least {EVERYWHERE: 1}. A share
    says how much each pixel belongs to the region: float32 (n_H, n_W), 0 to 1, or the number 1 for all of it.
    """

    image: np.ndarray
    regions: dict

    @property
    def size(self):
        """(n_H, n_W)."""
        return self.image.shape[:2]

    def resized(self, size):
        regions = {name: resize_share(share, size) for name, share in self.regions.items()}
        return Picture(resize(self.image, size), regions)

    def cropped(self, box):
        """The part in a box (left, top, right, bottom)."""
        return Picture(crop(self.image, box), {name: crop(share, box) for name, share in self.regions.items()})


class Canvas(NamedTuple):
    """The whole content at the size of the result, on which the painted part is laid.

    image is float32 (n_H, n_W, 3), 0 to 255; box (left, top, right, bottom) is the part that is painted. share,
    float32 (n_H, n_W), says how much of each pixel is painted, None if all is. alpha is the alpha channel of the
    result, a Pillow image in grey, or None. kept is what the result keeps of the content's EXIF, or None.
    """

    image: np.ndarray
    box: tuple
    share: np.ndarray | None = None
    alpha: Image.Image | None = None
    kept: dict | None = None

    @property
    def size(self):
        """(n_H, n_W)."""
        return self.image.shape[:2]

    def lay(self, painted, preserve_colors="none"):
        """The whole picture, (n_H, n_W, 3) of 0 to 255, with painted in its box.

        painted is (n_H, n_W, 3) at the box's size or, at a coarse scale, smaller; the result is then smaller too. With
        preserve_colors "luminance" the content gives the colours, and painted light and dark; with "shapes" it is
        the other way round.
        """
        if preserve_colors in ("luminance", "shapes"):
            content = resize(crop(self.image, self.box), painted.shape[:2])
            pair = (content, painted) if preserve_colors == "luminance" else (painted, content)
            painted = colours.with_colours_of(*pair)
        if self.share is None:
            return painted
        height, width = painted.shape[:2]
        left, top, right, bottom = self.box
        size = size_with_long_side(self.size, round(max(self.size) * width / (right - left)))
        size = max(size[0], height), max(size[1], width)
        whole = np.array(resize(self.image, size))
        share = resize(self.share[..., np.newaxis], size).clip(0, 1)
        left = min(round(left * width / (right - left)), size[1] - width)
        top = min(round(top * height / (bottom - top)), size[0] - height)
        inside = slice(top, top + height), slice(left, left + width)
        whole[inside] += (painted - whole[inside]) * share[inside]
        return whole


class Originals(NamedTuple):
    """The pictures of a job: the part of the content that is painted, the styles, init or None, and the canvas."""

    content: Picture
    styles: tuple
    init: np.ndarray | None
    canvas: Canvas
    notices: tuple = ()

    def with_content(self, image):
        """A copy with another content, a Pillow image of the same shape."""
        canvas = self.canvas._replace(image=as_array(image, self.canvas.size))
        content = self.content._replace(image=crop(canvas.image, canvas.box))
        return self._replace(content=content, canvas=canvas)


# --- Reading --------------------------------------------------------------------------------------


def find_image(name):
    """The path of a picture: a bare name is looked for in images/ first, then taken as a path."""
    return nst.files.locate(name, IMAGES)


class Reader(NamedTuple):
    """Reads pictures by name.

    given is {name: (Pillow image, [path, ...])} of pictures that are in memory, and the files they came from. coming is
    {real path: (width, height)} of pictures that earlier jobs of a batch will make, or {real path: None} of those that
    they cannot make. Only their size is known.
    """

    max_pixels: int
    given: collections.abc.Mapping = types.MappingProxyType({})
    coming: collections.abc.Mapping = types.MappingProxyType({})

    def read(self, name, finish=None):
        """decode.read() of a picture."""
        if name in self.given:
            return decode.read(name, self.max_pixels, finish, self.given[name][0])
        return decode.read(find_image(name), self.max_pixels, finish)

    def kept_exif(self, name):
        return None if name in self.given else exif.read_kept(find_image(name))

    def size(self, name):
        """(width, height) of a picture as a viewer shows it, from its header where that tells.

        Raises InputError if there is no such file, and PictureError if there is one that cannot be painted.
        """
        if name in self.given:
            return self.given[name][0].size
        path = find_image(name)
        if self.is_coming(path):
            if size := self.coming[os.path.realpath(path)]:
                return size
            raise PictureError(f"{path}: not painted, because of a picture that cannot be read")
        try:
            width, height = video.upright_size(path)
            if width * height <= self.max_pixels:
                return width, height
        except Exception:  # a decoder can raise anything, and may read the picture all the same
            pass
        try:
            return self.read(name).image.size
        except InputError as error:
            raise PictureError(*error.args) if nst.files.is_file(path) else error from error

    def digest(self, name):
        """The SHA-256 of a picture's file or files, "" for no name and for a picture to come."""
        digests = [nst.files.sha256(path) for path in self.files(name) if not self.is_coming(path)]
        return (
            digests[0]
            if len(digests) == 1
            else hashlib.sha256("".join(digests).encode()).hexdigest()
            if digests
            else ""
        )

    def files(self, names):
        """The paths of the files of a picture, or of several."""
        if not isinstance(names, str):
            return [path for name in names for path in self.files(name)]
        if names in self.given:
            return self.given[names][1]
        return [find_image(names)] if names else []

    def is_coming(self, path):
        return not os.path.exists(path) and os.path.realpath(path) in self.coming  # noqa: PTH110


def read_originals(settings, reader):
    """The Originals of the settings. Raises InputError if something cannot be painted."""
    content, alpha, notices = reader.read(settings.content_image_filename)
    styles = []
    for name in settings.style_image_filename:
        style, _, more = reader.read(name)
        styles, notices = [*styles, style], notices + more
    mask_names = settings.content_mask, *(settings.style_mask or ("",) * len(styles))
    (content_mask, *style_masks), more = read_masks(reader, mask_names, (content, *styles))
    notices += more
    regions, style_regions, more = masks.pair_regions(content_mask, style_masks, mask_names)
    notices += more
    long_side = settings.image_size or max(content.size)
    check_size(settings, content.size, long_side)
    content = as_picture(content, regions, long_side)
    sides = [max(1, round(long_side * scale)) for scale in settings.scale_of_styles]
    styles = list(map(as_picture, styles, style_regions, sides))
    for name, style in zip(mask_names[1:], styles, strict=True):
        if lost := [value for value, share in style.regions.items() if not np.any(share)]:
            region = name if lost[0] == EVERYWHERE else f"{name}'s region of grey value {lost[0]}"
            raise InputError(
                f"arguments --image_size and --style_scale: at this size nothing is left of {region}; use larger values"
            )
    if settings.output_format == "jpg":
        alpha = None  # a JPEG has none: it shows the picture over white
    canvas, regions = make_canvas(content, alpha and alpha.resize(content.size[::-1]))
    if canvas.share is not None and not canvas.share.any():
        raise InputError(
            f"{settings.content_image_filename}: nothing of it is left to paint, by its mask or transparency"
        )
    init, more = read_init(settings, reader, canvas, styles)
    notices += more
    canvas = canvas._replace(kept=reader.kept_exif(settings.content_image_filename))
    return Originals(content._replace(regions=regions).cropped(canvas.box), tuple(styles), init, canvas, notices)


def read_masks(reader, names, pictures):
    """([the mask of each picture, a Pillow image in grey, or None for no name], notices)."""
    read, notices = [], ()
    for name, picture in zip(names, pictures, strict=True):
        if not name:
            read.append(None)
            continue
        mask, alpha, more = reader.read(name, masks.drawn)
        check_shape(name, mask.size, picture.size)
        read.append((mask, alpha))
        notices += more
    as_regions = bool(names[0] and any(names[1:]))
    found, more = masks.as_masks(read, names, as_regions)
    return found, notices + more


def check_headers(settings, reader):
    """Check what the headers of a job's pictures tell, and return the size (width, height) of its result.

    Raises PictureError for a picture that cannot be painted, and InputError for any other mistake.
    """
    content = reader.size(settings.content_image_filename)
    styles = [reader.size(name) for name in settings.style_image_filename]
    for name, picture in zip((settings.content_mask, *settings.style_mask), (content, *styles), strict=False):
        if name:
            check_shape(name, reader.size(name), picture)
    if settings.init_image:
        reader.size(settings.init_image)
    long_side = settings.image_size or max(content)
    check_size(settings, content, long_side)
    return size_with_long_side(content, long_side)


def check_shape(name, size, size_of_picture):
    """Raises InputError if a mask does not have the aspect ratio of its picture; sizes are (width, height)."""
    (width, height), (wide, high) = size, size_of_picture
    if not 0.98 < width * high / (height * wide) < 1.02:
        raise InputError(
            f"{name}: a mask must have the aspect ratio of its picture, but they are {width} x {height} and"
            f" {wide} x {high}"
        )


def read_init(settings, reader, canvas, styles):
    """(the picture to start from, (n_H, n_W, 3), cropped to the content's shape, or None for the content; notices)."""
    notices = ()
    if settings.init_image:
        image, _, notices = reader.read(settings.init_image)
    elif settings.init == "style":
        image = styles[0].image
    else:
        return None, ()
    return crop(fill(np.asarray(image), canvas.size), canvas.box), notices


def check_size(settings, size_of_content, long_side):
    """Raises InputError if the result would be larger than its format allows."""
    size = size_with_long_side(size_of_content, long_side)
    longest = encode.LONGEST_SIDES.get(encode.format_of(f"a.{settings.output_format}"), encode.LONGEST_SIDE)
    if max(size) > longest:
        raise InputError(
            f"argument --image_size: a result of {size[0]} x {size[1]} is over the {longest:,} pixels a side that"
            f" --output_format {settings.output_format} can have; use a smaller size, or tiff"
        )


# --- Arrays ---------------------------------------------------------------------------------------


def as_picture(image, regions, long_side):
    """Make a Picture with that long side from a Pillow image and the regions of its mask, or None."""
    size = size_with_long_side(image.size[::-1], long_side)
    shares = {EVERYWHERE: 1} if regions is None else {name: as_share(mask, size) for name, mask in regions.items()}
    return Picture(as_array(image, size), shares)


def as_array(image, size):
    """A Pillow image as float32 (n_H, n_W, 3) of that size."""
    return np.float32(resize(np.asarray(image), size))


def as_share(mask, size):
    """A Pillow image in grey as a share of that size: float32 (n_H, n_W), 0 to 1, or 1 if it is white all over."""
    if mask.getextrema()[0] == 255:
        return 1
    return resize_share(np.asarray(mask, "float32") / 255, size)


def crop(array, box):
    """The part of an array (n_H, n_W, ...) in a box (left, top, right, bottom); a number stays as it is."""
    left, top, right, bottom = box
    return array if np.ndim(array) == 0 else array[top:bottom, left:right]


def make_canvas(content, alpha):
    """(the Canvas of a content, the content's regions multiplied by alpha); alpha is a Pillow image or None."""
    regions, (height, width) = content.regions, content.size
    if alpha:
        visible = np.asarray(alpha, "float32") / 255
        regions = {name: share * visible for name, share in regions.items()}
    share = sum(regions.values())
    if np.all(share == 1):
        return Canvas(content.image, (0, 0, width, height)), regions
    share = np.minimum(share, 1)
    rows, columns = (np.flatnonzero(share.any(axis)) for axis in (1, 0))
    box = 0, 0, width, height
    if len(rows):
        left, top = (max(0, int(there[0]) - CONTEXT) for there in (columns, rows))
        right = min(width, int(columns[-1]) + 1 + CONTEXT)
        bottom = min(height, int(rows[-1]) + 1 + CONTEXT)
        box = left, top, right, bottom
    return Canvas(content.image, box, share, alpha), regions
