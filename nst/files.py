"""Files on disk: found by name, identified by their SHA-256, locked, and written whole or not at all."""

import contextlib
import errno
import functools
import hashlib
import os
import pathlib
import stat
import time
import zipfile

import filelock
import numpy as np

from nst.errors import InputError, WriteError, reason

# On Windows a file cannot be replaced or removed while another program, such as a viewer or a scanner, has it open.
PATIENCE_SECONDS = 2 if os.name == "nt" else 0
# What a file system without locks answers; some network drives do.
NO_LOCKS = {errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOTSUP}


# --- Reading --------------------------------------------------------------------------------------


def locate(name, folder):
    """The path of a file: a bare name is looked for in the folder first, then taken as a path."""
    kept = folder / name
    return kept if pathlib.Path(name).name == name and is_file(kept) else pathlib.Path(name)


def is_file(path):
    """Whether a file is at the path. Raises InputError if the system does not let us look."""
    try:
        return stat.S_ISREG(os.stat(path).st_mode)  # noqa: PTH116 (the path can be one that no file has)
    except PermissionError as error:
        raise InputError(f"{path}: cannot be read ({reason(error)})") from error
    except (OSError, ValueError):
        return False


def sha256(path):
    """The SHA-256 of a file, in hexadecimal. Raises InputError if the file cannot be read."""
    try:
        facts = pathlib.Path(path).stat()
        return digest(os.path.realpath(path), facts.st_size, facts.st_mtime_ns)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({reason(error)})") from error


@functools.lru_cache(maxsize=1000)  # a batch asks for the weights, half a gigabyte, once per row
def digest(path, size, changed):
    found = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            found.update(block)
    return found.hexdigest()


def read_arrays(path):
    """The dict of arrays that write_arrays wrote. Raises InputError for any other file.

    Pickled objects are refused, because unpickling can run code.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            return dict(file)
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise InputError(f"{path}: not a checkpoint of this program ({reason(error)}); remove it") from error


# --- Locks ----------------------------------------------------------------------------------------


@contextlib.contextmanager
def claimed(folder):
    """Create the folder, lock it until the body ends, and remove the unfinished files of a killed run.

    Raises InputError if another run has the folder, or if it cannot be written in.
    """
    with locked(folder, ".lock"):
        try:
            for part in folder.glob(".*.part"):
                part.unlink()
        except OSError as error:
            raise InputError(f"{folder}: not a folder that can be written in ({reason(error)})") from error
        yield


@contextlib.contextmanager
def locked(folder, name):
    """Create the folder, and hold a lock of that name in it until the body ends. Raises InputError as claimed does.

    The operating system releases the lock of a process that ends, so a dead run blocks nobody.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = filelock.FileLock(folder / name, fallback_to_soft=False)  # a soft lock would outlive its process
        lock.acquire(timeout=0)
    except filelock.Timeout as error:
        raise InputError(f"{folder}: another run is writing there; wait for it, or name another folder") from error
    except OSError as error:
        if error.errno in NO_LOCKS:
            told = (
                f"{folder}: its file system has no locks ({reason(error)}); they keep two runs apart, so name another"
            )
        else:
            told = f"{folder}: not a folder that can be written in ({reason(error)})"
        raise InputError(told) from error
    try:
        yield
    finally:
        lock.release()


# --- Writing --------------------------------------------------------------------------------------


@contextlib.contextmanager
def whole_path(path):
    """A temporary path beside path. What the body writes there replaces path if the body ends well.

    Raises WriteError if the system refuses; the file at path is then unchanged.
    """
    part = path.with_name(f".{path.name}.part")
    try:
        yield part
        patiently(synchronize, part)
        patiently(part.replace, path)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise WriteError(f"{path}: cannot be written ({reason(error)}); what was there stays") from error
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def synchronize(path):
    """Make sure that the disk holds the whole file before it gets its final name."""
    with open(path, "rb+") as file:
        os.fsync(file.fileno())


def remove(path):
    """Remove a file, if there is one. Raises WriteError if the system refuses."""
    try:
        patiently(path.unlink, missing_ok=True)
    except OSError as error:
        raise WriteError(f"{path}: cannot be removed ({reason(error)})") from error


def patiently(action, *words, **options):
    """action(*words, **options), repeated for PATIENCE_SECONDS if the system denies permission."""
    end = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            return action(*words, **options)
        except PermissionError:
            if time.monotonic() >= end:
                raise
        time.sleep(0.1)


@contextlib.contextmanager
def whole_file(path):
    """A binary file to write to, which becomes path as whole_path says."""
    with whole_path(path) as part, open(part, "wb") as file:
        yield file


def write_text(path, text):
    """Write a text in UTF-8. Raises WriteError."""
    with whole_file(path) as file:
        file.write(text.encode())


def write_arrays(path, arrays):
    """Write a dict of arrays as .npz. Raises WriteError."""
    with whole_file(path) as file:
        np.savez(file, **arrays)
