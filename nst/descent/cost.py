"""The cost of a picture and its gradient: the weighted sum of its terms, at one or several octaves.

An octave is a size at which terms compare: the picture's own, half of it, and so on [Snelgrove]. What a coarse scale
painted is kept by them while finer scales are painted.

    [Snelgrove]  Snelgrove 2017, High-Resolution Multi-Scale Neural Texture Synthesis, SIGGRAPH Asia
                 Technical Briefs
"""

import numpy as np
import tensorflow as tf

import nst.network.windows
from nst.descent.sight import Sight
from nst.descent.terms import OF_NETWORK, OF_PIXELS


class Cost:
    """The cost of a generated image: cost(G) -> ({"total": J, "content": J_content, ...}, gradient of J).

    model is nst_utils.load_vgg_model's with the layers of nst.descent.terms.layers_needed(settings). scene is a
    nst.pictures.scene.Scene with mean-subtracted images (1, n_H, n_W, 3); G and the gradient have its content's shape.
    There is a cost for each term and, with layer_costs, one for each of its layers, "style_conv1_1". What the terms
    aim at is computed once, here.

    About evaluations calls are expected, on which the choice of convolutions depends. pause() is called before each
    window of a picture that is seen in windows. With gradient=False a call returns None for the gradient. The gradient
    is 0 where no region of the content is.
    """

    def __init__(self, model, scene, settings, evaluations=1, pause=lambda: None):
        self.settings, self.grey, self.painted = settings, scene.grey, None
        if scene.painted is not None:
            self.painted = scene.painted.astype("float32")[np.newaxis, ..., np.newaxis]
        self.of_pixels = [term for kind in OF_PIXELS if (term := kind.make(settings, scene))]
        self.octaves = []  # (Sight, terms), from the picture's own size down
        self.counts = {kind.name: kind.octaves(settings) for kind in OF_NETWORK}
        height, width = scene.content.image.shape[1:3]
        windows = nst.network.windows
        # If the picture is too large to be seen whole, a smaller octave would need the memory that windows save.
        whole = windows.WHOLE_PIXELS if height * width <= windows.WHOLE_PIXELS else windows.WINDOW_PIXELS
        for octave in range(max(self.counts.values())):
            if octave:
                scene = scene.map(halve, halve_share)
            sight = Sight(model, tuple(scene.content.image.shape[1:3]), evaluations, pause, whole)
            # A term that does not count here gets weight 0: octaves and scales of one size share a graph.
            factors = {name: 1 / count if octave < count else 0 for name, count in self.counts.items()}
            self.octaves.append((sight, [kind.make(settings, scene, sight, factors[kind.name]) for kind in OF_NETWORK]))

    def __call__(self, picture, gradient=True):
        with tf.GradientTape() as tape:
            tape.watch(picture)
            pictures = [picture]
            while len(pictures) < len(self.octaves):
                pictures.append(halve(pictures[-1]))
        normalize = self.settings.normalize_gradients
        found = [
            sight.evaluate(G, terms, normalize, gradient)
            for (sight, terms), G in zip(self.octaves, pictures, strict=True)
        ]
        costs = self.over_octaves([costs for costs, _ in found])
        dJ = found[0][1]
        if len(found) > 1 and gradient:
            dJ = dJ + tape.gradient(pictures[1:], picture, [tf.convert_to_tensor(d) for _, d in found[1:]])
        for term in self.of_pixels:
            J, its_gradient = evaluate(picture, term)
            costs = {**costs, "total": costs["total"] + term.weight * J, term.name: J}
            dJ = dJ + its_gradient if gradient else None
        if gradient and self.grey:
            dJ = tf.repeat(tf.reduce_mean(dJ, 3, keepdims=True), 3, 3)
        if gradient and self.painted is not None:
            dJ = dJ * self.painted
        return costs, dJ

    def over_octaves(self, found):
        """{name: cost} of the picture from the costs of its octaves: totals add up, the cost of a term is a mean."""
        totals, of_terms, of_layers = zip(*found, strict=True)
        costs = {"total": add_up(totals)}
        costs |= {name: add_up([of[name] for of in of_terms[:count]]) / count for name, count in self.counts.items()}
        if self.settings.layer_costs:
            for name, count in self.counts.items():
                for layer in of_layers[0][name]:
                    parts = [of[name][layer] for of in of_layers[:count]]
                    costs[f"{name}_{layer}"] = add_up(parts) / count
        return costs


def add_up(tensors):
    return tf.add_n(tensors) if len(tensors) > 1 else tensors[0]


def halve(image):
    """(1, n_H, n_W, 3) at half the size, rounded up, by averages of 2 x 2."""
    return tf.nn.avg_pool2d(image, 2, 2, "SAME")


def halve_share(share):
    return share if np.ndim(share) == 0 else share[::2, ::2]


@tf.function(autograph=False)
def evaluate(picture, term):
    """The cost of a term of the pixels, and its weight times the gradient."""
    with tf.GradientTape() as tape:
        tape.watch(picture)
        J = term.cost(picture)
    return J, term.weight * tape.gradient(J, picture)
