"""Motion between two frames of a film, and how far it is to be trusted.

    [Ruder]  Ruder, Dosovitskiy & Brox 2016, Artistic Style Transfer for Videos, arXiv 1604.08610
    [DIS]    Kroeger, Timofte, Dai & Van Gool 2016, Fast Optical Flow using Dense Inverse Search,
             arXiv 1603.03590, as OpenCV has it

Frames are uint8 (n_H, n_W, 3). A flow (n_H, n_W, 2) says for each pixel how far to the right and down what
is there stands in the other frame, in pixels.
"""

import cv2
import numpy as np

ALIKE_PIXELS, ALIKE_LEVELS = 5, 12  # a difference of so many grey levels, over so many pixels, can be seen
STROKE = 1 / 40  # of the long side: what is finer is texture
DETAIL = 0.6  # as much of the content's own fine structure is beneath the strokes of what comes into sight

cv2.setNumThreads(1)  # DIS runs in one anyway, and its pool would compete with TensorFlow's


def flow(here, there):
    """The flow from one frame to another [DIS]."""
    grey = [cv2.cvtColor(np.ascontiguousarray(frame), cv2.COLOR_RGB2GRAY) for frame in (here, there)]
    return cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM).calc(*grey, None)


def look_up(image, flow, border=cv2.BORDER_REFLECT_101):
    """image (n_H, n_W, n) where the flow says that it stands, by bicubic interpolation."""
    rows, columns = np.indices(flow.shape[:2], "float32")
    return cv2.remap(image, columns + flow[..., 0], rows + flow[..., 1], cv2.INTER_CUBIC, borderMode=border)


def trust(back, forth):
    """(n_H, n_W), 1 where the flow back to the frame before holds, 0 where not.

    It does not where the flow forth, from where it leads, does not lead home again (something is hidden
    in the frame before), where it leads out of the frame, and along the edges of motion [Ruder, section 4.2].
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


def start_from(painted, before, here, back, trusted, texture):
    """What to paint a frame from, (n_H, n_W, 3): the one before, painted, carried along the flow back to it.

    before and here are the contents of both. An even area shows no motion, and needs none: where the content
    looks the same the flow will do. What has come into sight continues what is around it, its light and dark
    changed as the content is, with the content's detail and in the strokes of a texture (n_H, n_W, 3).
    """
    carried = look_up(painted, back)
    change = here - look_up(before, back)
    inside = look_up(np.ones(back.shape[:2], "float32"), back, cv2.BORDER_CONSTANT) > 0.99
    alike = np.abs(cv2.blur(change, (ALIKE_PIXELS, ALIKE_PIXELS))).max(2) < ALIKE_LEVELS

    def coarse(image):
        return cv2.GaussianBlur(image, (0, 0), max(back.shape) * STROKE)

    new = coarse(carried + change) + texture - coarse(texture) + DETAIL * (here - coarse(here))
    useful = (trusted > 0.5) | (alike & inside)
    return np.where(useful[..., np.newaxis], carried, new)
