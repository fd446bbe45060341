"""Paints mosaic.jpg of this folder, draws the masks, and cuts the film out of a photograph.

    python images/paint_styles.py [FOLDER]

The mosaic is drawn on a canvas of 400 x 300, painted four times as large and kept twice as large. Seeds are fixed: the
same versions of numpy and Pillow paint the same picture. Nothing else in the project uses this file.
"""

import pathlib
import sys

import numpy as np
from PIL import Image, ImageDraw, ImageFilter
from scipy import spatial

PAN_SIZE, PAN_FRAMES, PAN_RATE = (400, 300), 20, 10
WIDTH, HEIGHT, ZOOM, KEPT = 400, 300, 4, 2


def blend(a, b, t):
    """a where t is 0, b where it is 1; t (H, W) or a number, a and b colours or pictures."""
    t = np.clip(t, 0, 1)[..., None] if np.ndim(t) else t
    return (1 - t) * np.asarray(a, float) + t * np.asarray(b, float)


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
    frames[0].save(folder / "pan.webp", save_all=True, append_images=frames[1:], duration=milliseconds, quality=80)


if __name__ == "__main__":
    folder = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else __file__).resolve()
    folder = folder if folder.is_dir() else folder.parent
    mosaic().resize((KEPT * WIDTH, KEPT * HEIGHT), Image.Resampling.LANCZOS).save(folder / "mosaic.jpg", quality=90)
    coffee_mask().save(folder / "coffee-mask.png")
    for name, size in (("white", (WIDTH, HEIGHT)), ("black", (464, 257))):  # for mosaic.jpg and great_wave.jpg
        Image.new("L", size, name).save(folder / f"{name}.png")
    pan(pathlib.Path(__file__).with_name("china.jpg"), folder)
