"""Our convolutions against TensorFlow's, values and gradient, and the networks that are made of them."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import nst_utils
import recipe
from nst.network import convolution

SIZES = [(1, 1), (1, 9), (6, 1), (4, 4), (5, 8), (13, 10), (30, 41)]
ROUNDING = 3e-4  # values reach 30, and the transforms lose 1e-4 of them, more or less by processor


def tensors(height, width, inputs=5, outputs=7):
    rng = np.random.default_rng(0)
    shapes = (1, height, width, inputs), (3, 3, inputs, outputs), (1, height, width, outputs)
    return [tf.constant(rng.standard_normal(shape, "float32")) for shape in shapes]


@pytest.mark.parametrize("height, width", SIZES)
def test_it_is_the_convolution(height, width):
    x, kernel, _ = tensors(height, width)
    ours = convolution.convolve(x[0], convolution.transform_kernels(kernel), padding=1)
    np.testing.assert_allclose(ours, tf.nn.conv2d(x, kernel, 1, "SAME")[0], atol=ROUNDING)


@pytest.mark.parametrize("height, width", SIZES)
def test_with_turned_kernels_it_is_the_convolutions_gradient(height, width):
    x, kernel, upstream = tensors(height, width)
    ours = convolution.convolve(upstream[0], convolution.transform_kernels(kernel), padding=1, turned=True)
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = tf.nn.conv2d(x, kernel, 1, "SAME")
    np.testing.assert_allclose(ours, tape.gradient(y, x, upstream)[0], atol=ROUNDING)


@pytest.mark.parametrize("padding", [0, 1, 2])
@pytest.mark.parametrize("height, width", [(16, 9), (30, 41), (33, 9), (3, 50)])
def test_in_blocks_it_is_the_same(monkeypatch, height, width, padding):
    x, kernel, _ = tensors(height, width)
    kernels, bias = convolution.transform_kernels(kernel), tf.zeros(7)
    whole = convolution.in_blocks(convolution.forward, [x[0]], kernels, bias, padding=padding, channels=7)
    blocks = []

    def forward(x, kernels, bias, padding, rows=None):
        blocks.append(rows)
        return convolution.forward(x, kernels, bias, padding, rows)

    monkeypatch.setattr(convolution, "BLOCK_BYTES", 6_000)
    in_blocks = convolution.in_blocks(forward, [x[0]], kernels, bias, padding=padding, channels=7)
    assert len(blocks) > 1 or whole.shape[0] <= convolution.TILE
    assert whole.shape == (height + 2 * padding - 2, width + 2 * padding - 2, 7)
    np.testing.assert_allclose(in_blocks, whole, atol=ROUNDING)


@pytest.mark.parametrize("block_bytes", [convolution.BLOCK_BYTES, 20_000])
@pytest.mark.parametrize("way, padding", [("Winograd", "same"), ("Winograd", "valid"), ("Turned", "valid")])
def test_a_layer_gives_what_the_convolution_with_relu_gave(monkeypatch, thin_model, block_bytes, way, padding):
    monkeypatch.setattr(convolution, "BLOCK_BYTES", block_bytes)
    given = thin_model.get_layer("conv2_1")
    plain = type(given).from_config({**given.get_config(), "padding": padding})
    plain.build((1, 30, 21, 8))
    plain.set_weights(given.get_weights())
    layer = getattr(convolution, f"{way}Conv2D")(plain)
    x = tensors(30, 21, inputs=8)[0]
    results = []
    for convolve in (plain, layer):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = convolve(x)
        results.append((y, tape.gradient(y, x, y)))
    for theirs, ours in zip(*results, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=ROUNDING)


@pytest.mark.parametrize("padding, kind", [("zeros", keras.layers.Conv2D), ("replicate", convolution.TurnedConv2D)])
def test_the_originals_convolutions_stay_tensorflows(inputs, padding, kind):
    turned = convolution.turn(nst_utils.load_vgg_model(inputs / "thin.mat", padding=padding))
    assert {type(layer) for layer in turned.layers if "conv" in type(layer).__name__.lower()} == {kind}


def test_only_convolutions_behind_the_first_are_replaced_and_activations_stay(thin_model):
    fast = convolution.accelerate(thin_model)
    assert [layer.name for layer in fast.layers] == [layer.name for layer in thin_model.layers]
    for ours, theirs in zip(fast.layers[1:], thin_model.layers[1:], strict=True):
        is_winograd = theirs.name.startswith("conv") and theirs.name != "conv1_1"
        assert isinstance(ours, convolution.WinogradConv2D) if is_winograd else ours is theirs
    assert convolution.accelerate(thin_model) is fast
    image = nst_utils.reshape_and_normalize_image(recipe.content(height=37, width=50))
    ours, theirs = fast(image), thin_model(image)
    assert ours.keys() == theirs.keys()
    for name in theirs:
        np.testing.assert_allclose(ours[name], theirs[name], atol=1e-4 * np.abs(theirs[name]).max())
