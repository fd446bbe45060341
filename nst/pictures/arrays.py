"""Arrays as pictures: only those are taken of which it is clear how they look."""

from PIL import Image

from nst.errors import InputError
from nst.pictures.deep import to_8_bits

ROUNDING = 0.001  # how far floats may be outside 0 to 1: a quarter of a grey level, as arithmetic leaves it


def as_image(array, name):
    """A Pillow image in grey, RGB or RGBA of an array (n_H, n_W), (n_H, n_W, 3) or (n_H, n_W, 4).

    Its values are uint8 of 0 to 255, floats of 0 to 1, or bools (True is white). Raises InputError for all others; its
    text begins with the name.
    """
    if not array.size or not (array.ndim == 2 or (array.ndim == 3 and array.shape[2] in (3, 4))):
        raise InputError(
            f"{name}: no picture has an array of shape {array.shape}; give (n_H, n_W), (n_H, n_W, 3) or (n_H, n_W, 4)"
        )
    if array.dtype == bool:
        array = array.astype("float32")
    if array.dtype.kind == "f":
        low, high = float(array.min()), float(array.max())
        if not (low >= -ROUNDING and high <= 1 + ROUNDING):  # nor if they are nan
            raise InputError(
                f"{name}: an array of floats must have values of 0 to 1, not of {low:.6g} to {high:.6g};"
                " divide them by the value of white, or give uint8"
            )
        array = to_8_bits(array.astype("float32").clip(0, 1))
    if array.dtype != "uint8":
        raise InputError(
            f"{name}: an array of {array.dtype} can mean many pictures; give uint8 of 0 to 255, or floats of 0 to 1"
        )
    return Image.fromarray(array)
