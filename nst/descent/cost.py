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
from nst.descent.terms import OF_NETWORK, OF_PIXELS, Neighbours


class Cost:
    """The cost of a generated image: cost(G) -> ({"total": J, "content": J_content, ...}, gradient of J).

    model is nst_utils.load_vgg_model's with the layers of nst.descent.terms.layers_needed(settings). scene is a
    nst.pictures.scene.Scene with mean-subtracted images (1, n_H, n_W, 3); G and the gradient have its content's shape.
    There is a cost for each term and, with layer_costs, one for each of its layers, "style_conv1_1". What the terms
    aim at is computed once, here.

    About evaluations calls are expected, on which the choice of convolutions depends. pause() is called before each
    window of a picture that is seen in windows, which are pictures of more than most_pixels, by default those of
    nst.network.windows.most_pixels. With gradient=False a call returns None for the gradient. The gradient is 0 where
    no region of the content is.
    """

    def __init__(self, model, scene, settings, evaluations=1, pause=lambda: None, most_pixels=None):
        self.settings, self.grey, self.painted = settings, scene.grey, None
        if scene.painted is not None:
            self.painted = scene.painted.astype("float32")[np.newaxis, ..., np.newaxis]
        self.of_pixels = [term for kind in OF_PIXELS if (term := kind.make(settings, scene))]
        self.octaves = []  # (Sight, terms), from the picture's own size down
        C, size = tf.convert_to_tensor(scene.content.image), tuple(scene.content.image.shape[1:3])
        self.counts = {kind.name: octaves for kind in OF_NETWORK if (octaves := kind.octaves(settings, size))}
        most_pixels = most_pixels or nst.network.windows.most_pixels(size)
        for octave in range(1 + max(octaves[-1] for octaves in self.counts.values())):
            if octave:
                scene = scene.map(halve, halve_share)
            sight = Sight(model, tuple(scene.content.image.shape[1:3]), evaluations, pause, most_pixels)
            # A term that does not count here gets weight 0, so that octaves and scales share a graph.
            factors = {name: (octave in octaves) / len(octaves) for name, octaves in self.counts.items()}
            if settings.neighbour_share_here == 1:
                factors = {name: factor * (name == Neighbours.name) for name, factor in factors.items()}
            made = (kind.make(settings, scene, sight, factors.get(kind.name, 0)) for kind in OF_NETWORK)
            self.octaves.append((sight, [term for term in made if term]))
        if 0 < settings.neighbour_share_here < 1:
            self.balance(C)

    def balance(self, C):
        """Set the weight of the neighbour cost so that, at C, its gradient has its share of the length of both."""
        share, (octaves, of_pixels) = self.settings.neighbour_share_here, (self.octaves, self.of_pixels)
        # The one octave that has them: the others would be evaluated for nothing.
        theirs = [
            (sight, terms if any(isinstance(term, Neighbours) for term in terms) else []) for sight, terms in octaves
        ]

        def gradient_length(octaves, is_counted, of_pixels):
            self.octaves, self.of_pixels = weighed(octaves, lambda term: float(is_counted(term))), of_pixels
            return float(tf.norm(self(C)[1]))

        rest = gradient_length(octaves, lambda term: not isinstance(term, Neighbours), of_pixels)
        neighbours = gradient_length(theirs, lambda term: isinstance(term, Neighbours), [])
        weight = share / (1 - share) * rest / (neighbours or 1)
        self.octaves = weighed(octaves, lambda term: weight if isinstance(term, Neighbours) else 1)
        self.of_pixels = of_pixels

    def __call__(self, picture, gradient=True):
        with tf.GradientTape() as tape:
            tape.watch(picture)
            pictures = [picture]
            while len(pictures) < len(self.octaves):
                pictures.append(halve(pictures[-1]))
        options = self.settings.normalize_gradients, self.settings.layer_costs, gradient
        seen = [octave for octave, (_, terms) in enumerate(self.octaves) if terms]
        found = {k: self.octaves[k][0].evaluate(pictures[k], self.octaves[k][1], *options) for k in seen}
        costs = self.over_octaves({k: costs for k, (costs, _) in found.items()})
        if gradient:
            dJ = found[0][1] if 0 in found else 0
            if smaller := [k for k in seen if k]:
                upstream = [tf.convert_to_tensor(found[k][1]) for k in smaller]
                dJ = dJ + tape.gradient([pictures[k] for k in smaller], picture, upstream)
        for term in self.of_pixels:
            J, its_gradient = evaluate(picture, term)
            costs = {**costs, "total": costs["total"] + term.weight * J, term.name: J}
            dJ = dJ + its_gradient if gradient else None
        if not gradient:
            return costs, None
        if self.grey:
            dJ = tf.repeat(tf.reduce_mean(dJ, 3, keepdims=True), 3, 3)
        return costs, dJ if self.painted is None else dJ * self.painted

    def over_octaves(self, found):
        """{name: cost} from {octave: its costs}: totals add up, the cost of a term is the mean over its octaves."""
        costs = {"total": add_up([total for total, _, _ in found.values()])}
        for name, octaves in self.counts.items():
            counted = [found[k] for k in octaves if k in found and name in found[k][1]]
            if counted:
                costs[name] = add_up([of_terms[name] for _, of_terms, _ in counted]) / len(octaves)
        for name, octaves in self.counts.items():
            counted = [found[k][2][name] for k in octaves if k in found and name in found[k][2]]
            for layer in counted[0] if counted else ():
                costs[f"{name}_{layer}"] = add_up([of_layers[layer] for of_layers in counted]) / len(octaves)
        return costs


def weighed(octaves, factor):
    """The octaves [(Sight, terms)] with each term's weight times factor(term)."""
    return [(sight, [term._replace(weight=term.weight * factor(term)) for term in terms]) for sight, terms in octaves]


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
