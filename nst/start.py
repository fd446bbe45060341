"""Starting TensorFlow: without its messages, and as this program needs it."""

import contextlib
import gc
import importlib
import logging
import os
import sys
import tempfile

from nst.errors import INSTALL, RunError, reason

# What Keras must be set to, by the names of keras.config.
NEEDED = {
    "backend": "tensorflow",
    "floatx": "float32",
    "image_data_format": "channels_last",
    "dtype_policy": "float32",
}


@contextlib.contextmanager
def quiet_stderr():
    """Hold back what is written to file descriptor 2, and show it only if the body fails.

    TensorFlow's C++ code logs its start there before any setting of the log level takes effect.
    """
    sys.stderr.flush()
    with contextlib.ExitStack() as files:
        try:
            held = files.enter_context(tempfile.TemporaryFile())
        except OSError as error:
            told = f"a temporary file cannot be made ({reason(error)}); set TMPDIR to another folder"
            raise RunError(told) from error
        kept = os.dup(2)
        os.dup2(held.fileno(), 2)
        try:
            yield
        except Exception:
            held.seek(0)
            os.write(kept, held.read())
            raise
        finally:
            os.dup2(kept, 2)
            os.close(kept)


@contextlib.contextmanager
def environment(**changes):
    """Change variables of the environment while the body runs."""
    before = {name: os.environ.get(name) for name in changes}
    os.environ.update(changes)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


@contextlib.contextmanager
def imports_that_stay():
    """Let Python not search for garbage while the body imports, and later not among what it has imported.

    TensorFlow and Keras are half a million objects. Measured: their import takes 2.0 s instead of 2.6, and a run of
    quick 19.3 s instead of 20.7.
    """
    gc.collect()  # what there is now would stay too
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
        gc.freeze()
    finally:
        if was_enabled:
            gc.enable()


def start(device):
    """Start TensorFlow on a device without its messages, and return paint(job, stop).

    device is the setting. Raises RunError if TensorFlow does not start, and InputError as nst.network.device.use does.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ["KERAS_BACKEND"] = "tensorflow"
    # Layers depend on each other: running two at a time would take the memory of two and save no time.
    os.environ.setdefault("TF_NUM_INTEROP_THREADS", "1")
    # Otherwise scipy's BLAS keeps a core busy between the steps of L-BFGS, and a run takes 1.2 times as long.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    # TensorFlow warns when graphs are traced for many sizes, which a batch does on purpose.
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    staying = contextlib.nullcontext() if "nst.run" in sys.modules else imports_that_stay()
    try:
        # A keras.json of the user's can ask for other numbers or axes, or for some that Keras does not start with.
        with quiet_stderr(), environment(KERAS_HOME=os.devnull), staying:
            importlib.import_module("nst.run")
    except ModuleNotFoundError as error:
        raise RunError(f"{error}; {INSTALL}") from error
    except ImportError as error:  # TensorFlow raises it with a long text; the first error is its context
        why = reason(error.__context__ or error)
        raise RunError(f"TensorFlow does not start ({why}); see https://www.tensorflow.org/install/errors") from error
    check_keras()
    importlib.import_module("nst.network.device").use(device)
    return lambda job, stop: importlib.import_module(job.painter).paint(job, stop)


def check_keras():
    """Raises RunError if the Python program that paints has set Keras to other numbers or axes, or another backend."""
    config = importlib.import_module("keras").config
    for name, needed in NEEDED.items():
        found = getattr(config, name)()
        found = getattr(found, "name", found)  # a dtype_policy has a name
        if found != needed:
            raise RunError(f"Keras has {name} {found}, and painting needs {needed}; set it, or start Python anew")
