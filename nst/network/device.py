"""The device that the network runs on: a GPU or the processor.

No GPU was there to try this on. The tests give TensorFlow lists of GPUs, and errors that it raises there.
"""

import os
import pathlib

import tensorflow as tf

from nst.errors import InputError

CPU_INFO = pathlib.Path("/proc/cpuinfo")
DRIVER = pathlib.Path("/proc/driver/nvidia/gpus")  # where Linux lists NVIDIA's GPUs
# A GPU without memory does not always say so by a ResourceExhaustedError. TensorFlow's users report these
# (github.com/tensorflow/tensorflow/issues: 43764, 45068, 60713).
SHORTAGES = tf.errors.InternalError, tf.errors.UnknownError, tf.errors.NotFoundError
SAID = "out of memory", "oom", "alloc", "no algorithm worked", "get convolution algorithm", "gemm launch failed"


def use(device, exact):
    """Let TensorFlow see one device: "cpu", "gpu:N", or "" for the first GPU and, without one, the processor.

    The process takes a GPU's memory as it needs it, so that others can use the same GPU. Unless exact, a GPU can
    round the factors of float32 products to 10 bits (TensorFloat-32), which is faster. Raises InputError if there is
    no such GPU, or if this process has computed on another device before.
    """
    gpus = tf.config.list_physical_devices("GPU")
    kind, _, number = device.partition(":")
    chosen = [] if kind == "cpu" else gpus[int(number or 0) :][:1]
    if kind == "gpu" and not chosen:
        there = f"{len(gpus)} GPU{'s' if len(gpus) > 1 else ''}" if gpus else "no GPU"
        raise InputError(f"argument --device: {device} is not there; TensorFlow finds {there}")
    try:
        tf.config.set_visible_devices(chosen, "GPU")
        for gpu in chosen:
            tf.config.experimental.set_memory_growth(gpu, True)
    except RuntimeError as error:  # too late: TensorFlow has started to compute
        if device and tf.config.get_visible_devices("GPU")[:1] != chosen:
            told = f"argument --device: {device}: this process computes on another device already; start Python anew"
            raise InputError(told) from error
    tf.config.experimental.enable_tensor_float_32_execution(not exact)


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


def is_shortage(error):
    """Whether an exception says that there is no memory left."""
    if isinstance(error, MemoryError | tf.errors.ResourceExhaustedError):
        return True
    return isinstance(error, SHORTAGES) and any(said in str(error).lower() for said in SAID)
