"""The device: functions stand in for TensorFlow's where a machine has GPUs, and raise its errors."""

import subprocess
import sys

import pytest
import tensorflow as tf

import nst.run
from nst.errors import InputError
from nst.network import convolution, device

GPUS = ["GPU 0", "GPU 1"]


@pytest.fixture
def machine(monkeypatch):
    """machine(gpus, visible) is a machine with these GPUs; it returns what TensorFlow is told afterwards.

    If started, TensorFlow has computed already, and sees what it sees.
    """

    def with_gpus(gpus, visible=None, started=False):
        told = {"visible": gpus if visible is None else visible, "growing": [], "tf32": None}

        def set_visible(devices, kind):
            if started and devices != told["visible"]:
                raise RuntimeError("Visible devices cannot be modified after being initialized")
            told["visible"] = devices

        def set_growth(gpu, grows):
            if started:
                raise RuntimeError("Physical devices cannot be modified after being initialized")
            told["growing"].append(gpu)

        config, more = tf.config, tf.config.experimental
        monkeypatch.setattr(config, "list_physical_devices", lambda kind: gpus)
        monkeypatch.setattr(config, "get_visible_devices", lambda kind: told["visible"])
        monkeypatch.setattr(config, "set_visible_devices", set_visible)
        monkeypatch.setattr(more, "set_memory_growth", set_growth)
        monkeypatch.setattr(more, "enable_tensor_float_32_execution", lambda on: told.update(tf32=on))
        monkeypatch.setattr(more, "get_device_details", lambda gpu: {"device_name": f"the {gpu}"})
        return told

    return with_gpus


@pytest.mark.parametrize("visible, asked, seen", [
    (GPUS, "", GPUS[:1]), (GPUS, "gpu:0", GPUS[:1]), (GPUS, "gpu:1", GPUS[1:]), (GPUS, "cpu", []),
    (GPUS[1:], "", GPUS[1:]), ([], "", []), ([], "cpu", []),
])  # fmt: skip
def test_one_device_is_seen_and_its_memory_is_taken_as_needed(machine, visible, asked, seen):
    told = machine(GPUS, visible)
    device.use(asked)
    assert told == {"visible": seen, "growing": seen, "tf32": False} and device.gpu() == next(iter(seen), None)
    assert device.name() == f"the {seen[0]}" if seen else "processor thread" in device.name()


@pytest.mark.parametrize("gpus, there", [([], "no GPU"), (GPUS[:1], "1 GPU"), (GPUS, "2 GPUs")])
def test_a_gpu_that_is_not_there_is_an_error(machine, gpus, there):
    machine(gpus)
    with pytest.raises(InputError, match=f"argument --device: gpu:2 is not there; TensorFlow finds {there}$"):
        device.use("gpu:2")


def test_a_process_keeps_the_device_that_it_began_with(machine):
    told = machine(GPUS, started=True)
    device.use("")
    device.use("gpu:0")
    assert told["visible"] == GPUS and device.gpu() == "GPU 0"
    for other in ("gpu:1", "cpu"):
        with pytest.raises(InputError, match=f"--device: {other}: this process computes on another device already"):
            device.use(other)


def test_the_run_can_still_choose_when_it_is_imported():
    """TensorFlow computes nothing before: else it would have taken all GPUs."""
    code = "import tensorflow as tf; import nst.run; tf.config.set_visible_devices([], 'CPU')"
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


@pytest.mark.parametrize("more", [(), ("--vary", "beta", 1, 2)], ids=["one", "batch"])
@pytest.mark.parametrize("asked, line", [
    ("gpu:0", "gpu:0 is not there; TensorFlow finds no GPU"), ("gpu", "must be cpu or gpu:N, not 'gpu'"),
])  # fmt: skip
def test_a_wrong_device_is_a_mistake_in_the_command(machine, paint_here, tmp_path, asked, line, more):
    machine([])
    status, _, told = paint_here("--device", asked, *more)
    assert (status, told) == (2, f"nst_main.py: error: argument --device: {line}\n")
    assert not [path for path in (tmp_path / "output").rglob("*") if path.is_file() and path.suffix != ".lock"]


@pytest.mark.parametrize("error, told", [
    (MemoryError(), ""),
    (tf.errors.ResourceExhaustedError(None, None, "OOM when allocating tensor"), ""),
    (tf.errors.InternalError(None, None, "Blas GEMM launch failed : a.shape=(64, 64)\nmore"),
     " (Blas GEMM launch failed : a.shape=(64, 64))"),
    (tf.errors.UnknownError(None, None, "CUDNN_STATUS_ALLOC_FAILED"), " (CUDNN_STATUS_ALLOC_FAILED)"),
    (tf.errors.NotFoundError(None, None, "No algorithm worked!"), " (No algorithm worked!)"),
    (tf.errors.NotFoundError(None, None, "no such operation\n/home/bloom/room.py"), None),
    (tf.errors.InvalidArgumentError(None, None, "out of memory"), None),
    (ValueError("out of memory"), None),
])  # fmt: skip
def test_a_shortage_of_memory_is_known_by_its_errors(monkeypatch, paint_here, error, told):
    def fails(*_):
        raise error

    monkeypatch.setattr(nst.run.optimizers, "descend", fails)
    if told is None:
        with pytest.raises(type(error)):
            paint_here()
    else:
        line = f"nst_main.py: error: out of memory with a picture of 40 x 30; lower --image_size{told}\n"
        assert paint_here()[::2] == (1, line)


@pytest.mark.parametrize("quiet", [(), ("--quiet",)])
def test_a_tensorflow_that_cannot_compile_paints_without(monkeypatch, paint_here, quiet):
    def fails(*_):
        raise tf.errors.UnimplementedError(None, None, "Could not find compiler for platform Host\nmore")

    monkeypatch.setattr(convolution, "forward", fails)
    monkeypatch.setattr(nst.descent.sight, "COMPILED_PIXELS", 1)
    convolution.why_not_compiled.cache_clear()
    nst.descent.sight.CACHE.kept.clear()
    try:
        status, said, told = paint_here("--epochs", 2, *quiet)
        line = "This TensorFlow cannot compile (Could not find compiler for platform Host)"
        assert (status, told) == (0, "") and said.count(line) == (not quiet)
    finally:
        convolution.why_not_compiled.cache_clear()
        nst.descent.sight.CACHE.kept.clear()
