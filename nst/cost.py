"""The cost of a picture and its gradient, for pictures of any size and as quickly as they are to be had.

A Cost is the function that the descent goes down. The formulas are nst_utils'; what is decided here is how
the network sees a picture: at which sizes, whole or in windows, and with which convolutions.

Both costs are means over positions (a Gram matrix per position is one too), so a large picture can go
through the network in windows: a first pass adds up what the costs are made of, a second sends their
gradient back, window by window. What comes out is what the whole picture would have given, but for
rounding; memory is that of one window.

    [Snelgrove]  Snelgrove 2017, High-Resolution Multi-Scale Neural Texture Synthesis, SIGGRAPH Asia
                 Technical Briefs
"""

import hashlib
from typing import NamedTuple

import numpy as np
import tensorflow as tf

import nst.convolution
import nst.windows
import nst_utils
from nst.graphs import Guides, Weights, normalized, view_of
from nst.masks import EVERYWHERE
from nst.windows import crop, cut_windows, layer_size

COMPILED_PIXELS = 2_000_000  # pixels times epochs from which it pays to compile Winograd's convolutions
STYLES_KEPT = 16  # in each view; the Gram matrices of the paper's layers are 2 MB


class Terms(NamedTuple):
    """What the cost is made of; layers are pairs of (layer, weight)."""

    alpha: float = 10
    beta: float = 40
    content_layers: tuple = ((nst_utils.CONTENT_LAYER, 1),)
    style_layers: tuple = nst_utils.STYLE_LAYERS
    tv_weight: float = 0
    temporal_weight: float = 0  # of what differs from before, see Cost
    normalize_gradients: bool = False  # each layer's gradient to an L1 norm of its weight, as neural-style has it
    style_cost: str = "gram"  # or "moments", see nst_utils.COMPARE
    style_octaves: int = 1  # sizes at which the style is compared: G's own, half of it, ...
    layer_costs: bool = False  # tell each layer's part as well
    grey: bool = False  # the channels of G move alike


class Style(NamedTuple):
    """A style image S (1, n_H, n_W, 3), its weight beside the others, its regions, see Cost, and layer weights."""

    image: np.ndarray
    weight: float = 1
    regions: dict | None = None
    layers: tuple | None = None  # of (layer, weight), where they are not the terms'


class Cost:
    """The cost of a generated image: cost(G) -> ({"total": J, "content": J_content, "style": J_style}, gradient of J).

    model is nst_utils.load_vgg_model's with the layers of the terms; content and G are (1, n_H, n_W, 3),
    the gradient has G's shape; styles are Styles. With a tv_weight there is a cost "tv" too, with layer_costs
    one for each layer, "style_conv1_1", which add up to those of content and style.

    Regions are {name: (n_H, n_W)}, each pixel's share of the region, 0 to 1. What stands in a region of G is
    compared to the styles' regions of the same name alone, weighed by its part of the picture; in each the
    weights of the styles that have it are normalized to 1. No regions at all are one, EVERYWHERE. Where G has
    none nothing is compared, and the gradient is 0.

    J_style is the mean over octaves: of G and the styles, and of both shrunk by averages of 2 x 2, once and
    again [Snelgrove]. What a coarse scale has painted is held to the style so while finer ones are painted.

    Of a film's frame before is the one before, carried along the motion, and how far that is to be trusted
    at each position, (1, n_H, n_W, 1): then there is a cost "temporal".

    What the costs aim at is computed once, here. With gradient=False a call gives None for the gradient.
    Where G is seen in windows, pause() is called before each; what it raises ends the evaluation.
    """

    def __init__(self, model, content, styles, terms, epochs, regions=None, pause=lambda: None, before=None):
        self.terms, self.octaves = terms, []
        self.before = before and tuple(map(tf.constant, before))
        self.painted = None
        if regions is not None and not np.all(there := sum(regions.values()) > 0):
            self.painted = there.astype("float32")[np.newaxis, ..., np.newaxis]
        terms = terms._replace(beta=terms.beta / terms.style_octaves)
        # Where the picture itself is too large for it, a smaller octave would take the memory that windows save.
        whole = nst.windows.WHOLE_PIXELS
        if content.shape[1] * content.shape[2] > whole:
            whole = nst.windows.WINDOW_PIXELS
        for i in range(terms.style_octaves):
            if i:
                content, terms = halve(content), terms._replace(alpha=0)  # rather than no layers: the same graph
                styles = [S._replace(image=halve(S.image), regions=halve_regions(S.regions)) for S in styles]
                regions = halve_regions(regions)
            self.octaves.append(Octave(model, content, styles, terms, epochs, regions, pause, whole))

    def __call__(self, picture, gradient=True):
        with tf.GradientTape() as tape:
            tape.watch(picture)
            pictures = [picture]
            while len(pictures) < len(self.octaves):
                pictures.append(halve(pictures[-1]))
        (costs, dJ), *smaller = (octave(G, gradient) for octave, G in zip(self.octaves, pictures, strict=True))
        if smaller:
            every = [costs, *(others for others, _ in smaller)]
            means = {
                name: tf.add_n([c[name] for c in every]) / len(every) for name in costs if name.startswith("style")
            }
            costs = {**costs, **means, "total": tf.add_n([c["total"] for c in every])}
        if smaller and gradient:
            dJ = dJ + tape.gradient(pictures[1:], picture, [tf.convert_to_tensor(d) for _, d in smaller])
        if self.terms.tv_weight:
            J_tv, tv_gradient = variation_and_gradient(picture, tf.constant(self.terms.tv_weight, "float32"))
            costs = {**costs, "total": costs["total"] + self.terms.tv_weight * J_tv, "tv": J_tv}
            dJ = dJ + tv_gradient if gradient else None
        if self.before:
            J_temporal, its_gradient = stay(picture, *self.before, tf.constant(self.terms.temporal_weight, "float32"))
            costs = {**costs, "total": costs["total"] + self.terms.temporal_weight * J_temporal, "temporal": J_temporal}
            dJ = dJ + its_gradient if gradient else None
        if gradient and self.terms.grey:
            dJ = tf.repeat(tf.reduce_mean(dJ, 3, keepdims=True), 3, 3)
        if gradient and self.painted is not None:
            dJ = dJ * self.painted
        return costs, dJ


def halve(image):
    """(1, n_H, n_W, 3) -> (1, n_H / 2, n_W / 2, 3), rounded up, by averages of 2 x 2."""
    return tf.nn.avg_pool2d(image, 2, 2, "SAME")


def halve_regions(regions):
    return None if regions is None else {name: there[::2, ::2] for name, there in regions.items()}


class Octave:
    """The cost, without total variation, of one size of a picture: called and made as a Cost is.

    Each call, of which about epochs are expected, runs the network once forward (where G is seen in windows
    twice, and a third time to normalize gradients) and once back; with gradient=False once forward.
    """

    def __init__(self, model, content, styles, terms, epochs, regions, pause, whole):
        size = tuple(content.shape[1:3])
        self.terms, self.windows, self.pause = terms, cut_windows(size, model, whole), pause
        self.view = view_of(choose_network(model, self.windows, epochs), size, terms.style_cost, terms.layer_costs)
        content_layers, style_layers = ([name for name, _ in of] for of in (terms.content_layers, terms.style_layers))
        self.a_C = see_content(self.view, content, self.windows, tuple(content_layers), pause)
        self.guides = Guides(guide_content(regions, content_layers), guide_regions(regions, style_layers))
        # As tensors: the graph that is traced for one weight serves the others.
        self.weights = tf.nest.map_structure(
            lambda number: tf.constant(number, "float32"),
            Weights(terms.alpha, terms.beta, dict(terms.content_layers), dict(terms.style_layers)),
        )
        self.styles = list(see_styles(model, styles, self.weights.style, regions, self.view, pause))

    def __call__(self, picture, gradient):
        whole = len(self.windows) == 1
        return (self.evaluate_whole if whole else self.evaluate_in_windows)(picture, gradient)

    def evaluate_whole(self, picture, gradient):
        """(costs, gradient of J or None)."""
        view, aims = self.view, (self.a_C, self.guides)
        if gradient:
            return view.evaluate(picture, *aims, self.styles, self.weights, self.terms.normalize_gradients)
        # Once in a run: look() has a graph already, for a tensor, which is sooner run than another one traced.
        picture = tf.convert_to_tensor(picture)
        measured = view.measure(view.look(picture, view.whole), view.whole, *aims)
        return view.judge(measured, self.styles, self.weights)[0], None

    def evaluate_in_windows(self, picture, gradient):
        """The same, window by window."""
        view = self.view

        def of_each_window(run, *more):
            for w in self.windows:
                self.pause()
                yield w, run(w.of(picture), tf.constant(w.core), w.of_layers(self.a_C), self.guides.of(w), *more)

        def in_all(run, *more):
            return add_up(part for _, part in of_each_window(run, *more))

        costs, upstream = view.judge(in_all(view.measure_window), self.styles, self.weights)
        if not gradient:
            return costs, None
        if self.terms.normalize_gradients:
            upstream = normalized(upstream, in_all(view.window_gradient_norms, upstream), self.weights)
        dJ = np.zeros(picture.shape, "float32")
        for w, part in of_each_window(view.pull_back, upstream):
            w.of(dJ)[...] += part
        return costs, dJ


@tf.function(autograph=False)
def variation_and_gradient(picture, weight):
    """The total variation of a picture, and weight times its gradient."""
    with tf.GradientTape() as tape:
        tape.watch(picture)
        J_tv = nst_utils.total_variation(picture)
    return J_tv, weight * tape.gradient(J_tv, picture)


@tf.function(autograph=False)
def stay(picture, carried, trusted, weight):
    """The temporal cost of a frame, and weight times its gradient."""
    with tf.GradientTape() as tape:
        tape.watch(picture)
        J_temporal = nst_utils.compute_temporal_cost(picture, carried, trusted)
    return J_temporal, weight * tape.gradient(J_temporal, picture)


def choose_network(model, windows, epochs):
    """The model with the convolutions that are soonest done, compilation included.

    Measured on two processor cores: the compilation takes about as long as Winograd's convolutions save
    on COMPILED_PIXELS. A GPU has good convolutions of its own.
    """
    pixels = epochs * sum((w.bottom - w.top) * (w.right - w.left) for w in windows)
    if tf.config.list_physical_devices("GPU"):
        return model
    return (nst.convolution.accelerate if pixels >= COMPILED_PIXELS else nst.convolution.turn)(model)


# --- What the costs aim at ------------------------------------------------------------------------------------


def see_content(view, content, windows, layers, pause):
    """{layer: a_C (1, n_H, n_W, n_C)}."""
    if not layers:
        return {}
    if len(windows) == 1:
        seen = view.look(content, view.whole)
        return {name: seen[name] for name in layers}
    channels = view.network.output
    a_C = {name: np.empty((1, *layer_size(view.size, name), channels[name].shape[-1]), "float32") for name in layers}
    for w in windows:
        pause()
        for name, a in view.look(w.of(content), tf.constant(w.core), layers).items():
            crop(a_C[name], w.core_in_picture(), name)[...] = a
    return a_C


def see_styles(model, styles, layers, regions, view, pause):
    """(weight, region, {layer: what the style cost compares}, layer weights) of each style and region.

    All weights together are 1: a region weighs what it has of G's pixels, and in it the styles that have it
    share by their weights. layers are {layer: weight}, for the styles that have none of their own; view is
    G's, which says what is compared.
    """
    shares = {EVERYWHERE: 1}
    if regions is not None:
        shares = {name: float(there.sum()) for name, there in regions.items() if there.any()}
    painted = sum(shares.values())
    seen = [see_style(model, style, list(layers), view, pause) for style in styles]
    for region, pixels in shares.items():
        having = [(style, seen_S[region]) for style, seen_S in zip(styles, seen, strict=True) if region in seen_S]
        total = sum(style.weight for style, _ in having)
        for style, seen_S in having:
            weight = style.weight and pixels / painted * style.weight / total
            own = {name: tf.constant(weight, "float32") for name, weight in style.layers or ()}
            yield tf.constant(weight, "float32"), region, seen_S, own or layers


def see_style(model, style, layers, like, pause):
    """{region: {layer: what the style cost compares}} of S. The last ones are kept: a batch has many in one style."""
    size = tuple(style.image.shape[1:3])
    windows = cut_windows(size, model)
    view = view_of(choose_network(model, windows, epochs=1), size, like.style_cost, like.layer_costs)
    regions = [(name, np.ascontiguousarray(there)) for name, there in (style.regions or {}).items()]
    arrays = np.ascontiguousarray(style.image), *(there for _, there in regions)
    key = tuple(layers), *(name for name, _ in regions), *(hashlib.sha256(array).digest() for array in arrays)
    if key not in view.styles:
        view.styles[key] = see_windows(view, style, windows, layers, pause)
        if len(view.styles) > STYLES_KEPT:
            del view.styles[next(iter(view.styles))]
    return view.styles[key]


def see_windows(view, style, windows, layers, pause):
    """see_style, where it has to be seen."""
    guides = Guides({}, guide_regions(style.regions, layers))
    if len(windows) == 1:
        return view.see_style(view.look(style.image, view.whole), view.whole, guides.style)

    def part(w):
        pause()
        _, measured = view.measure_window(w.of(style.image), tf.constant(w.core), {}, guides.of(w))  # no content's
        return measured

    return add_up(map(part, windows))


def guide_regions(regions, layers):
    """{region: {layer: T}}, nst_utils.guide of each that is there; of no regions, EVERYWHERE's, whose T are None."""
    if regions is None:
        return {EVERYWHERE: dict.fromkeys(layers)}
    return {name: nst_utils.guide(there, layers) for name, there in regions.items() if there.any()}


def guide_content(regions, layers):
    """{layer: T} of all regions together, {} where they leave nothing out."""
    there = 1 if regions is None else np.minimum(sum(regions.values()), 1)
    return {} if np.all(there == 1) else nst_utils.guide(there, layers)


def add_up(structures):
    """The sum of structures of tensors, all alike."""
    total = None
    for structure in structures:
        total = structure if total is None else tf.nest.map_structure(tf.add, total, structure)
    return total
