"""Paints the style pictures of this folder, night.jpg, wave.jpg and mosaic.jpg, and draws its masks.

    python images/paint_styles.py [FOLDER]

The styles are drawn on a canvas of 400 x 300, painted four times as large and kept twice as large. Seeds are fixed: the
same versions of numpy and Pillow paint the same pictures. Nothing else in the project uses this file.
"""

import pathlib
import sys

import numpy as np
from PIL import Image, ImageDraw, ImageFilter
from scipy import ndimage, spatial

PAN_SIZE, PAN_FRAMES, PAN_RATE = (320, 240), 20, 10
WIDTH, HEIGHT, ZOOM, KEPT = 400, 300, 4, 2


def smooth_noise(rng, sigma, shape=(HEIGHT, WIDTH)):
    """Gaussian noise blurred to blobs of about sigma pixels, scaled to a standard deviation of 1."""
    noise = ndimage.gaussian_filter(rng.standard_normal(shape), sigma, mode="reflect")
    return (noise - noise.mean()) / noise.std()


def blend(a, b, t):
    """a where t is 0, b where it is 1; t (H, W) or a number, a and b colours or pictures."""
    t = np.clip(t, 0, 1)[..., None] if np.ndim(t) else t
    return (1 - t) * np.asarray(a, float) + t * np.asarray(b, float)


# --- night: short strokes along a flow that turns about the lights ----------------------------------


def night():
    rng = np.random.default_rng(5)
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH].astype(float)
    lights = [(318, 58, 27), (60, 48, 13), (136, 88, 10), (215, 40, 12), (238, 124, 9), (28, 128, 8), (372, 142, 9)]

    # The scene as flat colour: a sky from ultramarine to a pale horizon, lights with haloes, two ridges.
    scene = blend((20, 38, 104), (94, 146, 178), (y / 215) ** 1.6)
    scene = blend(scene, (38, 84, 150), 0.55 * (np.sin(0.021 * x + 2.2 * np.sin(0.026 * y)) > 0.15))
    flow = 0.12 + 0.30 * smooth_noise(rng, 34)  # the direction of the brush, in radians
    pull_x, pull_y = np.cos(flow), np.sin(flow)
    for cx, cy, r in lights:
        distance = np.hypot(x - cx, y - cy)
        ring = 0.5 + 0.5 * np.cos(distance / r * 2.6)
        halo = np.exp(-((distance / (2.3 * r)) ** 2))
        scene = blend(scene, blend((236, 214, 120), (150, 190, 190), ring), 0.92 * halo)
        scene = blend(scene, (252, 232, 140), distance < 0.72 * r)
        weight = 3.5 * np.exp(-((distance / (3.1 * r)) ** 2))
        pull_x += weight * -(y - cy) / (distance + 1)
        pull_y += weight * (x - cx) / (distance + 1)
    far = 208 + 13 * np.sin(x / 47) + 7 * np.sin(x / 19 + 1)
    near = 250 + 16 * np.sin(x / 71 + 2) + 5 * np.sin(x / 15)
    scene = blend(scene, (46, 82, 122), y > far)
    scene = blend(scene, blend((36, 74, 72), (104, 128, 60), 0.5 + 0.3 * smooth_noise(rng, 6)), y > near)
    slope = np.where(y > near, np.gradient(near, axis=1), np.gradient(far, axis=1))
    land = y > far
    angle = np.where(land, np.arctan(1.3 * slope), np.arctan2(pull_y, pull_x))
    for wx, wy in [(70, 262), (96, 270), (262, 255), (288, 264), (330, 268)]:  # lit windows
        scene[wy : wy + 6, wx : wx + 5] = (250, 190, 70)

    canvas = Image.new("RGB", (WIDTH * ZOOM, HEIGHT * ZOOM), (24, 34, 72))
    draw = ImageDraw.Draw(canvas)
    for count, length, width in [(2600, 26, 9.0), (5200, 17, 5.2), (7600, 11, 3.1)]:
        for _ in range(count):
            px, py = rng.uniform(0, WIDTH), rng.uniform(0, HEIGHT)
            paint_stroke(draw, rng, scene, angle, px, py, length * rng.uniform(0.6, 1.25), width)
    return canvas


def paint_stroke(draw, rng, scene, angle, px, py, length, width):
    """One brush stroke that begins at (px, py) and follows the flow, as a few bristles of uneven colour."""
    colour = scene[min(int(py), HEIGHT - 1), min(int(px), WIDTH - 1)] + rng.normal(0, 13) + rng.normal(0, 7, 3)
    path = [(px, py)]
    for _ in range(max(2, int(length / 2.5))):
        iy, ix = int(np.clip(py, 0, HEIGHT - 1)), int(np.clip(px, 0, WIDTH - 1))
        px, py = px + 2.5 * np.cos(angle[iy, ix]), py + 2.5 * np.sin(angle[iy, ix])
        path.append((px, py))
    path = np.array(path)
    along = np.gradient(path, axis=0)
    across = np.stack([-along[:, 1], along[:, 0]], 1) / (np.hypot(*along.T)[:, None] + 1e-9)
    bristles = max(3, int(width))
    for k in range(bristles):
        offset = (k / (bristles - 1) - 0.5) * width * 0.82
        shade = 20 * np.sin(np.pi * k / (bristles - 1)) - 14 + rng.normal(0, 9)
        points = [tuple(p) for p in (path + offset * across) * ZOOM]
        tint = tuple(int(c) for c in np.clip(colour + shade, 0, 255))
        draw.line(points, fill=tint, width=int(width / bristles * ZOOM * 1.5) + 1, joint="curve")


# --- wave: a woodblock print of a sea ---------------------------------------------------------------


def wave():
    rng = np.random.default_rng(11)
    size = (WIDTH * ZOOM, HEIGHT * ZOOM)
    y, x = np.mgrid[0 : size[1], 0 : size[0]] / ZOOM
    paper = rng.normal(0, 3, (size[1], size[0])) + 3 * np.sin(y / 0.9 + 0.6 * np.sin(x / 23))  # the block's grain
    sky = blend((196, 106, 78), (240, 220, 178), (y / 120) ** 0.8)
    picture = Image.fromarray(np.clip(sky + paper[..., None], 0, 255).astype("uint8"))
    draw = ImageDraw.Draw(picture)

    def scaled(points):
        return [(px * ZOOM, py * ZOOM) for px, py in points]

    draw.ellipse(scaled([(250, 22), (318, 90)]), fill=(214, 60, 44))
    for cx, cy, w in [(70, 38, 90), (120, 50, 70), (360, 66, 80), (212, 74, 60)]:  # bars of cloud
        draw.rounded_rectangle(scaled([(cx - w / 2, cy - 4), (cx + w / 2, cy + 4)]), 4 * ZOOM, fill=(246, 232, 202))
    peak = [(96, 150), (140, 112), (160, 92), (172, 92), (196, 116), (250, 150)]
    draw.polygon(scaled(peak), fill=(70, 96, 132))
    draw.polygon(
        scaled([(147, 105), (160, 92), (172, 92), (184, 104), (176, 108), (168, 102), (158, 110)]), fill=(246, 238, 220)
    )

    inks = [(150, 186, 190), (104, 154, 176), (62, 112, 156), (34, 74, 128), (22, 48, 98), (16, 34, 76)]
    for row in range(9):
        base, span, height = 128 + row * 21, 74 + 9 * row, 20 + 3.2 * row
        shift = rng.uniform(0, span)
        for k in range(-1, int(WIDTH / span) + 2):
            paint_crest(
                draw, scaled, rng, k * span + shift - span / 2, base, span, height, inks[min(row // 2 + k % 2, 5)]
            )
    return picture


def paint_crest(draw, scaled, rng, left, base, span, height, ink):
    """One curling wave: a body of ink, lighter bands that follow its back, and a foam of claws."""
    t = np.linspace(0, 1, 60)

    def back(lift):  # the outline from the trough over the back to the tip, which bends over
        px = left + span * (1.05 * t + 0.16 * np.sin(np.pi * t) * lift)
        return np.stack([px, base - height * lift * np.sin(np.pi * t**1.7) ** 1.3], 1)

    outline = back(1.0)
    body = [*outline, (left + span * 1.3, base + 70), (left - span * 0.3, base + 70)]
    draw.polygon(scaled(body), fill=ink)
    for lift in (0.86, 0.7, 0.54, 0.38, 0.2):
        light = tuple(int(c) for c in blend(ink, (206, 224, 216), 0.62 - 0.35 * (1 - lift)))
        draw.line(scaled(back(lift) + np.array([0, 3])), fill=light, width=int(1.3 * ZOOM), joint="curve")
    draw.line(scaled(outline), fill=(14, 26, 58), width=int(1.5 * ZOOM), joint="curve")
    for i in range(22, 57, 2):  # foam: discs along the crest, each with a dark rim and a small claw
        px, py = outline[i]
        r = (1.5 + 0.11 * height * np.sin(np.pi * (i - 18) / 42)) * rng.uniform(0.8, 1.25)
        draw.ellipse(scaled([(px - r, py - r), (px + r, py + r)]), fill=(14, 26, 58))
        r *= 0.78
        draw.ellipse(scaled([(px - r, py - r), (px + r, py + r)]), fill=(248, 242, 226))
        claw = rng.uniform(0.4, 1.2)
        draw.line(
            scaled([(px, py), (px + 2.4 * r * np.cos(claw), py + 2.4 * r * np.sin(claw))]),
            fill=(248, 242, 226),
            width=ZOOM,
        )
    for _ in range(5):  # spray
        px, py, r = left + span * rng.uniform(0.4, 1.1), base - height * rng.uniform(0.9, 1.5), rng.uniform(0.5, 1.2)
        draw.ellipse(scaled([(px - r, py - r), (px + r, py + r)]), fill=(248, 242, 226))


# --- mosaic: broken tiles laid in suns and ripples -----------------------------------------------------


def mosaic():
    rng = np.random.default_rng(3)
    centres = [(128, 128, 118), (330, 232, 92), (338, 40, 74), (22, 292, 84)]
    points = []
    for k, (cx, cy, _) in enumerate(centres):  # tiles in rings about each centre, until another is nearer
        for ring, radius in enumerate(np.arange(4, 330, 8.2)):
            count = max(1, int(2 * np.pi * radius / 9.5))
            for a in 2 * np.pi * (np.arange(count) + 0.5 * (ring % 2)) / count:
                px, py = np.array([cx + radius * np.cos(a), cy + radius * np.sin(a)]) + rng.normal(0, 0.9, 2)
                nearest = np.argmin([np.hypot(px - c[0], py - c[1]) / c[2] for c in centres])
                if nearest == k and -9 < px < WIDTH + 9 and -9 < py < HEIGHT + 9:
                    points.append((px, py, k, ring))
    points = np.array(points)
    palettes = [
        [(246, 190, 50), (232, 120, 34), (196, 54, 38), (250, 226, 150), (22, 92, 132), (34, 146, 152)],
        [(26, 72, 138), (40, 138, 170), (206, 232, 226), (18, 44, 96), (238, 176, 60)],
        [(40, 124, 92), (150, 186, 84), (236, 222, 160), (18, 78, 80), (214, 84, 52)],
        [(126, 40, 92), (204, 82, 96), (246, 186, 150), (70, 30, 92), (240, 206, 96)],
    ]
    y, x = np.mgrid[0 : HEIGHT * ZOOM, 0 : WIDTH * ZOOM] / ZOOM
    x, y = x + 0.7 * np.sin(y / 3.1), y + 0.7 * np.sin(x / 2.7)  # hand-cut edges
    distance, tile = spatial.cKDTree(points[:, :2]).query(np.stack([x, y], -1), k=2)
    tile = tile[..., 0]
    colours = np.array([palettes[int(k)][int(ring) // 2 % len(palettes[int(k)])] for _, _, k, ring in points], float)
    colours += rng.normal(0, 15, (len(points), 1)) + rng.normal(0, 8, (len(points), 3))
    tilt = rng.normal(0, 1, (len(points), 2))  # each tile leans its own way and catches the light
    lean = ((x - points[tile, 0]) * tilt[tile, 0] + (y - points[tile, 1]) * tilt[tile, 1]) * 3.2
    edge = distance[..., 1] - distance[..., 0]
    glaze = colours[tile] + lean[..., None] + 26 * np.exp(-((distance[..., 0] - 1.2) ** 2) / 2.5)[..., None]
    grout = blend((64, 54, 50), (92, 80, 70), 0.5 + 0.5 * np.sin(7 * x) * np.sin(6 * y))
    picture = blend(grout, glaze, (edge - 0.7) / 0.7)
    return Image.fromarray(np.clip(picture, 0, 255).astype("uint8")).filter(ImageFilter.GaussianBlur(ZOOM / 4))


def coffee_mask():
    """White where coffee.jpg shows the cup and its saucer, black elsewhere; no other grey in between."""
    mask = Image.new("L", (WIDTH, HEIGHT))
    draw = ImageDraw.Draw(mask)
    draw.ellipse((33, 46, 335, 292), fill=255)
    draw.ellipse((105, 13, 283, 158), fill=255)
    return mask


def pan(photograph, folder):
    """A film of a camera that moves over a photograph, as an animation."""
    width, height = PAN_SIZE
    with Image.open(photograph) as image:
        steps = np.linspace(0, 1, PAN_FRAMES)
        corners = [(round(t * (image.width - width)), round(t * (image.height - height))) for t in steps]
        frames = [image.crop((x, y, x + width, y + height)) for x, y in corners]
    milliseconds = 1000 // PAN_RATE
    frames[0].save(folder / "pan.webp", save_all=True, append_images=frames[1:], duration=milliseconds, quality=90)


if __name__ == "__main__":
    folder = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else __file__).resolve()
    folder = folder if folder.is_dir() else folder.parent
    for painter in (night, wave, mosaic):
        picture = painter().resize((KEPT * WIDTH, KEPT * HEIGHT), Image.Resampling.LANCZOS)
        picture.save(folder / f"{painter.__name__}.jpg", quality=90)
    coffee_mask().save(folder / "coffee-mask.png")
    for name in ("black", "white"):
        Image.new("L", (WIDTH, HEIGHT), name).save(folder / f"{name}.png")
    pan(pathlib.Path(__file__).with_name("coffee.jpg"), folder)
