"""The motion between two frames of a film, where it can be trusted, and what it carries over.

    [Ruder]  Ruder, Dosovitskiy & Brox 2016, Artistic Style Transfer for Videos, arXiv 1604.08610
    [DIS]    Kroeger, Timofte, Dai & Van Gool 2016, Fast Optical Flow using Dense Inverse Search,
             arXiv 1603.03590, as OpenCV has it

Frames are uint8 (n_H, n_W, 3). A flow (n_H, n_W, 2) says how far to the right and down each pixel's content is in
the other frame, in pixels.
"""

import cv2
import numpy as np

ALIKE_PIXELS, ALIKE_LEVELS = 5, 12  # a difference of this many grey levels over this many pixels is visible
LEAST_CONTRAST, CONTRAST = 2, 50  # grey levels, standard deviations: a frame that shows nothing; an evenly lit one
FADE_LEVELS = 0.75  # grey levels: a mean change of all that seems still, which noise does not make
STROKE = 1 / 40  # of the long side: finer structure is texture
DETAIL = 0.6  # how much of the content's fine structure lies under the strokes of what comes into sight
SMALLEST_SIDE = 16  # pixels: OpenCV ends the program at some smaller sizes

cv2.setNumThreads(1)  # DIS uses one thread, and OpenCV's pool would compete with TensorFlow's


def flow(here, there):
    """The flow from one frame to another [DIS]."""
    height, width = here.shape[:2]
    missing = max(0, SMALLEST_SIDE - height), max(0, SMALLEST_SIDE - width)

    def grey(frame):
        levels = cv2.cvtColor(np.ascontiguousarray(frame), cv2.COLOR_RGB2GRAY)
        return cv2.copyMakeBorder(levels, 0, missing[0], 0, missing[1], cv2.BORDER_REPLICATE)

    found = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM).calc(grey(here), grey(there), None)
    return found[:height, :width]


def evenly_lit(frame):
    """The frame with a fixed mean and deviation, uint8, so that a fade is no motion; None if it shows nothing."""
    grey = cv2.cvtColor(np.ascontiguousarray(frame), cv2.COLOR_RGB2GRAY)
    if grey.std() < LEAST_CONTRAST:
        return None
    return np.clip((frame - grey.mean()) * (CONTRAST / grey.std()) + 128, 0, 255).astype("uint8")


def look_up(image, flow, border=cv2.BORDER_REFLECT_101):
    """image (n_H, n_W, n), moved: each pixel is taken from where the flow says it is, by bicubic interpolation."""
    rows, columns = np.indices(flow.shape[:2], "float32")
    return cv2.remap(image, columns + flow[..., 0], rows + flow[..., 1], cv2.INTER_CUBIC, borderMode=border)


def trust(back, forth):
    """Where the flow back to the frame before can be trusted: (n_H, n_W), 1 where it can, 0 where it cannot.

    It cannot where the flow forth does not return to the same pixel (something was hidden in the frame before),
    where it leaves the frame, and along the edges of motion [Ruder, section 4.2].
    """
    home = look_up(forth, back)

    def squared(vectors):
        return np.square(vectors).sum(2)

    hidden = squared(back + home) >= 0.01 * (squared(back) + squared(home)) + 0.5
    slope = sum(squared(np.gradient(back, axis=axis)) for axis in (0, 1))
    edge = slope > 0.01 * squared(back) + 0.002
    height, width = back.shape[:2]
    rows, columns = np.indices((height, width))
    x, y = columns + back[..., 0], rows + back[..., 1]
    outside = (x < 0) | (x > width - 1) | (y < 0) | (y > height - 1)
    return (~(hidden | edge | outside)).astype("float32")


def still(before, here):
    """(n_H, n_W), True where a frame differs from another only by noise, as compression and cameras make it."""
    change = here.astype("float32") - before
    alike = cv2.blur(np.abs(change).max(2), (ALIKE_PIXELS, ALIKE_PIXELS)) < ALIKE_LEVELS
    fades = alike.any() and np.abs(change[alike].mean(0)).max() > FADE_LEVELS
    return alike & ~fades


def surroundings(area):
    """(n_H, n_W), 0 to 1: 1 in an area (n_H, n_W) of bools, falling to 0 within two strokes around it."""
    side = 2 * round(max(area.shape) * STROKE) + 1
    return cv2.blur(cv2.dilate(area.astype("float32"), np.ones((side, side))), (side, side)).clip(0, 1)


def start_from(painted, before, here, back, trusted, texture):
    """The start of a frame, (n_H, n_W, 3): the painted frame before, carried along the flow back to it.

    before and here are the contents of both frames. An even area shows no motion and needs none: if the content
    looks the same, the flow is used without trust. What has come into sight starts as the content. With a texture
    (n_H, n_W, 3) it continues what was beside it instead, as light or dark as the content is there, with detail from
    the content and strokes from the texture.
    """
    carried = look_up(painted, back)
    change = here - look_up(before, back)
    inside = look_up(np.ones(back.shape[:2], "float32"), back, cv2.BORDER_CONSTANT) > 0.99
    alike = np.abs(cv2.blur(change, (ALIKE_PIXELS, ALIKE_PIXELS))).max(2) < ALIKE_LEVELS

    def coarse(image):
        return cv2.GaussianBlur(image, (0, 0), max(back.shape) * STROKE)

    new = here
    if texture is not None:
        new = coarse(carried + change) + texture - coarse(texture) + DETAIL * (here - coarse(here))
    useful = (trusted > 0.5) | (alike & inside)
    return np.where(useful[..., np.newaxis], carried, new)
