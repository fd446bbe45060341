"""VGG-19 from its published files, the model that is built of them, and clear words for all other files."""

import keras
import numpy as np
import pytest
import scipy.io

import nst_utils
import recipe

THIN = recipe.kernels(width=0.125)
VGG16 = tuple((min(count, 3), channels) for count, channels in recipe.BLOCKS)


def same_weights(found):
    assert set(found) == set(THIN)
    for name, (kernel, bias) in THIN.items():
        np.testing.assert_array_equal(found[name][0], kernel)
        np.testing.assert_array_equal(found[name][1], bias)


@pytest.mark.parametrize("top", [0, 4])
@pytest.mark.parametrize("layout", ["current", "beta16"])
def test_both_mat_layouts_give_the_kernels_as_they_stand(tmp_path, layout, top):
    recipe.write_mat(tmp_path / "vgg.mat", THIN, layout, top)
    same_weights(nst_utils.read_weights(tmp_path / "vgg.mat"))


@pytest.mark.parametrize("with_top", [False, True])
def test_published_keras_h5_gives_the_kernels_turned_to_rgb(tmp_path, with_top):
    recipe.write_keras_h5(tmp_path / "vgg.h5", THIN, with_top)
    same_weights(nst_utils.read_weights(tmp_path / "vgg.h5"))


@pytest.mark.parametrize("save", ["save_weights", "save"])
def test_h5_written_by_todays_keras_is_read(tmp_path, save):
    x = image = keras.Input((None, None, 3))
    for name, (kernel, _) in THIN.items():
        layer = name.replace("conv", "block").replace("_", "_conv")
        x = keras.layers.Conv2D(kernel.shape[3], 3, padding="same", name=layer)(x)
    model = keras.Model(image, x)
    for layer, (name, (kernel, bias)) in zip(model.layers[1:], THIN.items(), strict=True):
        layer.set_weights([kernel[:, :, ::-1] if name == "conv1_1" else kernel, bias])
    getattr(model, save)(tmp_path / "vgg.weights.h5")
    same_weights(nst_utils.read_weights(tmp_path / "vgg.weights.h5"))


def test_imagenet_comes_from_keras_turned_to_rgb(monkeypatch):
    class Layer:
        def __init__(self, name, arrays):
            self.name, self.get_weights = name, lambda: arrays

    class Network:
        layers = (
            Layer("input", []),
            *(
                Layer(
                    name.replace("conv", "block").replace("_", "_conv"), [k[:, :, ::-1] if name == "conv1_1" else k, b]
                )
                for name, (k, b) in THIN.items()
            ),
        )

    def downloader(include_top, weights):
        assert not include_top and weights == "imagenet"
        return Network

    monkeypatch.setattr(keras.applications, "VGG19", downloader)
    same_weights(nst_utils.download_keras_weights())


def test_a_failed_download_is_one_line(monkeypatch):
    def downloader(**_):
        raise Exception("URL fetch failure on https://...: None -- no route\nand more")

    monkeypatch.setattr(keras.applications, "VGG19", downloader)
    with pytest.raises(
        nst_utils.InputError, match=r"^weights imagenet: the download failed \(URL fetch failure.*\); try"
    ) as told:
        nst_utils.load_vgg_model("imagenet")
    assert "\n" not in str(told.value)


def test_random_weights_are_seeded_and_of_vgg19s_shape():
    weights, again = nst_utils.random_weights(), nst_utils.random_weights()
    nst_utils.check_vgg19(weights, "random")
    assert [kernel.shape for kernel, _ in weights.values()] == [kernel.shape for kernel, _ in recipe.kernels().values()]
    assert all((weights[name][0] == again[name][0]).all() for name in weights)
    assert abs(weights["conv3_2"][0].mean((0, 1, 2))).max() < 1e-6


# --- the model --------------------------------------------------------------------------------------


def test_model_is_cut_after_the_deepest_layer_asked_for():
    names = [layer.name for layer in nst_utils.build_model(THIN, ("conv1_1", "conv3_2")).layers]
    assert names == ["image", "conv1_1", "conv1_2", "avgpool1", "conv2_1", "conv2_2", "avgpool2", "conv3_1", "conv3_2"]


def test_model_has_the_papers_layers_and_is_frozen(thin_model):
    assert set(thin_model.output) == {"conv4_2", "conv1_1", "conv2_1", "conv3_1", "conv4_1", "conv5_1"}
    assert thin_model.layers[-1].name == "conv5_1"
    assert not thin_model.trainable_variables
    assert [layer.name for layer in thin_model.layers if "pool" in layer.name] == [f"avgpool{i}" for i in range(1, 5)]


def test_channel_counts_come_from_the_file(thin_model):
    assert thin_model.get_layer("conv4_2").output.shape[-1] == 64


def test_an_unknown_layer_is_told_with_those_there_are():
    with pytest.raises(nst_utils.InputError, match="no layer conv9_9: VGG-19 has conv1_1, conv1_2"):
        nst_utils.build_model(THIN, ("conv9_9",))


# --- files that are not VGG-19 ---------------------------------------------------------------------


def vgg16(path):
    recipe.write_mat(path, recipe.kernels(width=0.125, blocks=VGG16))


def cut_short(path):
    recipe.write_mat(path, THIN)
    path.write_bytes(path.read_bytes()[:-5000])


def cut_keras_short(path):
    recipe.write_keras_h5(path, THIN)
    path.write_bytes(path.read_bytes()[:-5000])


def other_mat(path):
    scipy.io.savemat(path, {"x": np.ones(3)})


def mat_of_other_things(path):
    scipy.io.savemat(path, {"layers": np.ones(3)})


def transposed(path):
    recipe.write_mat(path, {name: (kernel.transpose(3, 2, 0, 1), bias) for name, (kernel, bias) in THIN.items()})


def with_nan(path):
    recipe.write_mat(path, {**THIN, "conv2_2": (THIN["conv2_2"][0] * np.nan, THIN["conv2_2"][1])})


WRONG_FILES = {
    "vgg16": (vgg16, "not VGG-19 but 13 convolutions .*: a VGG-16; use imagenet-vgg-verydeep-19.mat"),
    "cut short": (cut_short, "truncated or damaged .* download .* again"),
    "h5 cut short": (cut_keras_short, "truncated or damaged .* download .* again"),
    "another mat": (other_mat, "holds no 'layers'"),
    "a mat with other layers": (mat_of_other_things, "truncated or damaged|not VGG-19"),
    "transposed kernels": (transposed, r"conv1_1 has a kernel of \(8, 3, 3, 3\)"),
    "nan": (with_nan, "conv2_2 holds nan or inf"),
    "git lfs": (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "a Git LFS pointer.*git lfs pull"),
    "html": (b"\n <!DOCTYPE html><html><body>404</body></html>", "a web page, not weights; download"),
    "matlab 7.3": (b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(512) + b"\x89HDF\r\n\x1a\n", "a MATLAB 7.3 file"),
    "empty": (b"", "an empty file"),
    "something else": (b"PK\x03\x04 a zip", "neither a MATLAB 5 .mat nor a Keras .h5"),
    "hdf5 without layers": (lambda path: recipe.h5py.File(path, "w").close(), "without Keras layers"),
}


@pytest.mark.parametrize("make, told", WRONG_FILES.values(), ids=WRONG_FILES.keys())
def test_a_wrong_file_is_told_in_one_line(tmp_path, make, told):
    path = tmp_path / "weights.mat"
    path.write_bytes(make) if isinstance(make, bytes) else make(path)
    with pytest.raises(nst_utils.InputError, match=told) as error:
        nst_utils.load_vgg_model(path)
    assert str(error.value).startswith(f"weights {path}: ") and "\n" not in str(error.value)


def test_a_missing_file_is_told(tmp_path):
    with pytest.raises(nst_utils.InputError, match=r"cannot be read \(No such file"):
        nst_utils.load_vgg_model(tmp_path / "nothing.mat")
