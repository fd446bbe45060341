"""How the network sees pictures: whole or in windows, by which convolutions, through traced graphs.

A term of the network (nst.descent.terms) measures activations and computes its cost from the measurements. These add
up over windows: a first pass through the windows adds them up, the terms compute their costs once, and a second pass
propagates the gradient back, window by window. The result is that of the whole picture, except for rounding, and the
network needs the memory of one window.
"""

import functools
from typing import NamedTuple

import numpy as np
import tensorflow as tf

import nst_utils
from nst.network import convolution, device
from nst.network.windows import crop, cut_windows, layer_size

CACHE_BYTES = 600e6  # about 45 graphs of the presets
# How much the process grows for an operation of a graph, with what TensorFlow makes of it. Measured with VGG-19 at an
# eighth of its width and with VGG-16, at 128 and 256 pixels, in the graphs of original and quick: 9.3 to 12.4 kB. It
# does not depend on the picture's size, because the arrays are there only while a graph runs. Compiled convolutions
# are not counted: XLA keeps them until the process ends, also without the graph.
OPERATION_BYTES = 11_000
COMPILED_PIXELS = 2_000_000  # pixels times evaluations from which compiling Winograd's convolutions pays


class Part(NamedTuple):
    """The part of a picture that a graph sees: a window of a picture of size (n_H, n_W), or the whole picture.

    Only the window's core counts, (top, bottom, left, right) in its pixels; the margin around the core is context. The
    core of the whole picture is None.
    """

    core: tuple | None
    size: tuple | None

    def crop(self, a, layer):
        """The core of a layer's activation (1, n_H, n_W, n_C), or of an array of that shape; None stays None."""
        return a if a is None or self.core is None else crop(a, self.core, layer)

    def fraction(self, a, layer):
        """The fraction of the picture's positions in a layer that the cropped activation has, 0 to 1."""
        if self.core is None:
            return 1.0
        n_H, n_W = layer_size(self.size, layer)
        return tf.cast(tf.shape(a)[1] * tf.shape(a)[2], "float32") / (n_H * n_W)


def traced(method):
    """Make a method of Graphs a graph, traced for each structure of its arguments, and count the graph's operations."""

    @functools.wraps(method)
    def trace(self, *arguments, **named):
        result = method(self, *arguments, **named)  # this runs only while the graph is traced
        self.operations += len(tf.compat.v1.get_default_graph().get_operations())
        return result

    return tf.function(trace, autograph=False)  # there is nothing to convert


class Graphs:
    """The graphs for pictures of a size (n_H, n_W), or with size None for all pictures that are seen whole.

    image is a whole picture or a window, core the part of it that counts as in a Part, and terms are the terms for it.
    "measured" is a list of what each term measured, {layer: tensors}; "upstream" is the gradient of J with respect to
    it.
    """

    def __init__(self, network, size):
        self.network, self.size = network, size
        self.statistics = {}  # of the last styles that they saw, for nst.descent.terms
        self.operations = 0  # in all graphs together

    @property
    def bytes(self):
        """About the memory that is free again without them."""
        tensors = (part for part in tf.nest.flatten([*self.statistics.values()]) if isinstance(part, tf.Tensor))
        return OPERATION_BYTES * self.operations + sum(4 * part.shape.num_elements() for part in tensors)

    def run(self, graph, *arguments):
        """What one of these graphs returns. Tracing takes a second, so a graph for all sizes is traced once for all."""
        if self.size is None:
            graph.get_concrete_function(*tf.nest.map_structure(of_any_size, arguments))
        return graph(*arguments)

    def see(self, image, core):
        """{layer: activation} of the core, for use inside the graphs."""
        part = Part(core, self.size)
        return {name: part.crop(a, name) for name, a in self.network(image).items()}

    @traced
    def look(self, image, core, layers=None):
        """see() as a graph of its own. layers limit the result: all layers of a large window take half a gigabyte."""
        seen = self.see(image, core)
        return {name: seen[name] for name in layers or seen}

    def measure(self, seen, core, terms):
        """What each term measures in {layer: activation}, which it gets in float32."""
        seen = {name: tf.cast(a, "float32") for name, a in seen.items()}
        return [term.measure(seen, Part(core, self.size)) for term in terms]

    @traced
    def evaluate(self, picture, terms, normalize, by_layer):
        """(costs, gradient of J) of a picture that is seen whole; costs as compare returns them."""
        core = None
        with tf.GradientTape() as tape:
            tape.watch(picture)
            seen = self.see(picture, core)
            measured = self.measure(seen, core, terms)
        costs, upstream = compare(terms, measured, by_layer)
        if normalize:
            upstream = normalized(terms, upstream, self.gradient_norms(seen, core, terms, upstream))
        return costs, tape.gradient(measured, picture, upstream)

    @traced
    def measure_window(self, image, core, terms):
        return self.measure(self.see(image, core), core, terms)

    @traced
    def pull_back(self, image, core, terms, upstream):
        """The window's part of the gradient of J."""
        with tf.GradientTape() as tape:
            tape.watch(image)
            measured = self.measure(self.see(image, core), core, terms)
        return tape.gradient(measured, image, upstream)

    def gradient_norms(self, seen, core, terms, upstream):
        """For each term {layer: L1 norm of the gradient of its cost with respect to the activation}."""
        seen = {name: tf.cast(a, "float32") for name, a in seen.items()}  # sums of bfloat16 would lose digits
        with tf.GradientTape(persistent=True) as tape:
            tape.watch(seen)
            measured = self.measure(seen, core, terms)
        return [
            {name: tf.reduce_sum(tf.abs(tape.gradient(of[name], seen[name], up[name]))) for name in of}
            for of, up in zip(measured, upstream, strict=True)
        ]

    @traced
    def window_gradient_norms(self, image, core, terms, upstream):
        return self.gradient_norms(self.see(image, core), core, terms, upstream)


def of_any_size(argument):
    """For a picture, an activation or another array (1, n_H, n_W, n) its type with any n_H and n_W; others stay."""
    is_array = isinstance(argument, tf.Tensor | np.ndarray) and len(argument.shape) == 4
    return tf.TensorSpec((1, None, None, argument.shape[3]), argument.dtype) if is_array else argument


class Cache:
    """The Graphs that were used last, as many as fit into CACHE_BYTES.

    Where graphs have a size, a preset needs five to twelve for a content and a style, and the jobs of a batch often
    share them.
    """

    def __init__(self):
        self.kept = {}  # {(network, size): Graphs}, the one that was used last at the end

    def get(self, network, size):
        """The Graphs of a network for pictures of a size, or of any."""
        graphs = self.kept.pop((network, size), None) or Graphs(network, size)
        # Graphs grow when they are first used, so what is there is added up anew.
        while self.kept and graphs.bytes + sum(other.bytes for other in self.kept.values()) > CACHE_BYTES:
            del self.kept[next(iter(self.kept))]
        self.kept[network, size] = graphs
        return graphs


CACHE = Cache()


def compare(terms, measured, by_layer):
    """(costs, upstream) of what the terms measured in the whole picture.

    costs are (J, {term: its cost}, {term: {layer: the layer's share of that}}). The last is empty without by_layer.
    """
    pairs = list(zip(terms, measured, strict=True))
    with tf.GradientTape() as tape:
        tape.watch(measured)
        of_terms = {term.name: term.cost(of, term.layers) for term, of in pairs}
        J = total_of(terms, of_terms)
    # On a coarse scale a region can vanish from the styles: it has no gradient then.
    upstream = tape.gradient(J, measured, unconnected_gradients=tf.UnconnectedGradients.ZERO)
    parts = pairs if by_layer else ()
    of_layers = {term.name: {layer: term.cost(of, [layer]) for layer in term.layers} for term, of in parts}
    return (J, of_terms, of_layers), upstream


def total_of(terms, costs):
    """J, the weighted sum of the terms' costs, {name: cost}."""
    weights = {term.name: term.weight for term in terms}
    paper = [(weights.pop(name, 0.0), costs.get(name, 0.0)) for name in ("content", "style")]
    (alpha, J_content), (beta, J_style) = paper
    others = [(weight, costs[name]) for name, weight in weights.items()]
    return nst_utils.total_cost(J_content, J_style, alpha, beta, others)


def normalized(terms, upstream, norms):
    """upstream scaled so that each layer's gradient has the norm of its weight, times the term's."""

    def scaled(term, of_layers, norms):
        factors = {name: tf.math.divide_no_nan(term.weight * term.layers[name], norms[name]) for name in of_layers}
        return {
            name: tf.nest.map_structure(functools.partial(tf.multiply, factors[name]), gradient)
            for name, gradient in of_layers.items()
        }

    return [scaled(*of_term) for of_term in zip(terms, upstream, norms, strict=True)]


class Sight:
    """Runs a model on pictures of size (n_H, n_W), whole or in windows.

    evaluations is about how often evaluate() will be called. Pictures of more than most_pixels, by default
    nst.network.windows.WHOLE_PIXELS, are seen in windows. pause() is called before each window, and can raise an
    exception to stop the evaluation.
    """

    def __init__(self, model, size, evaluations=1, pause=lambda: None, most_pixels=None):
        self.model, self.pause, self.most_pixels = model, pause, most_pixels
        self.size, self.windows = size, cut_windows(size, model, most_pixels)
        network = choose_network(model, self.windows, evaluations)
        self.graphs = CACHE.get(network, size if len(self.windows) > 1 or convolution.is_accelerated(network) else None)

    @property
    def is_whole(self):
        return len(self.windows) == 1

    def of_size(self, size):
        """A Sight of the same model for pictures of another size, to be used once."""
        return Sight(self.model, size, pause=self.pause, most_pixels=self.most_pixels)

    def look(self, image, layers):
        """{layer: activation} of an image (1, n_H, n_W, 3), in the network's precision."""
        if not layers:
            return {}
        graphs = self.graphs
        if self.is_whole:
            seen = graphs.run(graphs.look, image, None)
            return {name: seen[name] for name in layers}

        def empty(name):
            output = graphs.network.output[name]
            dtype = tf.as_dtype(output.dtype).as_numpy_dtype
            return np.empty((1, *layer_size(self.size, name), output.shape[-1]), dtype)

        found = {name: empty(name) for name in layers}
        for w in self.windows:
            self.pause()
            for name, a in graphs.look(w.of(image), tf.constant(w.core), tuple(layers)).items():
                crop(found[name], w.core_in_picture(), name)[...] = a
        return found

    def measure(self, image, terms):
        """What each term measures in an image (1, n_H, n_W, 3)."""
        graphs = self.graphs
        if self.is_whole:
            return graphs.measure(graphs.run(graphs.look, image, None), None, terms)
        return self.sum_over_windows(graphs.measure_window, image, terms)

    def evaluate(self, picture, terms, normalize=False, by_layer=False, gradient=True):
        """(costs, gradient of J or None) of a picture, costs as compare returns them.

        The network runs once forward and once back; in windows twice forward, and to normalize three times; with
        gradient=False once forward.
        """
        graphs, picture = self.graphs, tf.convert_to_tensor(picture)
        if self.is_whole and gradient:
            return graphs.run(graphs.evaluate, picture, terms, normalize, by_layer)
        # Calls without a gradient are rare: they use the graph of look() instead of tracing another one.
        costs, upstream = compare(terms, self.measure(picture, terms), by_layer)
        if not gradient:
            return costs, None
        if normalize:
            norms = self.sum_over_windows(graphs.window_gradient_norms, picture, terms, upstream)
            upstream = normalized(terms, upstream, norms)
        dJ = np.zeros(picture.shape, "float32")
        for w, part in self.over_windows(graphs.pull_back, picture, terms, upstream):
            w.of(dJ)[...] += part
        return costs, dJ

    def over_windows(self, run, picture, terms, *more):
        for w in self.windows:
            self.pause()
            yield w, run(w.of(picture), tf.constant(w.core), [term.of(w) for term in terms], *more)

    def sum_over_windows(self, run, picture, terms, *more):
        """The sum over windows of what run() returns for each: structures of tensors, all alike."""
        total = None
        for _, part in self.over_windows(run, picture, terms, *more):
            total = part if total is None else tf.nest.map_structure(tf.add, total, part)
        return total


def choose_network(model, windows, evaluations):
    """The model with the convolutions that are faster overall, including the time to compile them.

    A model in bfloat16 keeps its own. A GPU has fast convolutions of its own.

    Measured on two processor cores: compiling takes about as long as Winograd's convolutions save on
    COMPILED_PIXELS.
    """
    pixels = evaluations * sum((w.bottom - w.top) * (w.right - w.left) for w in windows)
    if convolution.is_narrow(model) or device.gpu():
        return model
    compiled = pixels >= COMPILED_PIXELS and not convolution.why_not_compiled()
    return (convolution.accelerate if compiled else convolution.turn)(model)
