"""Files of weights that are not VGG-16's or VGG-19's: each is told in one line."""

import pathlib
import zipfile

import h5py
import keras
import numpy as np
import pytest
import safetensors.numpy
import scipy.io

import nst_utils
import recipe
from nst.errors import InputError
from nst.network import weights as networks

THIN_16, THIN_19 = (recipe.kernels(width=0.125, blocks=recipe.NETWORKS[name]) for name in ("VGG-16", "VGG-19"))


def vgg13(path):
    blocks = tuple((2, channels) for _, channels in recipe.BLOCKS)
    recipe.write_mat(path, recipe.kernels(width=0.125, blocks=blocks))


def vgg13_of_keras(path):
    x = image = keras.Input((None, None, 3))
    for _ in range(10):
        x = keras.layers.Conv2D(4, 3)(x)
    keras.Model(image, x).save_weights(path.with_suffix(".weights.h5"))
    path.with_suffix(".weights.h5").rename(path)


def cut_short(path):
    recipe.write_mat(path, THIN_19)
    path.write_bytes(path.read_bytes()[:-5000])


def cut_keras_short(path):
    recipe.write_keras_h5(path, THIN_19)
    path.write_bytes(path.read_bytes()[:-5000])


def cut_safetensors_short(path):
    recipe.write_safetensors(path, THIN_19)
    path.write_bytes(path.read_bytes()[:-5000])


def other_mat(path):
    scipy.io.savemat(path, {"x": np.ones(3)})


def mat_of_other_things(path):
    scipy.io.savemat(path, {"layers": np.ones(3)})


def transposed(path):
    recipe.write_mat(path, {name: (kernel.transpose(3, 2, 0, 1), bias) for name, (kernel, bias) in THIN_19.items()})


def with_nan(path):
    recipe.write_mat(path, {**THIN_19, "conv2_2": (THIN_19["conv2_2"][0] * np.nan, THIN_19["conv2_2"][1])})


def resnet(path):
    names = ("conv1.weight", "bn1.weight", "layer1.0.conv1.weight", "fc.weight")
    safetensors.numpy.save_file({name: np.ones((4, 3, 3, 3), "float32") for name in names}, path)


def vgg_with_batch_normalization(path):
    names = ("features.0.weight", "features.0.bias", "features.1.weight", "features.1.running_mean")
    safetensors.numpy.save_file({name: np.ones(4, "float32") for name in names}, path)


def vgg11_of_torch(path):
    names = [f"features.{i}.{kind}" for i in (0, 3, 6, 8, 11, 13, 16, 18) for kind in ("weight", "bias")]
    safetensors.numpy.save_file({name: np.ones(4, "float32") for name in names}, path)


def pickled(path):
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("vgg19/data.pkl", b"\x80\x02}q\x00.")


WRONG_FILES = {
    "another vgg": (
        vgg13,
        r"holds 10 convolutions \(.*\), so it is neither VGG-16 nor VGG-19; use imagenet",
    ),
    "another vgg of keras": (vgg13_of_keras, "holds 10 convolutions, so it is neither VGG-16 nor VGG-19; use"),
    "cut short": (cut_short, "truncated or damaged .* download .* again"),
    "h5 cut short": (cut_keras_short, "truncated or damaged .* download .* again"),
    "safetensors cut short": (cut_safetensors_short, "truncated or damaged .* download .* again"),
    "another mat": (other_mat, "holds no 'layers'"),
    "a mat with other layers": (mat_of_other_things, "truncated or damaged|neither VGG-16"),
    "transposed kernels": (transposed, r"conv1_1 has a kernel of \(8, 3, 3, 3\)"),
    "nan": (with_nan, "conv2_2 holds nan or inf"),
    "resnet": (resnet, "not torchvision's vgg16 or vgg19 but a network that begins with bn1.weight; use one of these"),
    "vgg11 of torch": (vgg11_of_torch, "not torchvision's vgg16 or vgg19 but 8 feature layers; use one of these"),
    "batch normalization": (vgg_with_batch_normalization, "a VGG with batch normalization; use torchvision's vgg19"),
    "a pth": (pickled, r"a PyTorch pickle, which can run code and is not read; .*safetensors\.torch\.save_file"),
    "an old pth": (b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.", "a PyTorch pickle, which can run code"),
    "git lfs": (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "a Git LFS pointer.*git lfs pull"),
    "html": (b"\n <!DOCTYPE html><html><body>404</body></html>", "a web page, not weights; download"),
    "matlab 7.3": (b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(512) + b"\x89HDF\r\n\x1a\n", "a MATLAB 7.3 file"),
    "empty": (b"", "an empty file"),
    "something else": (b"PK\x03\x04 a zip", r"neither a MATLAB 5 \.mat, a Keras \.h5 nor a \.safetensors"),
    "hdf5 without layers": (lambda path: h5py.File(path, "w").close(), "without Keras layers"),
}


@pytest.mark.parametrize("make, told", WRONG_FILES.values(), ids=WRONG_FILES.keys())
def test_a_wrong_file_is_told_in_one_line(tmp_path, make, told):
    path = tmp_path / "weights.mat"
    path.write_bytes(make) if isinstance(make, bytes) else make(path)
    with pytest.raises(InputError, match=told) as error:
        nst_utils.load_vgg_model(path)
    assert str(error.value).startswith(f"weights {path}: ") and "\n" not in str(error.value)


def test_a_pickle_ends_the_run_in_one_line(paint_here, tmp_path):
    pickled(tmp_path / "vgg19.pth")
    status, printed, told = paint_here("--weights", "vgg19.pth")
    assert (status, printed, told.count("\n")) == (2, "", 1) and "which can run code" in told


def test_a_missing_file_is_told(tmp_path):
    with pytest.raises(InputError, match=r"cannot be read \(No such file"):
        nst_utils.load_vgg_model(tmp_path / "nothing.mat")


def test_memory_that_gives_out_is_not_called_damage(tmp_path, monkeypatch):
    def fails(path):
        raise MemoryError

    recipe.write_mat(tmp_path / "vgg.mat", THIN_16)
    monkeypatch.setattr(networks, "read_matconvnet", fails)
    with pytest.raises(MemoryError):
        networks.read(pathlib.Path(tmp_path / "vgg.mat"))
