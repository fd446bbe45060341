"""The paper: pictures as arrays, the VGG model, and the costs.

Every function here is called in a run. There are no flags here, nothing is printed, and no folder is chosen.

    [Gatys]     Gatys, Ecker & Bethge 2015, A Neural Algorithm of Artistic Style, arXiv 1508.06576
    [Mahendran] Mahendran & Vedaldi 2015, Understanding Deep Image Representations by Inverting
                Them, arXiv 1412.0035
    [Novak]     Novak & Nikulin 2016, Improving the Neural Algorithm of Artistic Style, arXiv 1605.04603
    [Ruder]     Ruder, Dosovitskiy & Brox 2016, Artistic Style Transfer for Videos, arXiv 1604.08610, equation 7
    [Guided]    Gatys, Ecker, Bethge, Hertzmann & Shechtman 2017, Controlling Perceptual Factors in
                Neural Style Transfer, arXiv 1611.07865
    [NNST]      Kolkin, Kucera, Paris, Sykora, Shechtman & Shakhnarovich 2022, Neural Neighbor Style
                Transfer, arXiv 2203.13215

Names and shapes: C, S and G are the content, style and generated image, each a float32 array
(1, n_H, n_W, 3) in RGB, pixels of 0 to 255 minus the mean of the pictures that VGG was trained on.
a_C, a_S, a_G are their activations in a layer, (1, n_H, n_W, n_C); J is a cost.
"""

import keras
import numpy as np
import tensorflow as tf

import nst.network.weights
import nst.pictures.encode
from nst.network.weights import MEANS, VGG19
from nst.pictures.colours import LUMINANCE

CONTENT_LAYER = "conv4_2"
STYLE_LAYERS = (("conv1_1", 0.2), ("conv2_1", 0.2), ("conv3_1", 0.2), ("conv4_1", 0.2), ("conv5_1", 0.2))


# --- Pictures -------------------------------------------------------------------------------------


def reshape_and_normalize_image(image):
    """Turn (n_H, n_W, 3) RGB, 0 to 255, into (1, n_H, n_W, 3) float32, minus the VGG mean."""
    return np.asarray(image, "float32")[np.newaxis] - MEANS


def generate_noise_image(content_image, noise_ratio=0.6, seed=0):
    """The start of the descent: noise_ratio * uniform(-20, 20) + (1 - noise_ratio) * content_image.

    content_image and the result are (1, n_H, n_W, 3), mean-subtracted; noise_ratio is 0 to 1.
    """
    noise = np.random.default_rng(seed).uniform(-20, 20, content_image.shape).astype("float32")
    return np.float32(noise_ratio) * noise + np.float32(1 - noise_ratio) * content_image


def generate_finer_image(generated_image, detailed_image):
    """The start of a finer scale: G enlarged to the size of detailed_image, plus the fine detail of that.

    G alone would be blurred. The detail is detailed_image minus its own copy that was shrunk to G's size and
    enlarged again. Both are (1, n_H, n_W, 3), mean-subtracted; the result has detailed_image's shape.
    """

    def resize(image, like):
        return tf.image.resize(image, like.shape[1:3], "bicubic", antialias=True)

    blurred = resize(resize(detailed_image, generated_image), detailed_image)
    return (resize(generated_image, detailed_image) + detailed_image - blurred).numpy()


def to_pixels(image):
    """Turn mean-subtracted (1, n_H, n_W, 3) back into (n_H, n_W, 3) uint8, clipped to 0 to 255.

    As in the original the fraction is cut off, not rounded; 0.001 covers the rounding of x - mean + mean.
    """
    return np.clip(np.asarray(image)[0] + MEANS + np.float32(0.001), 0, 255).astype("uint8")


def save_image(path, image, **remarks):
    """Write a mean-subtracted (1, n_H, n_W, 3) image with the remarks of nst.pictures.encode.write_image."""
    nst.pictures.encode.write_image(path, to_pixels(image), **remarks)


# --- The model ------------------------------------------------------------------------------------


def load_vgg_model(path, layers=(CONTENT_LAYER, *(name for name, _ in STYLE_LAYERS)), pooling="avg", padding="zeros"):
    """The Keras model of a VGG weights file, frozen and cut after the deepest of the layers.

    path is a file of MatConvNet, Keras or torchvision, or one of the words 'hed', 'imagenet' and 'random' (see
    nst.network.weights). pooling is "avg" or "max". padding says what a convolution sees outside the picture:
    "zeros", or "replicate", which repeats the edge. The model maps (1, n_H, n_W, 3) to a dict of the named layers'
    activations. Raises InputError if the file holds no VGG-16 or VGG-19, or if this has no such layer.
    """
    return build_model(nst.network.weights.load(path), layers, pooling, padding)


class ReplicatePadding2D(keras.layers.Layer):
    """Turn (1, n_H, n_W, n_C) into (1, n_H + 2, n_W + 2, n_C) by repeating the edge on each side."""

    def call(self, inputs):
        return tf.pad(inputs, [[0, 0], [1, 1], [1, 1], [0, 0]], "SYMMETRIC")


def build_model(weights, layers, pooling="avg", padding="zeros"):
    """The model of load_vgg_model from weights, {name: (kernel, bias)}; the kernels say how many channels it has."""
    network = nst.network.weights.network_of(weights)
    # VGG was trained with maxima; averages give better looking results [Gatys, section 2].
    Pooling = {"avg": keras.layers.AveragePooling2D, "max": keras.layers.MaxPooling2D}[pooling]
    x = image = keras.Input((None, None, 3), batch_size=1, name="image")
    activations = {}
    for name in network.up_to(layers):
        block, i = name.removeprefix("conv").split("_")
        if i == "1" and block != "1":
            x = Pooling(2, padding="same", name=f"{pooling}pool{int(block) - 1}")(x)
        if padding == "replicate":
            x = ReplicatePadding2D(name=f"{name}_padding")(x)
        convolution = keras.layers.Conv2D(
            weights[name][0].shape[-1],
            3,
            padding={"zeros": "same", "replicate": "valid"}[padding],
            activation="relu",
            name=name,
            kernel_initializer="zeros",  # set_weights replaces them; drawing 20 million random numbers takes time
        )
        x = activations[name] = convolution(x)
        convolution.set_weights(weights[name])
    model = keras.Model(image, {name: activations[name] for name in dict.fromkeys(layers)}, name=network.name)
    model.trainable = False
    return model


# --- Costs ----------------------------------------------------------------------------------------


def sum_of_squares(x):
    """sum(x^2), with a gradient that takes one pass over x; that of reduce_sum(square(x)) takes three.

    The content cost does without it, so that the original's numbers stay the same to the last digit.
    """
    return 2 * tf.nn.l2_loss(x)


def compute_content_cost(a_C, a_G, T=None):
    """J_content = sum((a_C - a_G)^2) / (4 n_H n_W n_C) of two (1, n_H, n_W, n_C) activations.

    [Gatys, equation 1] with the course's normalisation. T comes from guide(): pass it to count only a
    region. With the T of the whole picture the result is the same.
    """
    if T is None:
        return tf.reduce_sum(tf.square(a_C - a_G)) / (4 * tf.cast(tf.size(a_G), a_G.dtype))
    return tf.reduce_sum(tf.square((a_C - a_G) * T)) / (4.0 * a_G.shape[-1])


@tf.custom_gradient
def gram_matrix(A):
    """A A^T, (n_C, n_C), of A (n_C, n_H n_W): which channels are active together [Gatys, equation 3]."""

    def gradient(dG):
        # TensorFlow would make two matrix products, one for each A, where one will do. It is written as a
        # transpose because A usually is one too: the two cancel when the graph is optimized.
        return tf.transpose(tf.matmul(A, dG + tf.transpose(dG), transpose_a=True))

    return tf.matmul(A, A, transpose_b=True), gradient


def gram_per_position(a, T=None):
    """The Gram matrix (n_C, n_C) of an activation (1, n_H, n_W, n_C), divided by its n_H n_W positions.

    This makes pictures of different sizes comparable. T comes from guide(): pass it to count only a region [Guided].
    """
    if T is not None:
        a = a * T
    F = tf.reshape(a, (-1, a.shape[-1]))
    G = gram_matrix(tf.transpose(F))
    return G if T is not None else G / tf.cast(tf.shape(F)[0], F.dtype)


def mean_per_position(a, T=None):
    """The mean (n_C,) of an activation (1, n_H, n_W, n_C); T as in gram_per_position."""
    return tf.reduce_mean(a, (0, 1, 2)) if T is None else tf.reduce_sum(a * tf.square(T), (0, 1, 2))


def guide(region, layers):
    """{layer: T (1, n_H, n_W, 1)}: how much each position of a layer belongs to a region; the sum of T^2 is 1.

    region is (n_H, n_W): 1 for the picture's pixels that belong to the region, 0 for the others, and values in
    between for pixels that belong partly. It is shrunk as the network shrinks the picture, by averages of 2 x 2
    [Guided].
    """
    T, guides = tf.constant(region, "float32")[tf.newaxis, ..., tf.newaxis], {}
    for block in range(1, len(VGG19.blocks) + 1):
        unit = tf.math.divide_no_nan(T, tf.norm(T))
        guides |= {name: unit for name in layers if name.startswith(f"conv{block}_")}
        T = tf.nn.avg_pool2d(T, 2, 2, "SAME")
    return guides


def compute_layer_style_cost(G_S, G_G):
    """sum((G_S - G_G)^2) / (4 n_C^2) of two Gram matrices per position, (n_C, n_C).

    [Gatys, equation 4]. gram_per_position has divided by its (n_H n_W)^2 already. The course's function of this name
    takes activations; here the style's Gram matrix is computed once, not in each iteration.
    """
    return tf.reduce_sum(tf.square(G_S - G_G)) / (4.0 * G_G.shape[0] ** 2)


def compare_moments(moments_S, moments_G):
    """mean((m_S - m_G)^2) + sum((Sigma_S - Sigma_G)^2) / (4 n_C^2): means and covariances compared separately.

    Both are pairs (Gram matrix per position (n_C, n_C), mean (n_C,)). A Gram matrix is Sigma + m m^T, and the larger
    summand hides the smaller one. To avoid this, [Novak] subtract a constant from the activations.
    """
    (G_S, m_S), (G_G, m_G) = moments_S, moments_G
    Sigma_S, Sigma_G = G_S - tf.tensordot(m_S, m_S, 0), G_G - tf.tensordot(m_G, m_G, 0)
    return tf.reduce_mean(tf.square(m_S - m_G)) + compute_layer_style_cost(Sigma_S, Sigma_G)


COMPARE = {"gram": compute_layer_style_cost, "moments": compare_moments}  # by --style_cost


def compute_style_cost(statistics_S, statistics_G, style_layers=STYLE_LAYERS, style_cost="gram"):
    """J_style, the weighted sum of the layers' style costs [Gatys, equation 5].

    statistics_S and statistics_G are {layer: Gram matrix per position}, or, with style_cost "moments", {layer: pair}
    as compare_moments takes it; style_layers are pairs (layer, weight).
    """
    compare = COMPARE[style_cost]
    return tf.add_n([weight * compare(statistics_S[name], statistics_G[name]) for name, weight in style_layers])


def compute_neighbour_cost(a_N, a_G, variance, T):
    """The weighted mean of (a_G - a_N)^2, over the variance of the style's activations in that layer.

    a_N, of a_G's shape (1, n_H, n_W, n_C), are the activations of each position's nearest neighbour in the style.
    [NNST] compares by cosines, which overshoots the style's colours. The weight of a position is T^2; T is
    (1, n_H, n_W, 1), and the sum of T^2 is 1.
    """
    return sum_of_squares((a_G - a_N) * T) / (a_G.shape[-1] * variance)


def total_variation(image):
    """The mean over pixels of the squared differences to the neighbours below and to the right [Mahendran].

    image is (1, n_H, n_W, 3). This is the paper's formula with beta = 2, divided by n_H n_W so that one weight suits
    every size.
    """

    def differences(axis):
        # Not by slices: their gradient is slow. This way the cost takes 6 ms at 512 x 384 instead of 31 ms.
        (before, _), (_, after) = (tf.split(image, sizes, axis) for sizes in ([-1, 1], [1, -1]))
        return after - before

    pixels = tf.cast(tf.shape(image)[1] * tf.shape(image)[2], image.dtype)
    return (sum_of_squares(differences(1)) + sum_of_squares(differences(2))) / pixels


def broad_luminance(image):
    """The mean luminance (1, m_H, m_W, 1) of squares of an image (1, n_H, n_W, 3), which overlap by half.

    The side of a square is a sixteenth of the image's long side.
    """
    side = max(1, round(max(image.shape[1:3]) / 16))
    Y = tf.tensordot(image, tf.constant(LUMINANCE, image.dtype), 1)[..., tf.newaxis]
    return tf.nn.avg_pool2d(Y, side, max(1, side // 2), "SAME")


def compute_light_cost(Y_C, Y_G):
    """The mean of (Y_C - Y_G)^2, of broad_luminance() of the content and of the generated image."""
    return tf.reduce_mean(tf.square(Y_C - Y_G))


def compute_temporal_cost(image, carried, trust):
    """The mean of trust * (G - carried)^2: how much a film's frame differs from the frame before [Ruder].

    carried is that frame, carried along the motion, (1, n_H, n_W, 3) like image; trust is (1, n_H, n_W, 1), 0 to 1.
    """
    return tf.reduce_sum(trust * tf.square(image - carried)) / tf.cast(tf.size(image), image.dtype)


def total_cost(J_content, J_style, alpha=10, beta=40, others=()):
    """J = alpha J_content + beta J_style [Gatys, equation 7], plus weight * J of each other cost, (weight, J)."""
    return sum((weight * J for weight, J in others), alpha * J_content + beta * J_style)
