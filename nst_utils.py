"""The paper: pictures as arrays, VGG-19 and its weights, and the costs.

Everything here is a function of arrays and tensors. It knows TensorFlow and the formulas; it knows
no flags, prints nothing and chooses no folder.

    [Gatys]     Gatys, Ecker & Bethge 2015, A Neural Algorithm of Artistic Style, arXiv 1508.06576
    [Simonyan]  Simonyan & Zisserman 2015, Very Deep Convolutional Networks, arXiv 1409.1556
    [He]        He, Wang & Hopcroft 2016, A Powerful Generative Model Using Random Weights for the
                Deep Image Representation, arXiv 1606.04801
    [Mahendran] Mahendran & Vedaldi 2015, Understanding Deep Image Representations by Inverting
                Them, arXiv 1412.0035
    [Guided]    Gatys, Ecker, Bethge, Hertzmann & Shechtman 2017, Controlling Perceptual Factors in
                Neural Style Transfer, arXiv 1611.07865
    [Saxe]      Saxe, McClelland & Ganguli 2014, Exact Solutions to the Nonlinear Dynamics of
                Learning in Deep Linear Neural Networks, arXiv 1312.6120

Words and shapes: C, S and G are the content, style and generated image, each a float32 array
(1, n_H, n_W, 3) in RGB, pixels 0 to 255 less the mean of the pictures that VGG-19 was trained on.
a_C, a_S, a_G are their activations in a layer, (1, n_H, n_W, n_C); J is a cost.
"""

import contextlib
import sys

import h5py
import keras
import numpy as np
import scipy.io
import tensorflow as tf

import nst.files
from nst.files import InputError, reason

MEANS = np.array([123.68, 116.779, 103.939], "float32")  # RGB, [Simonyan]

# VGG-19's convolutions: how many in each block, and their channels [Simonyan, table 1, column E].
VGG19_BLOCKS = ((2, 64), (2, 128), (4, 256), (4, 512), (4, 512))
CONVOLUTIONS = tuple(f"conv{b}_{i}" for b, (n, _) in enumerate(VGG19_BLOCKS, 1) for i in range(1, n + 1))

CONTENT_LAYER = "conv4_2"
STYLE_LAYERS = (("conv1_1", 0.2), ("conv2_1", 0.2), ("conv3_1", 0.2), ("conv4_1", 0.2), ("conv5_1", 0.2))

PUBLISHED_MAT = (
    "imagenet-vgg-verydeep-19.mat (MD5 106118b7cf60435e6d8e04f6a6dc3657, beta16's 8ee3263992981a1d26e73b3ca028a123)"
)


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


def save_image(path, image, comment=""):
    """Write a mean-subtracted (1, n_H, n_W, 3) image; the suffix names the format, JPEG at quality 95."""
    nst.files.write_image(path, to_pixels(image), comment)


# --- VGG-19 and its weights ------------------------------------------------------------------------


def load_vgg_model(path, layers=(CONTENT_LAYER, *(name for name, _ in STYLE_LAYERS)), pooling="avg"):
    """VGG-19's convolutions with average (or "max") pooling, frozen, cut after the deepest of the layers.

    path is a MatConvNet .mat or a Keras .h5 file, or one of two words: 'imagenet' (Keras downloads
    its own weights) or 'random' (see random_weights). The model maps (1, n_H, n_W, 3) to a dict of
    the named layers' activations. Raises InputError for anything that does not hold VGG-19.
    """
    if path == "random":
        weights = random_weights(needed_convolutions(layers))
    elif path == "imagenet":
        weights = download_keras_weights()
    else:
        weights = read_weights(path)
    return build_model(weights, layers, pooling)


def build_model(weights, layers, pooling="avg"):
    """The Keras model of load_vgg_model from weights, {name: (kernel, bias)}; channels are the kernels'."""
    # VGG-19 was trained with the maximum; the average gives better looking results [Gatys, section 2].
    Pooling = {"avg": keras.layers.AveragePooling2D, "max": keras.layers.MaxPooling2D}[pooling]
    x = image = keras.Input((None, None, 3), batch_size=1, name="image")
    activations = {}
    for name in needed_convolutions(layers):
        block, i = name.removeprefix("conv").split("_")
        if i == "1" and block != "1":
            x = Pooling(2, padding="same", name=f"{pooling}pool{int(block) - 1}")(x)
        convolution = keras.layers.Conv2D(
            weights[name][0].shape[-1],
            3,
            padding="same",
            activation="relu",
            name=name,
            kernel_initializer="zeros",  # set_weights follows; drawing 20 million numbers first takes time
        )
        x = activations[name] = convolution(x)
        convolution.set_weights(weights[name])
    model = keras.Model(image, {name: activations[name] for name in dict.fromkeys(layers)}, name="vgg19")
    model.trainable = False
    return model


def needed_convolutions(layers):
    """The convolutions up to the deepest of the layers, in order. Raises InputError for a layer that there is not."""
    unknown = [name for name in layers if name not in CONVOLUTIONS]
    if unknown:
        raise InputError(f"no layer {unknown[0]}: VGG-19 has {', '.join(CONVOLUTIONS)}")
    return CONVOLUTIONS[: max(map(CONVOLUTIONS.index, layers)) + 1]


def read_weights(path):
    """{name: (kernel (3, 3, in, out), bias (out,))} of the 16 convolutions in a .mat or .h5 file.

    What the file is, is told by its first bytes, not by its name. Raises InputError.
    """
    try:
        with open(path, "rb") as file:
            head = file.read(128)
    except OSError as error:
        raise InputError(f"weights {path}: cannot be read ({reason(error)})") from error
    again = "download imagenet-vgg-verydeep-19.mat again (see README, Trained weights)"
    if head.startswith(b"\x89HDF\r\n\x1a\n"):
        read = read_keras_h5
    elif head.startswith(b"MATLAB 5.0"):
        read = read_matconvnet
    elif head.startswith(b"MATLAB 7.3"):
        raise InputError(f"weights {path}: a MATLAB 7.3 file, not the published one; save it with -v7, or {again}")
    elif head.startswith(b"version https://git-lfs"):
        raise InputError(
            f"weights {path}: a Git LFS pointer, not the file it points to; run 'git lfs pull', or {again}"
        )
    elif head.lstrip().startswith((b"<", b"\xef\xbb\xbf<")):
        raise InputError(f"weights {path}: a web page, not weights; {again}")
    elif not head:
        raise InputError(f"weights {path}: an empty file; {again}")
    else:
        raise InputError(f"weights {path}: neither a MATLAB 5 .mat nor a Keras .h5 file; {again}")
    try:
        weights = read(path)
    except InputError:
        raise
    except Exception as error:  # scipy and h5py answer a damaged file with whatever their parsing runs into
        raise InputError(f"weights {path}: truncated or damaged ({reason(error)}); {again}") from error
    check_vgg19(weights, path)
    return weights


def read_matconvnet(path):
    """The convolutions of a MatConvNet .mat, {name: (kernel, bias)}.

    The two published layouts differ in the order of their fields (today's begins with name and type,
    beta16's with weights), so every field is read by its name. Kernels stand as Keras wants them.
    """
    layers = scipy.io.loadmat(path, variable_names=["layers"]).get("layers")
    if layers is None:
        raise InputError(f"weights {path}: holds no 'layers', so it is no MatConvNet network; use {PUBLISHED_MAT}")
    weights = {}
    for layer in layers.ravel():
        layer = layer[0, 0]
        name = str(layer["name"].item())
        if str(layer["type"].item()) == "conv" and name.startswith("conv"):  # fc6 to fc8 are "conv" too
            kernel, bias = layer["weights"].ravel()
            weights[name] = kernel.astype("float32"), bias.astype("float32").ravel()
    return weights


def read_keras_h5(path):
    """The convolutions of a Keras VGG-19 .h5, with or without its top, {name: (kernel, bias)}.

    Reads the layout of the published files, where layers have their names, and Keras 3's, where the
    convolutions are numbered in order.
    """
    with h5py.File(path) as file:
        file = file.get("model_weights", file)  # a whole saved model keeps its weights one group lower
        arrays = {}
        if "layer_names" in file.attrs:
            for layer in map(as_text, file.attrs["layer_names"]):
                names = map(as_text, file[layer].attrs["weight_names"])
                arrays[layer] = [file[layer][name][()] for name in names if layer.startswith("block")]
        elif "layers" in file:
            numbered = [name for name in file["layers"] if name.startswith("conv2d")]
            if len(numbered) != len(CONVOLUTIONS):
                raise InputError(f"weights {path}: not VGG-19 but {len(numbered)} convolutions; use {PUBLISHED_MAT}")
            for i, name in enumerate(CONVOLUTIONS):
                variables = file["layers"][f"conv2d_{i}" if i else "conv2d"]["vars"]
                arrays[name] = [variables["0"][()], variables["1"][()]]
        else:
            raise InputError(f"weights {path}: an HDF5 file without Keras layers; use Keras' VGG-19 .h5")
    return from_keras(arrays)


def as_text(name):
    return name.decode() if isinstance(name, bytes) else name


def download_keras_weights():
    """Keras' own ImageNet weights (80 MB, hash checked, cached under ~/.keras), {name: (kernel, bias)}."""
    try:
        with contextlib.redirect_stdout(sys.stderr):  # where Keras shows how far it is
            model = keras.applications.VGG19(include_top=False, weights="imagenet")
    except Exception as error:  # Keras raises a bare Exception when the address cannot be reached
        raise InputError(
            f"weights imagenet: the download failed ({reason(error)}); try again, or name a file"
        ) from error
    return from_keras({layer.name: layer.get_weights() for layer in model.layers})


def from_keras(arrays):
    """{Keras layer: [kernel, bias]} -> {name: (kernel, bias)} for RGB pictures.

    Keras calls conv1_1 block1_conv1, and its kernels expect BGR: conv1_1's inputs are turned round.
    """
    weights = {}
    for layer, (kernel, bias) in ((layer, pair) for layer, pair in arrays.items() if len(pair) == 2):
        name = layer.replace("block", "conv").replace("_conv", "_")
        weights[name] = (kernel[:, :, ::-1] if name == "conv1_1" else kernel).astype("float32"), bias.astype("float32")
    return weights


def check_vgg19(weights, path):
    """Raises InputError, saying what was found, unless the weights are those of a VGG-19 (of any width)."""
    missing = [name for name in CONVOLUTIONS if name not in weights]
    if missing:
        found = f"{len(weights)} convolutions ({', '.join(weights)})" if weights else "no convolutions"
        vgg16 = ": a VGG-16" if missing == ["conv3_4", "conv4_4", "conv5_4"] else ""
        raise InputError(f"weights {path}: not VGG-19 but {found}{vgg16}; use {PUBLISHED_MAT}")
    channels = 3
    for name in CONVOLUTIONS:
        kernel, bias = weights[name]
        if kernel.ndim != 4 or kernel.shape[:3] != (3, 3, channels) or bias.shape != kernel.shape[3:]:
            raise InputError(
                f"weights {path}: {name} has a kernel of {kernel.shape} and a bias of {bias.shape}, "
                f"VGG-19 needs (3, 3, {channels}, n) and (n,); use {PUBLISHED_MAT}"
            )
        if not (np.isfinite(kernel).all() and np.isfinite(bias).all()):
            raise InputError(f"weights {path}: {name} holds nan or inf; use {PUBLISHED_MAT}")
        channels = kernel.shape[3]


def random_weights(names=CONVOLUTIONS, seed=4):
    """Untrained weights that carry style, {name: (kernel, bias)} of the first convolutions: no file, no download [He].

    Normal kernels with variance 1.15^2 * 2 / fan-in, no biases; behind conv1_1 the numbers of each
    kernel have mean 0. What decided was how photographs looked in the styles of images/ after 100 to
    200 epochs. With plain He-normal or orthogonal [Saxe] kernels the mean brightness, which all
    channels share, fills the Gram matrices: colours change places, brush strokes do not come. Kernels
    of mean 0 cannot see it. They must not begin in conv1_1 (grey, colour lost), nor take the mean from
    each input channel alone (more noise left). A gain of 1.0 paints with less texture; 1.27 and more,
    biases, or channels calibrated to mean 0 leave noise and patches that are never painted. Of the
    seeds 0 to 5, 4 painted the cleanest cat.
    """
    rng, channels, weights = np.random.default_rng(seed), 3, {}
    for name in names:
        n = VGG19_BLOCKS[int(name[4]) - 1][1]
        kernel = rng.standard_normal((3, 3, channels, n), "float32")
        if name != "conv1_1":
            kernel -= kernel.mean((0, 1, 2))
        kernel *= np.float32(1.15 * np.sqrt(2 / (9 * channels)))
        weights[name] = kernel, np.zeros(n, "float32")
        channels = n
    return weights


# --- Costs ----------------------------------------------------------------------------------------


def compute_content_cost(a_C, a_G):
    """J_content = sum((a_C - a_G)^2) / (4 n_H n_W n_C) of two (1, n_H, n_W, n_C) activations.

    [Gatys, equation 1] with the course's normalisation.
    """
    return tf.reduce_sum(tf.square(a_C - a_G)) / (4 * tf.cast(tf.size(a_G), a_G.dtype))


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


def guided_gram(a, T):
    """The Gram matrix of an activation (1, n_H, n_W, n_C) in one region [Guided, spatial control].

    T is guide()'s (1, n_H, n_W, 1) for the layer. A region that is the whole picture gives gram_per_position.
    """
    return correlate(tf.reshape(a * T, (-1, a.shape[-1])))


def guide(region, layers):
    """{layer: T (1, n_H, n_W, 1)}: how much each position of a layer belongs to a region, the sum of T^2 being 1.

    region is (n_H, n_W), 1 in the picture's pixels that belong and 0 elsewhere. It is shrunk as the
    network shrinks the picture, by averages of 2 x 2 [Guided].
    """
    T, guides = tf.constant(region, "float32")[tf.newaxis, ..., tf.newaxis], {}
    for block in range(1, len(VGG19_BLOCKS) + 1):
        unit = T / tf.norm(T)
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


def compute_style_cost(grams_S, grams_G, style_layers=STYLE_LAYERS):
    """J_style, the weighted sum of the layers' style costs [Gatys, equation 5].

    grams_S and grams_G are {layer: Gram matrix per position}, style_layers pairs of (layer, weight).
    """
    return tf.add_n([weight * compare_grams(grams_S[name], grams_G[name]) for name, weight in style_layers])


def total_variation(image):
    """The mean over pixels of the squared differences to the neighbours below and to the right [Mahendran].

    image is (1, n_H, n_W, 3). It is the paper's with beta 2, divided by n_H n_W, so that one weight
    serves every size.
    """
    down, right = image[:, 1:] - image[:, :-1], image[:, :, 1:] - image[:, :, :-1]
    pixels = tf.cast(tf.shape(image)[1] * tf.shape(image)[2], image.dtype)
    return (tf.reduce_sum(tf.square(down)) + tf.reduce_sum(tf.square(right))) / pixels


def total_cost(J_content, J_style, alpha=10, beta=40):
    """J = alpha J_content + beta J_style [Gatys, equation 7]."""
    return alpha * J_content + beta * J_style
