"""Our convolutions against TensorFlow's, values and gradient, and the networks that are made of them."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import nst_utils
import recipe
from nst.network import convolution, device

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


@pytest.mark.parametrize("pooling", ["avg", "max"])
@pytest.mark.parametrize("padding", ["zeros", "replicate"])
def test_in_bfloat16_activations_and_their_gradient_are_nearly_the_same(inputs, pooling, padding):
    """A number keeps 8 bits, roundings add up over the layers, and maxima of equal values change places."""
    model = nst_utils.load_vgg_model(inputs / "thin.mat", pooling=pooling, padding=padding)
    narrow = convolution.narrow(model)
    assert [layer.name for layer in narrow.layers] == [layer.name for layer in model.layers]
    image = tf.constant(nst_utils.reshape_and_normalize_image(recipe.content(height=37, width=50)))
    results = []
    for network in model, narrow:
        with tf.GradientTape() as tape:
            tape.watch(image)
            seen = {name: tf.cast(a, "float32") for name, a in network(image).items()}
            J = tf.add_n([tf.reduce_mean(tf.square(a)) / tf.math.reduce_variance(a) for a in seen.values()])
        results.append(({name: a.numpy() for name, a in seen.items()}, tape.gradient(J, image).numpy().ravel()))
    (theirs, dJ), (ours, narrow_dJ) = results
    for name in theirs:
        assert 0 < np.abs(ours[name] - theirs[name]).mean() < 0.02 * np.abs(theirs[name]).mean()
    assert dJ @ narrow_dJ > 0.95 * np.linalg.norm(dJ) * np.linalg.norm(narrow_dJ)
    assert {a.dtype for a in narrow(image).values()} == {tf.bfloat16}


X86 = "flags\t\t: fpu avx512f avx512_bf16 avx512_vnni\n"


@pytest.mark.parametrize(
    "told, capability, expected",
    [
        (X86, None, True),
        ("flags\t\t: fpu avx2 bf16_not_quite\n", None, False),
        ("Features\t: fp asimd bf16 i8mm\n", None, True),
        (None, None, False),
        (X86, (7, 5), False),
        (None, (8, 0), True),
        (X86, (), False),
    ],
)
def test_bfloat16_is_found_where_it_is(monkeypatch, tmp_path, told, capability, expected):
    """The GPU says it, if there is one, and else Linux's /proc/cpuinfo."""
    monkeypatch.setattr(device, "CPU_INFO", tmp_path / "cpuinfo")
    if told:
        (tmp_path / "cpuinfo").write_text(told)
    if capability is not None:
        details = {"compute_capability": capability} if capability else {}
        monkeypatch.setattr(tf.config, "get_visible_devices", lambda kind: ["a GPU"])
        monkeypatch.setattr(tf.config.experimental, "get_device_details", lambda gpu: details)
    assert device.has_bfloat16() == expected


@pytest.mark.parametrize("precision, has_it, is_narrow", [
    ("float32", True, False), ("bfloat16", False, True), ("auto", True, True), ("auto", False, False),
])  # fmt: skip
def test_a_run_computes_in_the_precision_asked_for(monkeypatch, paint_here, precision, has_it, is_narrow):
    monkeypatch.setattr(device, "has_bfloat16", lambda: has_it)
    status, told, _ = paint_here("--precision", precision, "--epochs", 2)
    assert status == 0 and (", in bfloat16" in told) == is_narrow
