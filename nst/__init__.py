"""Neural style transfer (see README.md): `from nst import paint`. docs/inside.md says which file does what."""

__all__ = ["paint"]


def __getattr__(name):
    """paint(), which is loaded when it is asked for: the command does without it."""
    if name == "paint":
        from nst.notebook import paint

        return paint
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
