"""Makes the inputs of the tests: VGG weight files in their published layouts, pictures, and costs of arrays.

Everything is seeded. At full width, kernels(), content() and style() are the inputs for which the original
TensorFlow 1 program printed the figures in parity.json.
"""

import h5py
import numpy as np
import safetensors.numpy
import scipy.io

BLOCKS = ((2, 64), (2, 128), (4, 256), (4, 512), (4, 512))
NETWORKS = {"VGG-19": BLOCKS, "VGG-16": tuple((min(count, 3), channels) for count, channels in BLOCKS)}


def kernels(width=1.0, blocks=BLOCKS):
    """{name: (kernel (3, 3, in, out), bias (out,))} of the convolutions, width times as many channels."""
    rng, inputs, weights = np.random.default_rng(0), 3, {}
    for block, (count, channels) in enumerate(blocks, 1):
        outputs = int(channels * width)
        for i in range(1, count + 1):
            kernel = rng.standard_normal((3, 3, inputs, outputs)) * np.sqrt(2 / (9 * inputs))
            bias = rng.standard_normal(outputs) * 0.5
            weights[f"conv{block}_{i}"] = kernel.astype("float32"), bias.astype("float32")
            inputs = outputs
    return weights


def matlab_struct(**fields):
    record = np.empty((1, 1), dtype=[(name, object) for name in fields])
    record[0, 0] = tuple(fields.values())
    return record


def matlab_cell(items):
    cell = np.empty((1, len(items)), object)
    cell[0, :] = items
    return cell


def write_mat(path, weights, layout="current", top=0):
    """A MatConvNet file: 'current' has name and type first, 'beta16' weights first and no meta struct.

    With top it has fully connected layers of so many channels; VGG-19's have 4096, and 500 MB.
    """
    layers = []
    for name, (kernel, bias) in weights.items():
        if name.endswith("_1") and name != "conv1_1":
            layers.append(matlab_struct(name=f"pool{int(name[4]) - 1}", type="pool", method="max"))
        if layout == "current":
            pair = matlab_cell([kernel, bias[np.newaxis]])
            layers.append(matlab_struct(name=name, type="conv", weights=pair, pad=[[1, 1, 1, 1]], stride=[[1, 1]]))
            layers.append(
                matlab_struct(name=name.replace("conv", "relu"), type="relu", leak=0, weights=matlab_cell([]))
            )
        else:
            pair = matlab_cell([kernel, bias[:, np.newaxis]])
            layers.append(matlab_struct(weights=pair, pad=[[1, 1, 1, 1]], type="conv", name=name, stride=[[1, 1]]))
            layers.append(matlab_struct(type="relu", name=name.replace("conv", "relu")))
    if top:
        shapes = {"fc6": (7, 7, kernel.shape[3], top), "fc7": (1, 1, top, top), "fc8": (1, 1, top, 1000)}
        for name, shape in shapes.items():
            pair = matlab_cell([np.ones(shape, "float32"), np.zeros((1, shape[3]), "float32")])
            layers.append(matlab_struct(name=name, type="conv", weights=pair, pad=[[0, 0, 0, 0]], stride=[[1, 1]]))
        layers.append(matlab_struct(name="prob", type="softmax"))
    normalization = matlab_struct(averageImage=np.array([123.68, 116.779, 103.939]).reshape(1, 1, 3))
    outside = (
        {"normalization": normalization} if layout == "beta16" else {"meta": matlab_struct(normalization=normalization)}
    )
    scipy.io.savemat(path, {"layers": matlab_cell(layers), **outside})


def write_keras_h5(path, weights, with_top=False):
    """The layout of Keras' published VGG files, whose conv1_1 expects BGR."""
    with h5py.File(path, "w") as file:
        names = []
        for name, (kernel, bias) in weights.items():
            layer = name.replace("conv", "block").replace("_", "_conv")
            group = file.create_group(layer)
            group[f"{layer}_W_1:0"] = kernel[:, :, ::-1] if name == "conv1_1" else kernel
            group[f"{layer}_b_1:0"] = bias
            group.attrs["weight_names"] = [f"{layer}_W_1:0".encode(), f"{layer}_b_1:0".encode()]
            names.append(layer.encode())
        for extra in ["block1_pool", *(["flatten", "fc1"] if with_top else [])]:
            group = file.create_group(extra)
            group.attrs["weight_names"] = [b"fc1_W_1:0", b"fc1_b_1:0"] if extra == "fc1" else []
            if extra == "fc1":
                group["fc1_W_1:0"], group["fc1_b_1:0"] = np.ones((8, 4), "float32"), np.zeros(4, "float32")
            names.append(extra.encode())
        file.attrs["layer_names"] = names


def write_hed_h5(path, weights):
    """The layout of the edge detector's file: a VGG-16 whose convolutions are numbered in each block, for BGR."""
    with h5py.File(path, "w") as file:
        for name, (kernel, bias) in weights.items():
            i = int(name[6]) - 1
            layer = file.create_group(f"block{name[4]}/layers/conv2d{f'_{i}' if i else ''}/vars")
            layer["0"], layer["1"] = kernel[:, :, ::-1] if name == "conv1_1" else kernel, bias
        side = file.create_group("dsn1/vars")
        side["0"], side["1"] = np.ones((1, 1, 8, 1), "float32"), np.zeros(1, "float32")


def write_safetensors(path, weights, top=0, dtype="float32"):
    """torchvision's vgg16 or vgg19; with top it has a fully connected layer of so many channels."""
    arrays, i, before = {}, 0, "1"
    for name, (kernel, bias) in weights.items():
        i += name[4] != before  # a pooling
        before = name[4]
        arrays[f"features.{i}.weight"] = np.ascontiguousarray(kernel.transpose(3, 2, 0, 1), dtype)
        arrays[f"features.{i}.bias"] = bias.astype(dtype)
        i += 2  # and a ReLU
    if top:
        arrays["classifier.0.weight"], arrays["classifier.0.bias"] = np.ones((top, 4), dtype), np.zeros(top, dtype)
    safetensors.numpy.save_file(arrays, path)


def picture(seed, height=300, width=400):
    """uint8 (height, width, 3): smooth shading, twelve discs with hard edges, and a little noise."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width] / np.reshape([height, width], (2, 1, 1))
    shading = rng.uniform(-3, 3, (3, 3))
    pixels = np.stack([0.5 + 0.5 * np.sin(2 * np.pi * (a * x + b * y) + c) for a, b, c in shading], -1)
    for disc in rng.uniform(0, 1, (12, 6)):
        pixels[(y - disc[0]) ** 2 + (x - disc[1]) ** 2 < (0.05 + 0.15 * disc[2]) ** 2] = disc[3:]
    pixels += rng.normal(0, 0.03, pixels.shape)
    return (pixels.clip(0, 1) * 255).astype("uint8")


def content(**size):
    return picture(1, **size)


def style(**size):
    return picture(2, **size)


def cost(model, C, styles, regions=None, trust=None, start=None, evaluations=1, **settings):
    """The Cost of C and of styles, mean-subtracted arrays (1, n_H, n_W, 3) or pairs (array, regions).

    Layers can be given as pairs (layer, weight); with several styles the weight is a tuple. The rest are Settings.
    """
    from nst.descent.cost import Cost
    from nst.pictures.masks import EVERYWHERE
    from nst.pictures.originals import Picture
    from nst.pictures.scene import Scene
    from nst.settings import Settings

    def layers(pairs):
        return tuple(f"{name}:{','.join(map(str, np.ravel(weight)))}" for name, weight in pairs)

    settings |= {name: layers(settings[name]) for name in ("content_layers", "style_layers") if name in settings}
    pairs = [style if isinstance(style, tuple) else (style, None) for style in styles]
    pictures = tuple(Picture(S, its or {EVERYWHERE: 1}) for S, its in pairs)
    scene = Scene(Picture(C, regions or {EVERYWHERE: 1}), pictures, C if start is None else start, trust)
    settings = Settings(style_image_filename=("style.png",) * len(styles), **settings)
    return Cost(model, scene, settings, evaluations)
