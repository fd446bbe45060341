"""Films of high dynamic range (HDR) as an ordinary screen shows them.

Phones code bright light in HLG or PQ, and wide colours, by BT.2100. Here its reference white (203 cd/m², BT.2408) and
what is darker come out nearly as they are. Light above it, up to the brightest that the film holds, is compressed into
what is left of the range.
"""

import functools

import numpy as np
from PIL import ImageFilter

from nst.pictures.deep import from_light

HLG, PQ = "arib-std-b67", "smpte2084"  # ffmpeg's names
WHITE, BRIGHTEST = 203, 1000  # cd/m²
KNEE = 0.5  # of the light of white: what is darker stays as it is
STEPS = 65  # of the table, in each of red, green and blue: the most that Pillow takes
LIGHT_OF_2020 = np.array([0.2627, 0.6780, 0.0593])  # how bright red, green and blue of BT.2020 are
TO_709 = np.array([[1.6605, -0.5876, -0.0728], [-0.1246, 1.1329, -0.0083], [-0.0182, -0.1006, 1.1187]])  # from BT.2020


@functools.cache
def table(transfer):
    """A Pillow filter that turns frames in HLG or PQ into sRGB; None for films of ordinary range."""
    if transfer not in LIGHT:
        return None
    blue, green, red = np.meshgrid(*[np.linspace(0, 1, STEPS)] * 3, indexing="ij")  # red changes fastest
    coded = np.stack([red, green, blue], -1).reshape(-1, 3)
    light = (LIGHT[transfer](coded) / WHITE @ TO_709.T).clip(0, BRIGHTEST / WHITE)
    strongest = light.max(1, keepdims=True).clip(1e-6)
    return ImageFilter.Color3DLUT(STEPS, from_light(light * compressed(strongest) / strongest).ravel().tolist())


def light_of_hlg(coded):
    """Light in cd/m² of HLG's numbers (n, 3) from 0 to 1, on a screen of 1000 cd/m² [BT.2100, table 5]."""
    a, b, c = 0.17883277, 0.28466892, 0.55991073
    scene = np.where(coded <= 0.5, coded**2 / 3, (np.exp((coded - c) / a) + b) / 12)
    return 1000 * scene * (scene @ LIGHT_OF_2020)[:, np.newaxis] ** 0.2


def light_of_pq(coded):
    """Light in cd/m² of PQ's numbers from 0 to 1 [BT.2100, table 4]."""
    m1, m2, c1, c2, c3 = 0.1593017578125, 78.84375, 0.8359375, 18.8515625, 18.6875
    root = coded ** (1 / m2)
    return 10000 * (np.maximum(root - c1, 0) / (c2 - c3 * root)) ** (1 / m1)


def compressed(light):
    """Light of 0 to BRIGHTEST / WHITE as 0 to 1. It stays as it is up to KNEE, and goes on from there smoothly."""
    room, above = 1 - KNEE, np.maximum(light - KNEE, 0)
    most = BRIGHTEST / WHITE - KNEE
    bend = 1 / room - 1 / most  # so that the brightest becomes 1
    return np.minimum(light, KNEE) + above / (1 + bend * above)


LIGHT = {HLG: light_of_hlg, PQ: light_of_pq}
