"""The device that the network runs on: a GPU or the processor.

No GPU was there to try this on. In the tests, functions stand in for TensorFlow's, and raise its errors.
"""

import contextlib
import os
import pathlib
import re

import tensorflow as tf

from nst.errors import InputError, reason

CPU_INFO = pathlib.Path("/proc/cpuinfo")
DRIVER = pathlib.Path("/proc/driver/nvidia/gpus")  # where Linux lists NVIDIA's GPUs
# A GPU without memory does not always say so by a ResourceExhaustedError. TensorFlow's users report these texts
# (github.com/tensorflow/tensorflow/issues: 7025, 43764, 45068, 60713).
SHORTAGES = tf.errors.InternalError, tf.errors.UnknownError, tf.errors.NotFoundError
SAID = re.compile(
    r"out of memory|\bOOM\b|alloc_failed|failed to allocate|no algorithm worked|get convolution algorithm"
    r"|gemm launch failed|without blas support|dst tensor is not initialized",
    re.IGNORECASE,
)


def use(device):
    """Let TensorFlow see one device: "cpu", "gpu:N", or "" for the first GPU that it sees, or else the processor.

    This process takes a GPU's memory as it needs it, so that other processes can use the same GPU. Products of float32
    are not rounded to TensorFloat-32, as GPUs can do: costs would not be the original's. Raises InputError if there is
    no such GPU, or if TensorFlow has computed on another device before.
    """
    gpus = tf.config.list_physical_devices("GPU")
    kind, _, number = device.partition(":")
    if kind == "gpu" and int(number) >= len(gpus):
        there = f"{len(gpus)} GPU{'s' if len(gpus) > 1 else ''}" if gpus else "no GPU"
        raise InputError(f"argument --device: {device} is not there; TensorFlow finds {there}")
    seen = tf.config.get_visible_devices("GPU")
    chosen = {"cpu": [], "gpu": gpus[int(number or 0) :][:1], "": seen[:1]}[kind]
    try:
        tf.config.set_visible_devices(chosen, "GPU")
    except RuntimeError as error:  # TensorFlow has started to compute
        if seen[:1] != chosen:
            told = f"argument --device: {device}: this process computes on another device already; start Python anew"
            raise InputError(told) from error
    for found in chosen:
        # TensorFlow has started to compute, or a notebook has divided the GPU's memory.
        with contextlib.suppress(RuntimeError, ValueError):
            tf.config.experimental.set_memory_growth(found, True)
    tf.config.experimental.enable_tensor_float_32_execution(False)


def gpu():
    """The GPU that TensorFlow computes on, or None."""
    return next(iter(tf.config.get_visible_devices("GPU")), None)


def name():
    """The device in words."""
    if found := gpu():
        return tf.config.experimental.get_device_details(found).get("device_name", "a GPU")
    given = tf.config.threading.get_intra_op_parallelism_threads()
    threads = given or (len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count())
    return f"{threads} processor thread{'s' if threads > 1 else ''}"


def has_bfloat16():
    """Whether the device has instructions for bfloat16; of processors only Linux says so."""
    if found := gpu():
        return tf.config.experimental.get_device_details(found).get("compute_capability", (0, 0)) >= (8, 0)
    try:
        words = CPU_INFO.read_text().split()
    except OSError:
        return False
    return not {"avx512_bf16", "amx_bf16", "bf16"}.isdisjoint(words)


def unused_gpu():
    """[a line if there is a GPU that TensorFlow does not find], else []."""
    if DRIVER.is_dir() and any(DRIVER.iterdir()) and not tf.config.list_physical_devices("GPU"):
        return ["This machine has a GPU that TensorFlow does not use; pip install 'tensorflow[and-cuda]'"]
    return []


def shortage(error):
    """None, or what an exception that says that there is no memory left tells of it: "", or its reason in brackets."""
    if isinstance(error, MemoryError | tf.errors.ResourceExhaustedError):
        return ""
    if isinstance(error, SHORTAGES) and SAID.search(reason(error)):
        return f" ({reason(error)})"
    return None
