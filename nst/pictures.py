"""The pictures of a job: opened, with their masks, and brought to their size. What is wrong is told as InputError."""

import collections.abc
import hashlib
import importlib.util
import os
import pathlib
from typing import NamedTuple

from PIL import Image, ImageOps

import nst.files
import nst.film
import nst.masks
from nst.files import InputError
from nst.settings import LONGEST_SIDE, Settings

IMAGES = pathlib.Path(__file__).resolve().parent.parent / "images"


class Picture(NamedTuple):
    """A picture in RGB, and its regions, see nst.masks, of the same size, or None."""

    image: Image.Image
    regions: dict | None = None

    def resized(self, long_side):
        image = nst.files.resize_to_long_side(self.image, long_side)
        return self.with_each(image, lambda share: share.resize(image.size, Image.Resampling.NEAREST))

    def cropped(self, box):
        return self.with_each(self.image.crop(box), lambda share: share.crop(box))

    def with_each(self, image, change):
        return Picture(image, self.regions and {name: change(share) for name, share in self.regions.items()})


def find_image(name):
    """The path of a picture: a bare name is looked for in images/, then as a path."""
    return nst.files.locate(name, IMAGES)


def find_film(settings):
    """The Film that the content is, None where it is a picture. Raises InputError for what a film has no use for."""
    name = settings.content_image_filename
    film = name and nst.film.find_film(find_image(name), settings.frames, settings.max_pixels)
    if film:
        for name in ("animation", "tensorboard", "output_format", "save_every", "dpi"):
            if getattr(settings, name) != getattr(Settings, name):
                raise InputError(f"argument --{name}: is for a picture; {film.path} is a film, whose frames are kept")
        if not importlib.util.find_spec("cv2"):
            raise InputError(f"{film.path}: a film needs OpenCV for its motion; pip install -r requirements-film.txt")
    elif settings.frames:
        raise InputError(f"argument --frames: {name} is no film")
    return film or None


class Source(NamedTuple):
    """Where pictures come from: files of at most max_pixels, or, by their resolved path, blanks of sizes to come."""

    max_pixels: int
    coming: collections.abc.Mapping

    def layers(self, name):
        """nst.files.read_layers of a picture."""
        path = find_image(name)
        if size := self.is_coming(path):
            return Image.new("RGB", size, "white"), None
        return nst.files.read_layers(path, self.max_pixels)

    def image(self, name):
        return self.layers(name)[0]

    def digest(self, name):
        """The SHA-256 of a picture's file; "" for none."""
        path = find_image(name)
        if not name or self.is_coming(path):
            return ""
        if path.is_dir():  # of pictures, a film
            files = "".join(nst.files.sha256(file) for file in nst.film.numbered(path))
            return hashlib.sha256(files.encode()).hexdigest()
        return nst.files.sha256(path)

    def is_coming(self, path):
        return None if os.path.exists(path) else self.coming.get(os.path.realpath(path))  # noqa: PTH110 (as above)


def open_pictures(settings, source, film):
    """(the Canvas, what of the content is painted, the styles at style_scale times its long side, lines to tell)."""
    if film:
        (_, content), alpha = next(film.frames()), None
    else:
        content, alpha = source.layers(settings.content_image_filename)
    styles = [source.image(name) for name in settings.style_image_filename]
    content_mask = open_mask(source, settings.content_mask, content)
    mask_names = settings.style_mask or ("",) * len(styles)
    style_masks = [open_mask(source, name, style) for name, style in zip(mask_names, styles, strict=True)]
    regions, style_regions, told = nst.masks.regions_of(content_mask, style_masks, settings.content_mask, mask_names)
    long_side = settings.image_size or max(content.size)
    check_size(settings, content, long_side)
    content = Picture(content, regions).resized(long_side)
    sides = [max(1, round(long_side * scale)) for scale in each(settings.style_scale, len(styles))]
    styles = [Picture(*pair).resized(side) for *pair, side in zip(styles, style_regions, sides, strict=True)]
    for name, style in zip(mask_names, styles, strict=True):
        if lost := [value for value, share in (style.regions or {}).items() if not share.getbbox()]:
            raise InputError(
                f"arguments --image_size and --style_scale: at this size nothing is left of {name}'s region of grey"
                f" value {lost[0]}; ask for more"
            )
    if settings.output_format == "jpg":
        alpha = None  # which a JPEG has not: over white, then
    canvas, regions = nst.masks.canvas_of(content.image, content.regions, alpha and alpha.resize(content.image.size))
    if canvas.share and not canvas.share.getbbox():
        raise InputError(
            f"{settings.content_image_filename}: nothing of it is left to paint, by its mask or transparency"
        )
    return canvas, Picture(content.image, regions).cropped(canvas.box), tuple(styles), told


def each(values, count):
    """A value for each style, of so many, from one for all or one for each."""
    return values * count if len(values) == 1 else values


def check_size(settings, content, long_side):
    """Raises InputError where the result would be larger than its format can hold."""
    size = nst.files.size_with_long_side(content.size, long_side)
    longest = nst.files.LONGEST_SIDES.get(nst.files.format_of(f"a.{settings.output_format}"), LONGEST_SIDE)
    if max(size) > longest:
        raise InputError(
            f"argument --image_size: a result of {size[0]} x {size[1]} is over the {longest:,} pixels a side that"
            f" --output_format {settings.output_format} can have; ask for less, or for tiff"
        )


def open_mask(source, name, picture):
    """The mask of a picture as a Pillow image in grey; None for no name."""
    if not name:
        return None
    mask = source.image(name).convert("L")
    stretch = mask.width * picture.height / (mask.height * picture.width)
    if not 0.98 < stretch < 1.02:
        sizes = " and ".join(f"{image.width} x {image.height}" for image in (mask, picture))
        raise InputError(f"{name}: a mask has the shape of its picture, these are {sizes}")
    return mask


def open_init(settings, source, canvas, styles):
    """The picture to start from, cut to fill the content's frame; None where the start is content or noise."""
    if settings.init_image:
        image = source.image(settings.init_image)
    elif settings.init == "style":
        image = styles[0].image
    else:
        return None
    return Picture(ImageOps.fit(image, canvas.image.size, Image.Resampling.LANCZOS)).cropped(canvas.box)
