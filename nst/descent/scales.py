"""The scales of a scene: where the descent starts at each size, and the cost that it lowers there."""

import dataclasses

import numpy as np

import nst_utils
from nst.descent import optimizers
from nst.descent.cost import Cost
from nst.network.windows import most_pixels


def make_scale(scene, shrink, epochs, settings, model, pause, evaluations=None):
    """The Scale that paints a Scene shrunk by the factor shrink; pause and evaluations are passed to its Cost."""

    def here():
        return at(scene, shrink)

    def start(coarser):
        return first_picture(here(), coarser, settings)

    def cost(so_far):
        seen = dataclasses.replace(here(), so_far=so_far)
        return Cost(model, seen, settings, evaluations or epochs, pause, most_pixels(scene.content.size))

    def changes():
        # At a coarse scale, a thin area that is not painted can vanish.
        painted = None if scene.painted is None else here().painted
        return 1 if painted is None else painted.astype("float32")[np.newaxis, ..., np.newaxis]

    return optimizers.Scale(epochs, start, cost, changes, bool(settings.neighbour_share_here))


def at(scene, shrink):
    """The Scene shrunk by the factor shrink, mean-subtracted."""
    return scene.at(shrink).map(nst_utils.reshape_and_normalize_image)


def first_picture(scene, coarser, settings):
    """The first picture of a scale. coarser is the last picture of the coarser scale, or None."""
    if coarser is not None:
        picture = nst_utils.generate_finer_image(coarser, scene.detail)
    else:
        noise_ratio = settings.noise_ratio if settings.init == "noise" and not settings.init_image else 0
        noise_ratio = 1 if settings.init == "random" else noise_ratio
        picture = nst_utils.generate_noise_image(scene.start, noise_ratio, settings.seed)
    if scene.grey:
        picture = np.repeat((picture + nst_utils.MEANS).mean(3, keepdims=True), 3, 3) - nst_utils.MEANS
    if scene.painted is not None:  # the network sees the photograph around what it paints
        picture = np.where(scene.painted[np.newaxis, ..., np.newaxis], picture, scene.content.image)
    return picture
