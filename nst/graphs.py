"""How a network sees pictures of one size, and what their costs are made of: the graphs, traced once a size.

A picture goes through whole or in windows; what is measured in each is added up, judged once, and the gradient of
that is sent back through each.
"""

import functools
from typing import NamedTuple

import tensorflow as tf

import nst_utils
from nst.windows import crop, share


class Guides(NamedTuple):
    """How much each position counts, nst_utils.guide's T or None for all alike."""

    content: dict  # {layer: T}
    style: dict  # {region: {layer: T}}

    def of(self, w):
        """Those of a window."""
        return Guides(w.of_layers(self.content), {region: w.of_layers(T) for region, T in self.style.items()})


class Weights(NamedTuple):
    """The numbers among the Terms."""

    alpha: tf.Tensor
    beta: tf.Tensor
    content: dict  # {layer: weight}
    style: dict


class View:
    """How a network sees pictures of one size, whole or in windows: graphs, traced once for all such pictures.

    image is a window's, core what counts of it; a_C and Guides are the window's as well. "measured" is what
    the costs are made of: ({layer: content cost}, {region: {layer: what the style cost compares}}), and
    "upstream" the gradient of J with respect to that.
    """

    def __init__(self, network, size, style_cost, layer_costs):
        self.network, self.size, self.style_cost, self.layer_costs = network, size, style_cost, layer_costs
        self.whole = 0, size[0], 0, size[1]  # the core of a picture that is seen whole
        self.styles = {}  # the last ones of this size, see_style's

    def see(self, image, core):
        """{layer: activation} of the core, as a part of other graphs."""
        return {name: crop(a, core, name) for name, a in self.network(image).items()}

    @tf.function(autograph=False)  # there is nothing to convert
    def look(self, image, core, layers=None):
        """The same, outside of them; of some layers alone, as all of a large window would be half a gigabyte."""
        seen = self.see(image, core)
        return {name: seen[name] for name in layers or seen}

    def see_style(self, seen, core, guides):
        """{region: {layer: the core's part of the picture's Gram matrix per position, and of its mean if wanted}}.

        guides are a Guides' style.
        """

        def gram_and_mean(name, T):
            a = seen[name]
            if T is None:
                part = share(a, self.size, name)
                yield nst_utils.gram_per_position(a) * part
                yield nst_utils.mean_per_position(a) * part
            else:
                T = crop(T, core, name)
                yield nst_utils.guided_gram(a, T)
                yield nst_utils.guided_mean(a, T)

        def style(name, T):
            return tuple(gram_and_mean(name, T)) if self.style_cost == "moments" else next(gram_and_mean(name, T))

        return {region: {name: style(name, T) for name, T in layers.items()} for region, layers in guides.items()}

    def measure(self, seen, core, a_C, guides):
        """The core's part of what the costs are made of."""

        def content_cost(name, a_C):
            a_C, a_G, T = crop(a_C, core, name), seen[name], guides.content.get(name)
            if T is None:
                return nst_utils.compute_content_cost(a_C, a_G) * share(a_G, self.size, name)
            return nst_utils.guided_content_cost(a_C, a_G, crop(T, core, name))

        content = {name: content_cost(name, a) for name, a in a_C.items()}
        return content, self.see_style(seen, core, guides.style)

    @tf.function(autograph=False)
    def evaluate(self, picture, a_C, guides, styles, weights, normalize):
        """(costs, gradient of J) of a picture that is seen whole."""
        core = self.whole
        with tf.GradientTape() as tape:
            tape.watch(picture)
            seen = self.see(picture, core)
            measured = self.measure(seen, core, a_C, guides)
        costs, upstream = self.judge(measured, styles, weights)
        if normalize:
            upstream = normalized(upstream, self.gradient_norms(seen, core, a_C, guides, upstream), weights)
        return costs, tape.gradient(measured, picture, upstream)

    @tf.function(autograph=False)
    def measure_window(self, image, core, a_C, guides):
        return self.measure(self.see(image, core), core, a_C, guides)

    @tf.function(autograph=False)
    def pull_back(self, image, core, a_C, guides, upstream):
        """The window's part of the gradient of J."""
        with tf.GradientTape() as tape:
            tape.watch(image)
            measured = self.measure(self.see(image, core), core, a_C, guides)
        return tape.gradient(measured, image, upstream)

    def judge(self, measured, styles, weights):
        """(costs, upstream) of what was measured in the whole picture; styles are see_styles'."""
        with tf.GradientTape() as tape:
            tape.watch(measured)
            content, seen_G = measured
            J_content = sum((weight * content[name] for name, weight in weights.content.items()), tf.constant(0.0))
            style_costs = (
                weight * nst_utils.compute_style_cost(seen_S, seen_G[region], layers.items(), self.style_cost)
                for weight, region, seen_S, layers in styles
            )
            J_style = sum(style_costs, tf.constant(0.0))
            J = nst_utils.total_cost(J_content, J_style, weights.alpha, weights.beta)
        # On a coarse scale a region can have vanished from the styles: then nothing pulls there.
        upstream = tape.gradient(J, measured, unconnected_gradients=tf.UnconnectedGradients.ZERO)
        costs = {"total": J, "content": J_content, "style": J_style}
        if self.layer_costs:
            costs |= {f"content_{name}": weight * content[name] for name, weight in weights.content.items()}
            for name in weights.style:
                parts = (
                    w * nst_utils.compute_style_cost(seen_S, seen_G[region], [(name, layers[name])], self.style_cost)
                    for w, region, seen_S, layers in styles
                )
                costs[f"style_{name}"] = sum(parts, tf.constant(0.0))
        return costs, upstream

    def gradient_norms(self, seen, core, a_C, guides, upstream):
        """({layer: L1 norm of its content cost's gradient with respect to its activation}, the same of styles)."""
        with tf.GradientTape(persistent=True) as tape:
            tape.watch(seen)
            content, style = self.measure(seen, core, a_C, guides)

        def norm(name, measured, upstream):
            return tf.reduce_sum(tf.abs(tape.gradient(measured, seen[name], upstream)))

        def of_regions(style, name):
            return [layers[name] for layers in style.values()]

        content_upstream, style_upstream = upstream
        style_layers = next(iter(style.values()), {})  # none where all regions have vanished on a coarse scale
        return (
            {name: norm(name, content[name], content_upstream[name]) for name in content},
            {name: norm(name, of_regions(style, name), of_regions(style_upstream, name)) for name in style_layers},
        )

    @tf.function(autograph=False)
    def window_gradient_norms(self, image, core, a_C, guides, upstream):
        return self.gradient_norms(self.see(image, core), core, a_C, guides, upstream)


# A batch's jobs are often of one size; more graphs than these would pile up in memory.
view_of = functools.lru_cache(maxsize=16)(View)


def normalized(upstream, norms, weights):
    """Upstream with which the norm of each layer's gradient is its weight, times alpha or beta."""
    (content, style), (content_norms, style_norms) = upstream, norms

    def scaled(gradients, norms, layer_weights, weight):
        factors = {name: tf.math.divide_no_nan(weight * layer_weights[name], norms[name]) for name in gradients}
        return {
            name: tf.nest.map_structure(functools.partial(tf.multiply, factors[name]), d)
            for name, d in gradients.items()
        }

    return (
        scaled(content, content_norms, weights.content, weights.alpha),
        {region: scaled(layers, style_norms, weights.style, weights.beta) for region, layers in style.items()},
    )
