"""The terms of the cost. Each class holds a target, a weight, and the formula that compares a picture with the target.

A term is a NamedTuple of tensors, so that one traced graph serves every term of its kind. A new term is a class here,
its name in OF_NETWORK or OF_PIXELS, and its flag in nst.settings. Terms of the network have

    name                        of its cost, in costs.csv and on the terminal
    needs(settings)             the layers that it looks at
    octaves(settings, size)     the octaves at which it counts, of a picture of size (n_H, n_W): 0 is its own size
    make(settings, scene, sight, factor)    the term for a mean-subtracted Scene, its weight multiplied by factor, or
                                None; sight, a nst.descent.sight.Sight, runs the network
    weight, layers              tensors: its weight, and {layer: weight}
    measure(seen, part)         {layer: tensors}, from {layer: activation}; they add up over the parts of a picture
    cost(measured, layers)      its cost, summed over these layers
    of(window)                  the term for a window of the picture

and terms of the pixels make(settings, scene), which can return None, and cost(picture).
"""

import functools
import hashlib
import math
from typing import NamedTuple

import numpy as np
import tensorflow as tf

import nst_utils
from nst.descent import neighbours
from nst.network.windows import stride

STYLES_KEPT = 64  # by Graphs; the Gram matrices of the paper's layers are 2 MB


def constant(number):
    return tf.constant(number, "float32")


class Content(NamedTuple):
    """J_content: low if the picture's activations are close to the content's."""

    weight: tf.Tensor
    layers: dict
    a_C: dict  # {layer: activation}, in the network's precision
    guides: dict  # {layer: T}: pixels outside all regions do not count; empty if there are none

    name = "content"

    @staticmethod
    def needs(settings):
        return [layer for layer, _ in settings.content_layer_weights]

    @staticmethod
    def octaves(settings, size):
        return range(1)

    @classmethod
    def make(cls, settings, scene, sight, factor):
        layers = dict(settings.content_layer_weights)
        covered = np.minimum(sum(scene.content.regions.values()), 1)
        return cls(
            constant(settings.alpha * factor),
            {layer: constant(weight) for layer, weight in layers.items()},
            sight.look(scene.content.image, list(layers)),
            {} if np.all(covered == 1) else nst_utils.guide(covered, layers),
        )

    def measure(self, seen, part):
        def cost(layer):
            a_C, a_G, T = part.crop(self.a_C[layer], layer), seen[layer], part.crop(self.guides.get(layer), layer)
            J = nst_utils.compute_content_cost(tf.cast(a_C, "float32"), a_G, T)
            return J * part.fraction(a_G, layer) if T is None else J

        return {layer: cost(layer) for layer in self.layers}

    def cost(self, measured, layers):
        return sum(self.layers[layer] * measured[layer] for layer in layers)

    def of(self, window):
        return self._replace(a_C=window.of_layers(self.a_C), guides=window.of_layers(self.guides))


class Target(NamedTuple):
    """The statistics of a style that a region of the picture should have, and their weights."""

    weight: tf.Tensor  # all weights together are 1
    region: int
    layers: dict  # {layer: weight}
    statistics: dict  # {layer: what nst_utils.COMPARE compares}


class Style(NamedTuple):
    """J_style: low if, in each region, the statistics of the activations are close to those of its styles.

    A region's weight is its area. The styles that have the region share this weight by their own weights.
    """

    weight: tf.Tensor
    layers: dict  # mean over the styles
    guides: dict  # {layer: {region: T, or None for the whole picture}}
    targets: list
    kind: str  # of nst_utils.COMPARE

    name = "style"

    @staticmethod
    def needs(settings):
        return [layer for layer, _ in settings.style_layer_weights[0]]

    @staticmethod
    def octaves(settings, size):
        return range(settings.style_octaves)

    @classmethod
    def make(cls, settings, scene, sight, factor):
        of_styles = settings.style_layer_weights
        names = cls.needs(settings)
        layers = {name: constant(np.mean([dict(own)[name] for own in of_styles])) for name in names}

        def looking_at(regions):
            """The term that measures a picture with these regions."""
            guides = {name: nst_utils.guide(share, names) for name, share in regions.items() if np.ndim(share)}
            guides = {layer: {name: guides.get(name, {}).get(layer) for name in regions} for layer in names}
            return cls(constant(settings.beta * factor), layers, guides, [], settings.style_cost)

        there = {name: share for name, share in scene.content.regions.items() if np.any(share)}
        covered = {name: float(np.sum(share)) for name, share in there.items()}
        statistics = [
            statistics_of(
                style, sight, looking_at({name: share for name, share in style.regions.items() if np.any(share)})
            )
            for style in scene.styles
        ]
        targets = []
        for region, pixels in covered.items():
            having = [k for k, of_style in enumerate(statistics) if region in of_style]
            total = sum(settings.weight_of_styles[k] for k in having)
            for k in having:
                weight = settings.weight_of_styles[k] / (total or 1) * pixels / sum(covered.values())
                own = {name: constant(of_layer) for name, of_layer in of_styles[k]}
                targets.append(Target(constant(weight), region, own, statistics[k][region]))
        return looking_at(there)._replace(targets=targets)

    def measure(self, seen, part):
        def statistics(layer, T):
            a, T = seen[layer], part.crop(T, layer)
            share = part.fraction(a, layer) if T is None else 1
            G = nst_utils.gram_per_position(a, T) * share
            return G if self.kind == "gram" else (G, nst_utils.mean_per_position(a, T) * share)

        return {layer: {region: statistics(layer, T) for region, T in of.items()} for layer, of in self.guides.items()}

    def cost(self, measured, layers):
        def of_target(target):
            found = {layer: measured[layer][target.region] for layer in layers}
            weighted = [(layer, target.layers[layer]) for layer in layers]
            return target.weight * nst_utils.compute_style_cost(target.statistics, found, weighted, self.kind)

        return sum(map(of_target, self.targets), tf.constant(0.0))

    def of(self, window):
        def cut(layer, of_regions):
            return {region: None if T is None else window.of(T, stride(layer)) for region, T in of_regions.items()}

        return self._replace(guides={layer: cut(layer, of_regions) for layer, of_regions in self.guides.items()})


def statistics_of(style, sight, term):
    """{region: {layer: statistics}} of a style. They are cached, because a batch often uses one style many times."""
    sight = sight.of_size(tuple(style.image.shape[1:3]))
    arrays = [style.image, *(share for share in style.regions.values() if np.ndim(share))]
    key = tuple(term.layers), term.kind, *style.regions, sight.size
    key += tuple(hashlib.sha256(np.ascontiguousarray(array)).digest() for array in arrays)
    kept = sight.graphs.statistics
    if key not in kept:
        (measured,) = sight.measure(style.image, [term])
        regions = next(iter(measured.values()))
        kept[key] = {region: {layer: of[region] for layer, of in measured.items()} for region in regions}
        if len(kept) > STYLES_KEPT:
            del kept[next(iter(kept))]
    return kept[key]


class Neighbours(NamedTuple):
    """J_neighbours: low if each position looks like the position of the style that is most like the content there.

    It counts at the octave whose long side is nearest to LONG_SIDE, or less: it holds the layout, not the finest
    strokes.
    """

    weight: tf.Tensor
    layers: dict
    a_N: dict  # {layer: activations of the nearest neighbours (1, n_H, n_W, n_C)}
    variances: dict  # {layer: variance of the styles' activations}
    guides: dict  # {layer: T}: pixels outside all regions do not count

    name = "neighbours"
    LONG_SIDE = 512  # pixels

    @staticmethod
    def needs(settings):
        return neighbours.LAYERS if any(settings.neighbour_share) else ()

    @classmethod
    def octaves(cls, settings, size):
        first = max(0, round(math.log2(max(size) / cls.LONG_SIDE)))
        return range(first, first + 1) if settings.neighbour_share_here else range(0)

    @classmethod
    def make(cls, settings, scene, sight, factor):
        if not factor:
            return None
        styles = [
            neighbours.positions_of(style, sight.of_size(tuple(style.image.shape[1:3]))) for style in scene.styles
        ]
        image = neighbours.searched(scene.content.image, scene.so_far)
        searched = neighbours.positions_of(scene.content._replace(image=image), sight)
        size, layers = tuple(scene.content.image.shape[1:3]), neighbours.LAYERS
        mixed = scene.so_far is not None
        unmixed = functools.partial(neighbours.positions_of, scene.content, sight) if mixed else None
        matches = neighbours.find_matches(searched, styles, settings.weight_of_styles, unmixed)
        del searched  # its activations take memory

        def variance(layer):
            every = [tf.reshape(style.seen[layer], (-1, style.seen[layer].shape[3])) for style in styles]
            a_S = tf.cast(tf.concat(every, 0), "float32")
            return tf.reduce_mean(tf.math.reduce_variance(a_S, 0)) + 1e-6

        def target(layer):
            a_N = neighbours.as_activation(neighbours.target_of(matches, layer), layer, size)
            return tf.cast(a_N, styles[0].seen[layer].dtype)

        covered = np.broadcast_to(np.minimum(sum(scene.content.regions.values()), 1), size)
        return cls(
            constant(factor),
            {layer: constant(1) for layer in layers},
            {layer: target(layer) for layer in layers},
            {layer: variance(layer) for layer in layers},
            nst_utils.guide(covered, layers),
        )

    def measure(self, seen, part):
        def cost(layer):
            a_N, T = part.crop(self.a_N[layer], layer), part.crop(self.guides[layer], layer)
            return nst_utils.compute_neighbour_cost(tf.cast(a_N, "float32"), seen[layer], self.variances[layer], T)

        return {layer: cost(layer) for layer in self.layers}

    def cost(self, measured, layers):
        return sum(self.layers[layer] * measured[layer] for layer in layers)

    def of(self, window):
        return self._replace(a_N=window.of_layers(self.a_N), guides=window.of_layers(self.guides))


class TotalVariation(NamedTuple):
    """J_tv: low if neighbouring pixels are alike."""

    weight: tf.Tensor

    name = "tv"

    @classmethod
    def make(cls, settings, scene):
        counts = settings.tv_weight and settings.neighbour_share_here < 1
        return cls(constant(settings.tv_weight)) if counts else None

    def cost(self, picture):
        return nst_utils.total_variation(picture)


class Light(NamedTuple):
    """J_light: low if the picture is light and dark where the content is, on the whole; strokes do not count."""

    weight: tf.Tensor
    Y_C: tf.Tensor

    name = "light"

    @classmethod
    def make(cls, settings, scene):
        if not settings.light_weight or settings.neighbour_share_here == 1:
            return None
        C = constant(scene.content.image)
        return cls(constant(settings.light_weight), nst_utils.broad_luminance(C))

    def cost(self, picture):
        return nst_utils.compute_light_cost(self.Y_C, nst_utils.broad_luminance(picture))


class Temporal(NamedTuple):
    """J_temporal: low if a film's frame stays close to its start wherever the motion can be trusted."""

    weight: tf.Tensor
    carried: tf.Tensor
    trust: tf.Tensor

    name = "temporal"

    @classmethod
    def make(cls, settings, scene):
        if scene.trust is None:
            return None
        trust = scene.trust[np.newaxis, ..., np.newaxis]
        return cls(constant(settings.temporal_weight), constant(scene.start), constant(trust))

    def cost(self, picture):
        return nst_utils.compute_temporal_cost(picture, self.carried, self.trust)


OF_NETWORK = Content, Style, Neighbours
OF_PIXELS = TotalVariation, Light, Temporal


def layers_needed(settings):
    """The layers that the network must have for the terms."""
    return tuple(dict.fromkeys(layer for term in OF_NETWORK for layer in term.needs(settings)))
