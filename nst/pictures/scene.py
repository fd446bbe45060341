"""The scene: all pictures of a job as the descent sees them, in the colours to paint with, at any size.

A Scene is made once from the Originals; at(shrink) returns a smaller copy for a coarse scale. Nothing is rounded to
8 bits on the way.
"""

import dataclasses
from collections.abc import Callable

import numpy as np

from nst.pictures import colours
from nst.pictures.originals import Picture
from nst.pictures.resize import resize, size_with_long_side


@dataclasses.dataclass(frozen=True)
class Scene:
    """The pictures of a job in the colours that they are painted with.

    content    the Picture that is painted
    styles     a Picture for each style
    start      (n_H, n_W, 3), of the content's size: where the descent starts, before noise is mixed in
    trust      None; for a film's frame (n_H, n_W), 0 to 1: how much each pixel should stay as it starts
    grey       True if all pictures are grey; the result is then grey too
    so_far     None, or, for the neighbour cost, the picture that a finer scale starts with: (1, n_H, n_W, 3)
    """

    content: Picture
    styles: tuple
    start: np.ndarray
    trust: np.ndarray | None = None
    grey: bool = False
    so_far: np.ndarray | None = None

    @property
    def painted(self):
        """(n_H, n_W), True in the pixels that are painted; None if all are."""
        there = sum(self.content.regions.values())
        return None if np.all(there > 0) else there > 0

    @property
    def detail(self):
        """The image from which a finer scale takes its fine detail: a film's frame has its strokes in its start."""
        return self.content.image if self.trust is None else self.start

    def at(self, shrink):
        """The Scene with every picture shrunk by this factor."""

        def smaller(size):
            return size_with_long_side(size, max(1, round(max(size) / shrink)))

        size = smaller(self.content.size)
        return dataclasses.replace(
            self,
            content=self.content.resized(size),
            styles=tuple(style.resized(smaller(style.size)) for style in self.styles),
            start=resize(self.start, size),
            trust=None if self.trust is None else resize(self.trust[..., np.newaxis], size)[..., 0].clip(0, 1),
        )

    def map(self, of_image: Callable, of_share: Callable = lambda share: share):
        """The Scene with of_image(image) for every image and of_share(share) for every share of a region, and trust."""

        def changed(picture):
            return Picture(of_image(picture.image), {name: of_share(share) for name, share in picture.regions.items()})

        return dataclasses.replace(
            self,
            content=changed(self.content),
            styles=tuple(map(changed, self.styles)),
            start=of_image(self.start),
            trust=None if self.trust is None else of_share(self.trust),
            so_far=None if self.so_far is None else of_image(self.so_far),
        )


def make_scene(originals, settings, of_content=None):
    """The Scene of the Originals, recoloured as the settings say.

    of_content is {region: colours.Palette} to use instead of the content's own, for example those of a whole shot.
    """
    content, styles, init = originals.content, originals.styles, originals.init
    match_colours = settings.preserve_colors in ("luminance", "histogram")
    if match_colours or settings.recolor_content:
        of_content = of_content or colours.by_region(content)
    if match_colours:
        match = {"luminance": colours.match_luminance, "histogram": colours.match_histogram}[settings.preserve_colors]
        styles = tuple(matched(style, of_content, match) for style in styles)
        init = None if init is None else matched(Picture(init, content.regions), of_content, match).image
        if settings.preserve_colors == "luminance":
            content = content._replace(image=colours.TO_GREY(content.image))
    elif settings.recolor_content:
        of_styles = [colours.by_region(style) for style in styles]
        content = recolored(content, of_content, of_styles, settings.weight_of_styles)
        # A style of one colour shows no strokes. The content in this colour is a style that leaves light and dark.
        styles = tuple(
            within(content, style.regions) if all(map(colours.is_even, of_style.values())) else style
            for style, of_style in zip(styles, of_styles, strict=True)
        )
    start = content.image if init is None else init
    grey = all(map(colours.is_grey, (content.image, start, *(style.image for style in originals.styles))))
    return Scene(content, styles, start, grey=grey)


def within(content, regions):
    """The content as a style that has these of its regions only."""
    return content._replace(regions={name: share for name, share in content.regions.items() if name in regions})


def matched(picture, of_content, match):
    """A style or init with the content's colours: each region by the map that match finds for it."""
    maps = {
        name: match(of_picture, of_content[name])
        for name, of_picture in colours.by_region(picture).items()
        if name in of_content
    }
    if len(maps) == 1:  # the network also sees around the region: change the whole picture
        return picture._replace(image=maps.popitem()[1](picture.image))
    return picture._replace(image=colours.apply(maps, picture))


def recolored(content, of_content, of_styles, weights):
    """The content with each region in the colours of the styles that have it; of_styles are {region: Palette}."""
    maps = {}
    for name, of_region in of_content.items():
        having = [(weight, of[name]) for of, weight in zip(of_styles, weights, strict=True) if weight and name in of]
        if having:  # all styles of a region can have weight 0
            maps[name] = colours.recolor(of_region, having)
    return content._replace(image=colours.apply(maps, content).clip(0, 255))
