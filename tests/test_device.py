"""The device: lists of GPUs that the tests make, and the errors that TensorFlow raises on them."""

import pytest
import tensorflow as tf

import nst.run
from nst.errors import InputError
from nst.network import convolution, device

GPUS = ["GPU 0", "GPU 1"]


@pytest.fixture
def machine(monkeypatch):
    """Give TensorFlow GPUs: machine(gpus, started) returns what it is told afterwards."""

    def with_gpus(gpus, started=None):
        told = {"visible": gpus if started is None else started, "growing": [], "tf32": None}

        def set_visible(devices, kind):
            if started is not None and devices != started:
                raise RuntimeError("Visible devices cannot be modified after being initialized")
            told["visible"] = devices

        config, tests = tf.config, tf.config.experimental
        monkeypatch.setattr(config, "list_physical_devices", lambda kind: gpus)
        monkeypatch.setattr(config, "get_visible_devices", lambda kind: told["visible"])
        monkeypatch.setattr(config, "set_visible_devices", set_visible)
        monkeypatch.setattr(tests, "set_memory_growth", lambda gpu, grows: told["growing"].append(gpu))
        monkeypatch.setattr(tests, "enable_tensor_float_32_execution", lambda on: told.update(tf32=on))
        monkeypatch.setattr(tests, "get_device_details", lambda gpu: {"device_name": f"the {gpu}"})
        return told

    return with_gpus


@pytest.mark.parametrize("gpus, asked, seen", [
    (GPUS, "", GPUS[:1]), (GPUS, "gpu:0", GPUS[:1]), (GPUS, "gpu:1", GPUS[1:]), (GPUS, "cpu", []),
    ([], "", []), ([], "cpu", []),
])  # fmt: skip
def test_one_device_is_seen_and_its_memory_is_taken_as_needed(machine, gpus, asked, seen):
    told = machine(gpus)
    device.use(asked, exact=True)
    assert told["visible"] == told["growing"] == seen and device.gpu() == next(iter(seen), None)
    assert device.name() == f"the {seen[0]}" if seen else "processor thread" in device.name()


@pytest.mark.parametrize("gpus, there", [([], "no GPU"), (GPUS[:1], "1 GPU"), (GPUS, "2 GPUs")])
def test_a_gpu_that_is_not_there_is_an_error(machine, gpus, there):
    machine(gpus)
    with pytest.raises(InputError, match=f"argument --device: gpu:2 is not there; TensorFlow finds {there}$"):
        device.use("gpu:2", exact=True)


def test_a_process_keeps_the_device_that_it_began_with(machine):
    told = machine(GPUS, started=GPUS)
    device.use("", exact=True)
    device.use("gpu:0", exact=True)
    assert told["visible"] == GPUS and device.gpu() == "GPU 0"
    for other in ("gpu:1", "cpu"):
        with pytest.raises(InputError, match=f"--device: {other}: this process computes on another device already"):
            device.use(other, exact=True)


@pytest.mark.parametrize("flags, rounds", [((), False), (("--precision", "auto"), True)])
def test_only_a_run_that_asks_for_float32_keeps_a_gpu_from_rounding(machine, paint_here, flags, rounds):
    told = machine([])
    assert paint_here("--epochs", 1, *flags)[0] == 0 and told["tf32"] is rounds


@pytest.mark.parametrize("flags, status, line", [
    (("--device", "gpu:0"), 2, "argument --device: gpu:0 is not there; TensorFlow finds no GPU\n"),
    (("--device", "gpu"), 2, "argument --device: must be cpu or gpu:N, not 'gpu'\n"),
    (("--device", "cpu", "--epochs", 1), 0, None),
])  # fmt: skip
def test_the_flag(machine, paint_here, flags, status, line):
    machine([])
    found, _, told = paint_here(*flags)
    assert found == status and (not line or told == f"nst_main.py: error: {line}")


@pytest.mark.parametrize("error, is_one", [
    (MemoryError(), True),
    (tf.errors.ResourceExhaustedError(None, None, "OOM when allocating tensor"), True),
    (tf.errors.InternalError(None, None, "Blas GEMM launch failed : a.shape=(64, 64)"), True),
    (tf.errors.InternalError(None, None, "Failed to call ThenConvolve: CUDNN_STATUS_ALLOC_FAILED"), True),
    (tf.errors.UnknownError(None, None, "Failed to get convolution algorithm. cuDNN failed to initialize"), True),
    (tf.errors.NotFoundError(None, None, "No algorithm worked!"), True),
    (tf.errors.NotFoundError(None, None, "no such operation"), False),
    (tf.errors.InvalidArgumentError(None, None, "out of memory"), False),
    (ValueError("out of memory"), False),
])  # fmt: skip
def test_a_shortage_of_memory_is_known_by_its_errors(monkeypatch, paint_here, error, is_one):
    def fails(*_):
        raise error

    assert device.is_shortage(error) == is_one
    monkeypatch.setattr(nst.run.optimizers, "descend", fails)
    if is_one:
        told = "nst_main.py: error: out of memory with a picture of 40 x 30; lower --image_size\n"
        assert paint_here()[::2] == (1, told)
    else:
        with pytest.raises(type(error)):
            paint_here()


@pytest.mark.parametrize("flags, lines", [((), 1), (("--quiet",), 0)])
def test_a_tensorflow_that_cannot_compile_paints_without(monkeypatch, paint_here, caplog, flags, lines):
    def fails(*_):
        raise tf.errors.UnimplementedError(None, None, "Could not find compiler for platform Host\nmore")

    monkeypatch.setattr(convolution, "forward", fails)
    monkeypatch.setattr(nst.descent.sight, "COMPILED_PIXELS", 1)
    convolution.can_compile.cache_clear()
    try:
        assert paint_here("--epochs", 2, *flags)[0] == 0
        why = "this TensorFlow cannot compile, so that painting takes up to twice as long"
        told = f"{why} (Could not find compiler for platform Host)"
        assert [record.getMessage() for record in caplog.records] == [told] * lines
    finally:
        convolution.can_compile.cache_clear()
        nst.descent.sight.CACHE.kept.clear()
