"""The terms of the cost, one class each: what it aims at, its cost, and its weight.

A term is a NamedTuple of tensors, so that one traced graph serves every term of its kind. A new term is a class here,
its name in OF_NETWORK or OF_PIXELS, and its flag in nst.settings. Terms of the network have

    name                        of its cost, in costs.csv and on the terminal
    needs(settings)             the layers that it looks at
    octaves(settings)           the number of sizes at which it counts: the picture's own, half of it, ...
    make(settings, scene, sight, weighs)    the term for a Scene, mean-subtracted, seen by a nst.descent.sight.Sight
    weight, layers              tensors: its weight, and {layer: weight}
    measure(seen, part)         {layer: tensors}, from {layer: activation}; they add up over the parts of a picture
    cost(measured, layers)      its cost, or what some layers have of it
    of(window)                  the term for a window of the picture

and terms of the pixels make(settings, scene), which can return None, and cost(picture).
"""

import hashlib
from typing import NamedTuple

import numpy as np
import tensorflow as tf

import nst_utils

STYLES_KEPT = 16  # per size; the Gram matrices of the paper's layers are 2 MB


def constant(number):
    return tf.constant(number, "float32")


class Content(NamedTuple):
    """J_content: the picture's activations are those of the content."""

    weight: tf.Tensor
    layers: dict
    a_C: dict  # {layer: activation}
    guides: dict  # {layer: T}, what the regions leave out does not count; empty if they leave out nothing

    name = "content"

    @staticmethod
    def needs(settings):
        return [layer for layer, _ in settings.content_layer_weights]

    @staticmethod
    def octaves(settings):
        return 1

    @classmethod
    def make(cls, settings, scene, sight, weighs):
        layers = dict(settings.content_layer_weights)
        covered = np.minimum(sum(scene.content.regions.values()), 1)
        return cls(
            constant(settings.alpha * weighs),
            {layer: constant(weight) for layer, weight in layers.items()},
            sight.look(scene.content.image, list(layers)),
            {} if np.all(covered == 1) else nst_utils.guide(covered, layers),
        )

    def measure(self, seen, part):
        def cost(layer):
            a_C, a_G, T = part.crop(self.a_C[layer], layer), seen[layer], part.crop(self.guides.get(layer), layer)
            J = nst_utils.compute_content_cost(a_C, a_G, T)
            return J * part.fraction(a_G, layer) if T is None else J

        return {layer: cost(layer) for layer in self.layers}

    def cost(self, measured, layers):
        return sum(self.layers[layer] * measured[layer] for layer in layers)

    def of(self, window):
        return self._replace(a_C=window.of_layers(self.a_C), guides=window.of_layers(self.guides))


class Aim(NamedTuple):
    """What a region of the picture should have of a style: its statistics, and their weights."""

    weight: tf.Tensor  # all weights together are 1
    region: int
    layers: dict  # {layer: weight}
    statistics: dict  # {layer: what nst_utils.COMPARE compares}


class Style(NamedTuple):
    """J_style: in each region, the statistics of the picture's activations are those of its styles.

    A region counts by how much of the picture it covers, and in it the styles that have it by their weights.
    """

    weight: tf.Tensor
    layers: dict  # mean over the styles
    guides: dict  # {layer: {region: T, or None for the whole picture}}
    aims: list
    kind: str  # of nst_utils.COMPARE

    name = "style"

    @staticmethod
    def needs(settings):
        return [layer for layer, _ in settings.style_layer_weights[0]]

    @staticmethod
    def octaves(settings):
        return settings.style_octaves

    @classmethod
    def make(cls, settings, scene, sight, weighs):
        of_styles = settings.style_layer_weights
        names = cls.needs(settings)
        layers = {name: constant(np.mean([dict(layers)[name] for layers in of_styles])) for name in names}

        def looking_at(regions):
            """The term that measures a picture with these regions."""
            guides = {name: nst_utils.guide(share, names) for name, share in regions.items() if np.ndim(share)}
            guides = {layer: {name: guides.get(name, {}).get(layer) for name in regions} for layer in names}
            return cls(constant(settings.beta * weighs), layers, guides, [], settings.style_cost)

        there = {name: share for name, share in scene.content.regions.items() if np.any(share)}
        covered = {name: float(np.sum(share)) for name, share in there.items()}
        statistics = [
            see(style, sight, looking_at({name: share for name, share in style.regions.items() if np.any(share)}))
            for style in scene.styles
        ]
        aims = []
        for region, pixels in covered.items():
            having = [k for k, of_style in enumerate(statistics) if region in of_style]
            total = sum(settings.weight_of_styles[k] for k in having)
            for k in having:
                weight = settings.weight_of_styles[k]
                weight = weight and pixels / sum(covered.values()) * weight / total
                own = {name: constant(weight) for name, weight in of_styles[k]}
                aims.append(Aim(constant(weight), region, own, statistics[k][region]))
        return looking_at(there)._replace(aims=aims)

    def measure(self, seen, part):
        def statistics(layer, T):
            a, T = seen[layer], part.crop(T, layer)
            share = part.fraction(a, layer) if T is None else 1
            G = nst_utils.gram_per_position(a, T) * share
            return G if self.kind == "gram" else (G, nst_utils.mean_per_position(a, T) * share)

        return {layer: {region: statistics(layer, T) for region, T in of.items()} for layer, of in self.guides.items()}

    def cost(self, measured, layers):
        def of_aim(aim):
            found = {layer: measured[layer][aim.region] for layer in layers}
            weighted = [(layer, aim.layers[layer]) for layer in layers]
            return aim.weight * nst_utils.compute_style_cost(aim.statistics, found, weighted, self.kind)

        return sum(map(of_aim, self.aims), tf.constant(0.0))

    def of(self, window):
        def cut(layer, of_regions):
            return {region: window.of_layers({layer: T})[layer] for region, T in of_regions.items()}

        return self._replace(guides={layer: cut(layer, of_regions) for layer, of_regions in self.guides.items()})


def see(style, sight, term):
    """{region: {layer: statistics}} of a style. The last ones are kept, as a batch has many jobs in one style."""
    sight = sight.of_size(tuple(style.image.shape[1:3]))
    arrays = [style.image, *(share for share in style.regions.values() if np.ndim(share))]
    key = tuple(term.layers), term.kind, *style.regions
    key += tuple(hashlib.sha256(np.ascontiguousarray(array)).digest() for array in arrays)
    kept = sight.view.statistics
    if key not in kept:
        (measured,) = sight.measure(style.image, [term])
        regions = next(iter(measured.values()))
        kept[key] = {region: {layer: of[region] for layer, of in measured.items()} for region in regions}
        if len(kept) > STYLES_KEPT:
            del kept[next(iter(kept))]
    return kept[key]


class TotalVariation(NamedTuple):
    """J_tv: neighbouring pixels are alike."""

    weight: tf.Tensor

    name = "tv"

    @classmethod
    def make(cls, settings, scene):
        return cls(constant(settings.tv_weight)) if settings.tv_weight else None

    def cost(self, picture):
        return nst_utils.total_variation(picture)


class Temporal(NamedTuple):
    """J_temporal: a film's frame stays as it starts where the motion can be trusted."""

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


OF_NETWORK = Content, Style
OF_PIXELS = TotalVariation, Temporal


def layers_needed(settings):
    """The layers that the network must have for the terms."""
    return tuple(dict.fromkeys(layer for term in OF_NETWORK for layer in term.needs(settings)))
