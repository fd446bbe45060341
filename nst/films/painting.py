"""Painting a film: a Scene for each frame, and the same descent as for a picture, from the frame before.

The frame before is carried along the motion, after Ruder, Dosovitskiy & Brox 2016 (see nst.films.flow). Where the
motion is reliable, the picture may change only a little. If too little of it is reliable, a new shot begins; its first
frame is painted like a single picture. What stands still keeps its paint.
"""

import dataclasses
from typing import NamedTuple

import numpy as np

import nst.progress
import nst_utils
from nst.descent import optimizers
from nst.descent.scales import make_scale
from nst.films import flow
from nst.films.record import FilmRecord
from nst.job import halving
from nst.pictures import colours
from nst.pictures.originals import Picture
from nst.pictures.resize import LANCZOS, fill, size_with_long_side
from nst.pictures.scene import Scene, make_scene
from nst.run import ready, recording

SAME_SHOT = 0.3  # the least fraction of a frame that must be visible in the frame before
SETTLING = 4  # frames until a newly visible area is fully held to what was painted there
MANY_FRAMES = 100  # which take a while to look at
SMALL_SIDE = 128  # pixels: the long side at which the colours of a shot are measured


class PaintedFrame(NamedTuple):
    """A painted frame.

    scene        the Scene of the frame
    original     its content in its own colours, uint8 (n_H, n_W, 3)
    reference    the content from which each pixel was painted, as original: what stands still keeps its paint
    picture      G
    costs        those of G, {name: cost}
    settled      (n_H, n_W): 0 for newly visible pixels, 1 after SETTLING frames
    first        the number of the first frame of the shot
    of_content   {region: Palette}: the colours of the shot, or None
    """

    scene: Scene
    original: np.ndarray
    reference: np.ndarray
    picture: np.ndarray
    costs: dict
    settled: np.ndarray
    first: int
    of_content: dict | None


def paint(job, stop):
    """Paint the film of a FilmJob, as nst.run.paint paints a picture."""
    with (
        ready(job, stop) as (model, optimizer),
        FilmRecord(job) as record,
        recording(record, job, model, stop),
    ):
        before, done = None, record.number
        for number, image in job.film.images(max(0, done)):
            originals = job.originals.with_content(image)
            if number == done:
                before = resumed(job, originals, stop)
                continue
            before = paint_frame(job, number, originals, before, model, optimizer, stop)
            state = {"settled": before.settled, "reference": before.reference, "scene": before.first}
            record.add(number, originals.canvas, before.picture, before.costs, state)
            if stop.signum:
                break
    return record.history.last


def resumed(job, originals, stop):
    """The frame that the checkpoint ends with."""
    first = int(job.checkpoint.get("scene", 0))
    of_content = colours_of_shot(job, first, stop)
    scene, original = make_scene(originals, job.settings, of_content), as_bytes(originals)
    picture, settled = (job.checkpoint[name] for name in ("picture", "settled"))
    reference = job.checkpoint.get("reference", original)
    return PaintedFrame(scene, original, reference, picture, job.last_costs, settled, first, of_content)


def paint_frame(job, number, originals, before, model, optimizer, stop):
    """Paint the next frame, a PaintedFrame. before is the frame before, or None."""
    settings, original = job.settings, as_bytes(originals)
    still = before and flow.still(before.reference, original)
    if before and still.all():
        scene = make_scene(originals, settings, before.of_content)
        return before._replace(scene=scene, original=original, costs={**before.costs, "temporal": 0.0})
    changed = before and changed_from(before, still)
    scene = before and continued(job, number, originals, original, before, changed)
    if scene:
        # It starts from the frame before, without noise.
        settings = dataclasses.replace(settings, init="content", init_image="")
        schedule, repeats, settled = halving(settings.frame_epochs), len(job.film.chosen), scene.trust
        first, of_content = before.first, before.of_content
    else:
        first, of_content = number, colours_of_shot(job, number, stop)
        scene = make_scene(originals, settings, of_content)
        schedule, repeats, settled = job.schedule, 1, np.ones(scene.content.size, "float32")
    coarser = len(job.schedule) - len(schedule)  # scales of a picture; a film's scale has the settings of its size
    scales = [
        make_scale(scene, shrink, epochs, settings.of_scale(max(0, coarser + k)), model, stop.check, epochs * repeats)
        for k, (shrink, epochs) in enumerate(schedule)
    ]
    for last in optimizers.descend(scales, optimizer):  # noqa: B007 (the last one counts)
        stop.check()
    picture, reference, settled = np.asarray(last.picture), original, np.minimum(settled + 1 / SETTLING, 1)
    if first != number:
        picture = mixed(picture, before.picture, changed)
        reference = np.where(still[..., np.newaxis], before.reference, original)
    return PaintedFrame(scene, original, reference, picture, last.costs, settled, first, of_content)


def continued(job, number, originals, original, before, changed):
    """The Scene of a frame that starts from the frame before, or None if a new shot begins.

    changed is what changed_from() returns: the rest starts as it was painted, and is held to that.
    """
    back, forth = flow.flow(original, before.original), flow.flow(before.original, original)
    trusted = flow.trust(back, forth)
    if trusted.mean() < SAME_SHOT:
        return None
    scene = make_scene(originals, job.settings, before.of_content)
    painted, contents = np.asarray(before.picture)[0] + nst_utils.MEANS, (before.scene.content, scene.content)
    # The neighbour cost paints what comes into sight as in the first frame; the style cost alone needs strokes there.
    texture = None if any(job.settings.neighbour_share) else texture_of(scene, (job.settings.seed, number))
    start = flow.start_from(painted, *(content.image for content in contents), back, trusted, texture)
    trust = trusted * np.clip(flow.look_up(before.settled, back), 0, 1)
    trust = np.maximum(trust, 1 - changed[..., 0])
    return dataclasses.replace(scene, start=np.float32(mixed(start, painted, changed)), trust=trust)


def changed_from(before, still):
    """(n_H, n_W, 1), 0 to 1: how much of each pixel is painted anew, if still is what stands still.

    What came into sight is not finished with its first frame. It goes on being painted until it is settled.
    """
    return flow.surroundings(~still | (before.settled < 1))[..., np.newaxis]


def mixed(new, old, share):
    """new with that share, and old with the rest: exactly new or old where the share is 1 or 0."""
    return share * new + (1 - share) * old


def texture_of(scene, seed):
    """The first style, filling the frame, rolled by random distances."""
    size = scene.content.size
    shift = np.random.default_rng(seed).integers(size)
    return np.roll(fill(scene.styles[0].image, size), shift, (0, 1))


def as_bytes(originals):
    """The content in its own colours as uint8, for the motion."""
    return np.rint(originals.content.image).astype("uint8")


def colours_of_shot(job, first, stop):
    """{region: Palette} of the content in the shot that starts with frame first; None if no colours change.

    Frames are weighted by their contrast, because a dark or fading frame shows little of the shot's colours.
    """
    settings = job.settings
    if not settings.recolor_content and settings.preserve_colors not in ("luminance", "histogram"):
        return None
    if len(job.film.chosen) - first > MANY_FRAMES:
        nst.progress.say(f"Measuring the colours of the shot that begins at frame {first + 1}", quiet=settings.quiet)
    found, before = {}, None
    for _, image in job.film.images(first):
        stop.check()
        small = small_content(job.originals, image)
        here = flow.evenly_lit(np.asarray(small.image, "uint8"))
        both = before is not None and here is not None
        if both and flow.trust(flow.flow(here, before), flow.flow(before, here)).mean() < SAME_SHOT:
            break
        for name, palette in colours.by_region(small).items():
            found.setdefault(name, []).append((np.trace(palette.covariance) ** 2 + 1e-6, palette))
        before = before if here is None else here
    return {name: colours.mean_of(several) for name, several in found.items()}


def small_content(originals, image):
    """The Picture of a frame's content, a Pillow image, at SMALL_SIDE."""
    height, width = originals.canvas.size
    scale = image.width / width, image.height / height
    box = [side * scale[k % 2] for k, side in enumerate(originals.canvas.box)]
    size = size_with_long_side(originals.content.size, min(SMALL_SIDE, max(originals.content.size)))
    regions = originals.content.resized(size).regions
    return Picture(np.asarray(image.resize(size[::-1], LANCZOS, box=box), "float32"), regions)
