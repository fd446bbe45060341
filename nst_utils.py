"""The paper: pictures as arrays, the VGG model, and the costs.

Everything here is a function of arrays and tensors. It knows TensorFlow and the formulas; it knows
no flags, prints nothing and chooses no folder.

    [Gatys]     Gatys, Ecker & Bethge 2015, A Neural Algorithm of Artistic Style, arXiv 1508.06576
    [Mahendran] Mahendran & Vedaldi 2015, Understanding Deep Image Representations by Inverting
                Them, arXiv 1412.0035
    [Novak]     Novak & Nikulin 2016, Improving the Neural Algorithm of Artistic Style, arXiv 1605.04603
    [Ruder]     Ruder, Dosovitskiy & Brox 2016, Artistic Style Transfer for Videos, arXiv 1604.08610, equation 7
    [Guided]    Gatys, Ecker, Bethge, Hertzmann & Shechtman 2017, Controlling Perceptual Factors in
                Neural Style Transfer, arXiv 1611.07865

Words and shapes: C, S and G are the content, style and generated image, each a float32 array
(1, n_H, n_W, 3) in RGB, pixels 0 to 255 less the mean of the pictures that VGG was trained on.
a_C, a_S, a_G are their activations in a layer, (1, n_H, n_W, n_C); J is a cost.
"""

import keras
import numpy as np
import tensorflow as tf

import nst.files
import nst.weights
from nst.weights import MEANS, VGG19

CONTENT_LAYER = "conv4_2"
STYLE_LAYERS = (("conv1_1", 0.2), ("conv2_1", 0.2), ("conv3_1", 0.2), ("conv4_1", 0.2), ("conv5_1", 0.2))


# --- Pictures -------------------------------------------------------------------------------------


def reshape_and_normalize_image(image):
    """(n_H, n_W, 3) RGB, 0 to 255 -> (1, n_H, n_W, 3) float32, the VGG mean taken off."""
    return np.asarray(image, "float32")[np.newaxis] - MEANS


def generate_noise_image(content_image, noise_ratio=0.6, seed=0):
    """The start of the descent: noise_ratio * uniform(-20, 20) + (1 - noise_ratio) * C.

    content_image and the result are (1, n_H, n_W, 3), mean-subtracted; noise_ratio is 0 to 1.
    """
    noise = np.random.default_rng(seed).uniform(-20, 20, content_image.shape).astype("float32")
    return np.float32(noise_ratio) * noise + np.float32(1 - noise_ratio) * content_image


def resize(image, size, method):
    """(..., n_H, n_W, n) or (n_H, n_W) at another size (n_H, n_W), by "area" or "bicubic"; as it is if it has it."""
    if image.ndim == 2:
        return resize(image[..., np.newaxis], size, method)[..., 0]
    return image if image.shape[-3:-1] == tuple(size) else tf.image.resize(image, size, method).numpy()


def generate_finer_image(generated_image, content_image):
    """The start of a finer scale: G enlarged to C's size, with the detail that only C has at that size.

    Enlarging alone leaves G blurred. What is added is C less its own copy, shrunk to G's size and
    enlarged again. Both are (1, n_H, n_W, 3), mean-subtracted; the result has C's shape.
    """

    def resize(image, like):
        return tf.image.resize(image, like.shape[1:3], "bicubic", antialias=True)

    blurred = resize(resize(content_image, generated_image), content_image)
    return (resize(generated_image, content_image) + content_image - blurred).numpy()


def to_pixels(image):
    """The way back: mean-subtracted (1, n_H, n_W, 3) -> (n_H, n_W, 3) uint8, clipped to 0 to 255.

    As in the original the fraction is cut off, not rounded; 0.001 covers the rounding of x - mean + mean.
    """
    return np.clip(np.asarray(image)[0] + MEANS + np.float32(0.001), 0, 255).astype("uint8")


def save_image(path, image, **remarks):
    """Write a mean-subtracted (1, n_H, n_W, 3) image, as nst.files.write_image does, with its remarks."""
    nst.files.write_image(path, to_pixels(image), **remarks)


# --- The model ------------------------------------------------------------------------------------


def load_vgg_model(path, layers=(CONTENT_LAYER, *(name for name, _ in STYLE_LAYERS)), pooling="avg", padding="zeros"):
    """The VGG of a weights file with average (or "max") pooling, frozen, cut after the deepest of the layers.

    With the padding "replicate" a convolution sees the edge of what it is given go on where "zeros" has nothing.

    path is a file of MatConvNet, Keras or torchvision, or one of the words 'hed', 'imagenet' and 'random' (see
    nst.weights). The model maps (1, n_H, n_W, 3) to a dict of the named layers' activations. Raises InputError
    for anything that does not hold a VGG-16 or VGG-19, and for layers that it does not have.
    """
    return build_model(nst.weights.load(path), layers, pooling, padding)


class ReplicatePadding2D(keras.layers.Layer):
    """(1, n_H, n_W, n_C) -> (1, n_H + 2, n_W + 2, n_C), its edge once more on each side."""

    def call(self, inputs):
        return tf.pad(inputs, [[0, 0], [1, 1], [1, 1], [0, 0]], "SYMMETRIC")


def build_model(weights, layers, pooling="avg", padding="zeros"):
    """The Keras model of load_vgg_model from weights, {name: (kernel, bias)}; channels are the kernels'."""
    network = nst.weights.network_of(weights)
    # VGG was trained with the maximum; the average gives better looking results [Gatys, section 2].
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
            kernel_initializer="zeros",  # set_weights follows; drawing 20 million numbers first takes time
        )
        x = activations[name] = convolution(x)
        convolution.set_weights(weights[name])
    model = keras.Model(image, {name: activations[name] for name in dict.fromkeys(layers)}, name=network.name)
    model.trainable = False
    return model


# --- Costs ----------------------------------------------------------------------------------------


def compute_content_cost(a_C, a_G):
    """J_content = sum((a_C - a_G)^2) / (4 n_H n_W n_C) of two (1, n_H, n_W, n_C) activations.

    [Gatys, equation 1] with the course's normalisation.
    """
    return tf.reduce_sum(tf.square(a_C - a_G)) / (4 * tf.cast(tf.size(a_G), a_G.dtype))


def guided_content_cost(a_C, a_G, T):
    """compute_content_cost where T, guided_gram's, has its weight; the whole picture gives the same."""
    return tf.reduce_sum(tf.square((a_C - a_G) * T)) / (4.0 * a_G.shape[-1])


def gram_matrix(A):
    """A A^T, (n_C, n_C), of A (n_C, n_H n_W): how the channels go together [Gatys, equation 3]."""
    return correlate(tf.transpose(A))


@tf.custom_gradient
def correlate(F):
    """F^T F, (n_C, n_C), of F (n_H n_W, n_C): the Gram matrix of activations as they stand in memory."""
    # TensorFlow would find the gradient as two products, one for each F; they have F in common.
    return tf.matmul(F, F, transpose_a=True), lambda dG: tf.matmul(F, dG + tf.transpose(dG))


def gram_per_position(a):
    """The Gram matrix of an activation (1, n_H, n_W, n_C), divided by its n_H n_W positions.

    Taken so, pictures of different sizes have comparable Gram matrices.
    """
    F = tf.reshape(a, (-1, a.shape[-1]))
    return correlate(F) / tf.cast(tf.shape(F)[0], F.dtype)


def mean_per_position(a):
    """The mean (n_C,) of an activation (1, n_H, n_W, n_C)."""
    return tf.reduce_mean(a, (0, 1, 2))


def guided_gram(a, T):
    """The Gram matrix of an activation (1, n_H, n_W, n_C) in one region [Guided, spatial control].

    T is guide()'s (1, n_H, n_W, 1) for the layer. A region that is the whole picture gives gram_per_position.
    """
    return correlate(tf.reshape(a * T, (-1, a.shape[-1])))


def guided_mean(a, T):
    """The mean (n_C,) of an activation (1, n_H, n_W, n_C) in one region, T being guided_gram's."""
    return tf.reduce_sum(a * tf.square(T), (0, 1, 2))


def guide(region, layers):
    """{layer: T (1, n_H, n_W, 1)}: how much each position of a layer belongs to a region, the sum of T^2 being 1.

    region is (n_H, n_W), 1 in the picture's pixels that belong, 0 elsewhere, and between where they belong
    in part. It is shrunk as the network shrinks the picture, by averages of 2 x 2 [Guided].
    """
    T, guides = tf.constant(region, "float32")[tf.newaxis, ..., tf.newaxis], {}
    for block in range(1, len(VGG19.blocks) + 1):
        unit = tf.math.divide_no_nan(T, tf.norm(T))
        guides |= {name: unit for name in layers if name.startswith(f"conv{block}_")}
        T = tf.nn.avg_pool2d(T, 2, 2, "SAME")
    return guides


def compute_layer_style_cost(a_S, a_G):
    """sum((G_S - G_G)^2) / (4 n_C^2 (n_H n_W)^2), with G_S and G_G the Gram matrices of two activations.

    [Gatys, equation 4]. a_S and a_G are (1, n_H, n_W, n_C) with the same n_C; where their positions
    n_H n_W differ, each Gram matrix is divided by its own.
    """
    return compare_grams(gram_per_position(a_S), gram_per_position(a_G))


def compare_grams(G_S, G_G):
    """compute_layer_style_cost from two Gram matrices per position, (n_C, n_C)."""
    return tf.reduce_sum(tf.square(G_S - G_G)) / (4.0 * G_G.shape[0] ** 2)


def compare_moments(moments_S, moments_G):
    """mean((m_S - m_G)^2) + sum((Sigma_S - Sigma_G)^2) / (4 n_C^2): mean and covariance of activations, each apart.

    Both are pairs of (Gram matrix per position (n_C, n_C), mean (n_C,)). A Gram matrix is Sigma + m m^T: the
    larger of the two hides the other there, for which [Novak] take a constant off the activations.
    """
    (G_S, m_S), (G_G, m_G) = moments_S, moments_G
    Sigma_S, Sigma_G = G_S - tf.tensordot(m_S, m_S, 0), G_G - tf.tensordot(m_G, m_G, 0)
    return tf.reduce_mean(tf.square(m_S - m_G)) + compare_grams(Sigma_S, Sigma_G)


COMPARE = {"gram": compare_grams, "moments": compare_moments}  # by --style_cost


def compute_style_cost(seen_S, seen_G, style_layers=STYLE_LAYERS, style_cost="gram"):
    """J_style, the weighted sum of the layers' style costs [Gatys, equation 5].

    seen_S and seen_G are {layer: Gram matrix per position}, or with the style_cost "moments" {layer: pair}
    as compare_moments takes them; style_layers are pairs of (layer, weight).
    """
    compare = COMPARE[style_cost]
    return tf.add_n([weight * compare(seen_S[name], seen_G[name]) for name, weight in style_layers])


def total_variation(image):
    """The mean over pixels of the squared differences to the neighbours below and to the right [Mahendran].

    image is (1, n_H, n_W, 3). It is the paper's with beta 2, divided by n_H n_W, so that one weight
    serves every size.
    """
    down, right = image[:, 1:] - image[:, :-1], image[:, :, 1:] - image[:, :, :-1]
    pixels = tf.cast(tf.shape(image)[1] * tf.shape(image)[2], image.dtype)
    return (tf.reduce_sum(tf.square(down)) + tf.reduce_sum(tf.square(right))) / pixels


def compute_temporal_cost(image, carried, trusted):
    """The mean of trusted * (G - carried)^2: what differs from the frame before, carried along the motion [Ruder].

    image and carried are (1, n_H, n_W, 3), trusted is (1, n_H, n_W, 1), 0 to 1.
    """
    return tf.reduce_sum(trusted * tf.square(image - carried)) / tf.cast(tf.size(image), image.dtype)


def total_cost(J_content, J_style, alpha=10, beta=40):
    """J = alpha J_content + beta J_style [Gatys, equation 7]."""
    return alpha * J_content + beta * J_style
