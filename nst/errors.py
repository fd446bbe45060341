"""The errors that a user sees. The text of each is one line: what is wrong, where, and what to do."""

INSTALL = "activate the environment, or pip install -r requirements.txt (README, Install and paint)"


class InputError(ValueError):
    """Something that the user gave cannot be used."""


class PictureError(InputError):
    """A picture that is there cannot be painted."""


class RunError(Exception):
    """A run started well and failed later."""


class WriteError(OSError):
    """A file could not be written. The file that stood in its place is still there."""


class PrintError(OSError):
    """The standard output or the standard error could not be written."""


def reason(error):
    """The text of an exception in one line, without the path and number that an OSError repeats."""
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return text.splitlines()[0]


def with_path(error):
    """The text of an OSError in one line: the file, if there is one, and what the system said."""
    return f"{error.filename}: {reason(error)}" if error.filename else reason(error)
