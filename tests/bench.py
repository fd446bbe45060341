"""Measures the program, and the usual PyTorch way of doing the same beside it, in one run; prints tables.

    python tests/bench.py                   everything: an hour on two cores
    python tests/bench.py step start        some of: step, start, quality, film, batch, weights, memory, relative
    python tests/bench.py quality --content photograph.jpg --styles a.jpg b.jpg --judge judge/bin/python judge.py

quality paints with the presets. What a picture is worth is for another program to say: it is called with
the content, the style and the pictures made of them, and prints a line for each. And for the eye: --keep.
relative is artificial-artwork, the nearest one that pip installs, by the path of its command: --artwork venv/bin/nst;
and what neural-style does, by this program.

The peer is measured where torch is installed. Nothing else should run on the machine. Each measurement is
a process of its own, on weights and pictures that are made for it; peak memory is the whole process'.
"""

import argparse
import json
import os
import pathlib
import platform
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

import numpy as np  # noqa: E402
from PIL import Image  # noqa: E402

import nst.flags  # noqa: E402
import nst.network.weights  # noqa: E402
import nst.pictures.resize  # noqa: E402
import nst_main  # noqa: E402
import recipe  # noqa: E402

LAYERS = (*recipe.BLOCKS[:4], (1, 512))  # VGG-19 to conv5_1
# What J. Johnson's neural-style, 2015, does by default. Its weights, 5 and 100, are for Caffe's own network: the deep
# activations of hed's are much smaller, and the content would vanish. This alpha was chosen by eye from 5 to 30,000.
NEURAL_STYLE = (
    "--optimizer lbfgs --epochs 1000 --init random --pooling max --alpha 3000 --beta 100 --tv_weight 0"
    " --style_layers conv1_1 conv2_1 conv3_1 conv4_1 conv5_1 --content_layers conv4_2"
)
PARTS = ("step", "start", "quality", "film", "batch", "weights", "memory", "relative")


# --- Measuring a process -----------------------------------------------------------------------------------


def child(*words):
    """The result of another call of this file as a process of its own, and the process' peak memory in GB."""
    return measured([sys.executable, __file__, "--child", *map(str, words)])


def measured(command, folder=None, **environment):
    """(what the last line of its output holds as JSON, or None; seconds; peak memory in GB) of a process."""
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", **environment}
    with tempfile.TemporaryFile("w+") as output:
        start = time.perf_counter()
        process = subprocess.Popen(
            [str(word) for word in command], cwd=folder, stdout=output, stderr=subprocess.DEVNULL, env=environment
        )
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            raise SystemExit(f"bench.py: {' '.join(map(str, command))} ended with {process.returncode}")
        output.seek(0)
        last = output.read().splitlines()[-1:]
    try:
        result = json.loads(last[0])
    except (IndexError, ValueError):
        result = None
    return result, seconds, usage.ru_maxrss / (1e9 if sys.platform == "darwin" else 1e6)


def abilities():
    """The names of the processor's instructions on which the speed of convolutions depends; only Linux tells them."""
    try:
        words = set(pathlib.Path("/proc/cpuinfo").read_text().split())
    except OSError:
        return "not known"
    return ", ".join(name for name in ("avx", "fma", "avx2", "avx512f", "avx512_bf16", "amx_bf16") if name in words)


def table(title, header, rows):
    print(f"\n{title}\n\n| {' | '.join(header)} |\n|{' --- |' * len(header)}")
    for row in rows:
        print(f"| {' | '.join(str(cell) for cell in row)} |", flush=True)


def gflop(width, height):
    """Direct convolution's operations in a step, one pass forward and one back, in 10^9."""
    total, inputs = 0, 3
    for count, channels in LAYERS:
        for _ in range(count):
            total += 2 * 2 * 9 * inputs * channels * width * height
            inputs = channels
        width, height = -(-width // 2), -(-height // 2)
    return total / 1e9


# --- What the children do ------------------------------------------------------------------------------------


def child_matmul():
    """The best rate of a product of two 4096 x 4096 matrices, in GFLOP/s."""
    nst_main.start("")
    import tensorflow as tf

    A = tf.random.stateless_normal((4096, 4096), (0, 0))
    seconds = []
    for _ in range(5):
        start = time.perf_counter()
        (A @ A).numpy()
        seconds.append(time.perf_counter() - start)
    return 2 * 4096**3 / min(seconds) / 1e9


def child_step(way, width, height, steps):
    """(median seconds of Adam's steps, seconds of the first); the way is 'plain', 'winograd' or 'torch'."""
    C, S = recipe.content(height=height, width=width), recipe.style(height=height, width=width)
    iterations = torch_iterations(C, S) if way == "torch" else our_iterations(C, S, way)
    seconds = []
    for _ in range(steps + 1):
        start = time.perf_counter()
        next(iterations)
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds[1:]), seconds[0]


def our_iterations(C, S, way):
    nst_main.start("")
    import nst.descent.sight
    import nst_utils
    from nst.descent import optimizers

    nst.descent.sight.COMPILED_PIXELS = 0 if way == "winograd" else float("inf")
    C, S = nst_utils.reshape_and_normalize_image(C), nst_utils.reshape_and_normalize_image(S)
    model = nst_utils.build_model(recipe.kernels(), ("conv4_2", *dict(nst_utils.STYLE_LAYERS)))
    scale = optimizers.Scale(10**6, lambda _: C, lambda _: recipe.cost(model, C, [S], evaluations=10**6))
    return optimizers.descend([scale], optimizers.adam(2.0))


def torch_iterations(C, S):
    """The step as PyTorch programs take it: eager, automatic gradients, torch.optim.Adam."""
    import torch
    from torch.nn import functional

    weights = {
        name: (torch.tensor(kernel.transpose(3, 2, 0, 1).copy()), torch.tensor(bias))
        for name, (kernel, bias) in recipe.kernels().items()
    }

    def look(picture):
        seen = {}
        for block, (count, _) in enumerate(LAYERS, 1):
            if block > 1:
                picture = functional.avg_pool2d(picture, 2, ceil_mode=True, count_include_pad=False)
            for i in range(1, count + 1):
                name = f"conv{block}_{i}"
                seen[name] = picture = functional.relu(functional.conv2d(picture, *weights[name], padding=1))
        return seen

    def gram(a):
        return (F := a.flatten(2)[0]) @ F.T / F.shape[1]

    C, S = (torch.tensor(image).permute(2, 0, 1)[None].float() - 118 for image in (C, S))
    with torch.no_grad():
        a_C, grams_S = look(C)["conv4_2"], {name: gram(a) for name, a in look(S).items() if name.endswith("_1")}
    picture = C.clone().requires_grad_()
    adam = torch.optim.Adam([picture], lr=2.0)
    while True:
        adam.zero_grad()
        seen = look(picture)
        J = 10 * ((seen["conv4_2"] - a_C) ** 2).mean() / 4
        for name, gram_S in grams_S.items():
            J = J + 40 * 0.2 * ((gram(seen[name]) - gram_S) ** 2).sum() / (4 * len(gram_S) ** 2)
        J.backward()
        adam.step()
        yield J.item()


def child_load(path):
    """Seconds to load a weights file."""
    nst_main.start("")
    import nst_utils

    start = time.perf_counter()
    nst_utils.load_vgg_model(path)
    return time.perf_counter() - start


# --- The parts --------------------------------------------------------------------------------------------------


def ways():
    try:
        import torch  # noqa: F401
    except ImportError:
        return "plain", "winograd"
    return "torch", "plain", "winograd"


def step(_folder, _asked):
    (peak, *_), rows = child("matmul"), []
    print(f"Matrix product: {peak:.0f} GFLOP/s")
    for width, height, steps in ((400, 300, 12), (800, 600, 6), (1600, 1200, 3)):
        peer = None
        for way in ways():
            (seconds, first), _, memory = child("step", way, width, height, steps)
            peer = seconds if way == "torch" else peer
            rate = gflop(width, height) / seconds
            cells = [f"{width} x {height}", way, f"{seconds:.3f}", f"{seconds / (width * height / 1e6):.1f}"]
            cells += [f"{seconds / peer:.2f}" if peer else "", f"{rate:.0f}", f"{rate / peak:.0%}"]
            rows.append([*cells, f"{first:.1f}", f"{memory:.2f}"])
    header = ("picture", "way", "s a step", "s a megapixel", "to torch", "GFLOP/s", "of the peak", "first", "GB")
    table("A step of Adam; GFLOP/s are of direct convolution, Winograd's does fewer", header, rows)


def start(folder, asked):
    """Where the time of a run goes: to its first line, to start each scale, to descend, and to end."""
    rows = []
    for preset in asked.presets:
        output = folder / f"start-{preset}"
        flags = [
            "--content_image_filename",
            asked.content,
            "--style_image_filename",
            asked.styles[0],
            "--preset",
            preset,
        ]
        flags += ["--image_size", asked.image_size, "--print_every", 1, "--save_every", 10**6, "--output_dir", output]
        begun, seen = time.perf_counter(), {}
        command = list(map(str, [sys.executable, "-u", ROOT / "nst_main.py", *flags]))
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
            for line in process.stdout:
                seen.setdefault(line.split(" :")[0].split(",")[0].strip(), time.perf_counter() - begun)
        first_line, ended = min(seen.values()), time.perf_counter() - begun
        times = [first_line, *(seconds for line, seconds in seen.items() if line.startswith("Iteration"))]
        steps, epochs = np.diff(times), nst.flags.parse_settings(["--preset", preset]).epochs
        scales = np.split(steps, np.cumsum(epochs)[:-1])
        starting = sum(scale[0] - np.median(scale) for scale in scales)
        cells = first_line, starting, steps.sum() - starting, np.median(scales[-1]), ended - times[-1], ended
        rows.append([preset, *(f"{seconds:.2f}" for seconds in cells)])
    header = ("preset", "to the first line", "starting scales", "descending", "a step at full size", "ending", "all, s")
    table(f"Where the time goes, at a long side of {asked.image_size}", header, rows)


def quality(folder, asked):
    """What each preset costs, whole processes, in steps of torch at the same size, and what the judge says of it."""
    with Image.open(asked.content) as image:
        width, height = nst.pictures.resize.size_with_long_side(image.size, asked.image_size)

    def peer_step():
        return child("step", "torch", width, height, 8)[0][0] if "torch" in ways() else None

    before = peer_step()
    folder, rows = (asked.keep or folder).resolve(), []
    for style in asked.styles:
        painted = []
        for preset in asked.presets:
            painted.append(folder / f"{style.stem}-{preset}" / "generated_image.jpg")
            flags = ["--content_image_filename", asked.content, "--style_image_filename", style]
            flags += ["--image_size", asked.image_size, "--preset", preset, "--output_dir", painted[-1].parent]
            rows.append([style.name, preset, *measured([sys.executable, ROOT / "nst_main.py", *flags])[1:]])
        if asked.judge:
            command = [*asked.judge, asked.content, style, *painted]
            said = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=True)
            for row, line in zip(rows[-len(painted) :], said.stdout.splitlines(), strict=True):
                row.append(line.replace(str(folder), "").strip())
    title, peer = f"Presets at {width} x {height}, whole processes", None
    if before:  # it is measured twice, because the speed of a machine changes
        after = peer_step()
        title += f" (torch: {before:.2f} s a step before, {after:.2f} after)"
        peer = (before + after) / 2

    def cells(style, preset, seconds, memory, *judged):
        return style, preset, f"{seconds:.1f}", f"{seconds / peer:.1f}" if peer else "", f"{memory:.2f}", *judged

    header = ("style", "preset", "s", "in torch's steps", "GB", *(["judged"] if asked.judge else []))
    table(title, header, [cells(*row) for row in rows])


def film(folder, _asked):
    """A film's first frame and each further one, in steps of one picture of its size with the same preset."""
    size = ["--weights", "hed", "--image_size", 640, "--output_dir", folder / "film"]
    clip = ("--preset", "quick", "--content_image_filename", "pan.webp", "--frames")

    def whole(*words):
        return measured([sys.executable, ROOT / "nst_main.py", *size, *words])[1:]

    def a_step(*way):
        few, many = (whole(*way, "--epochs", epochs, "--print_every", 100)[0] for epochs in (20, 60))
        return (many - few) / 40

    adam, quick = a_step("--preset", "original"), a_step("--preset", "quick", "--scales", 1)
    (first, _), (all_, memory) = whole(*clip, "0:1"), whole(*clip, "0:11")
    a_frame = (all_ - first) / 10
    header = (
        "quick, s a step",
        "original, s a step",
        "first frame, s",
        "each further, s",
        "in quick's",
        "original's",
        "GB",
    )
    row = [quick, adam, first, a_frame, a_frame / quick, a_frame / adam, memory]
    table(
        "A film of 640 x 480 by quick, whole processes; in steps at full size of both presets",
        header,
        [[f"{number:.2f}" for number in row]],
    )


def batch(folder, _asked):
    """Twenty jobs in one command and in twenty."""
    names = ("chelsea", "coffee", "rocket", "starry_night", "great_wave", "mosaic")
    pairs = [(content, style) for content in names[:4] for style in names if content != style][:20]
    flags = ["--image_size", 400, "--epochs", 2, "--weights", "random", "--output_dir", folder / "batch"]
    (folder / "jobs.csv").write_text(
        "content_image_filename,style_image_filename\n" + "".join(f"{c}.jpg,{s}.jpg\n" for c, s in pairs)
    )
    _, together, _ = measured([sys.executable, ROOT / "nst_main.py", "--batch", folder / "jobs.csv", *flags])
    apart = 0
    for content, style in pairs:
        pictures = ["--content_image_filename", f"{content}.jpg", "--style_image_filename", f"{style}.jpg"]
        apart += measured([sys.executable, ROOT / "nst_main.py", *pictures, *flags])[1]
    rows = [(len(pairs), f"{together:.0f}", f"{apart:.0f}", f"{together / apart:.2f}")]
    table("Jobs of 400 x 300 and 2 epochs", ("jobs", "s in a batch", "s one by one", "ratio"), rows)


def weights(folder, _asked):
    path, rows = folder / "vgg.mat", []
    for title, top in (("convolutions alone", 0), ("fully connected layers included", 4096)):
        recipe.write_mat(path, recipe.kernels(), top=top)
        seconds, _, memory = child("load", path)
        rows.append((title, f"{path.stat().st_size / 1e6:.0f}", f"{seconds:.1f}", f"{memory:.2f}"))
        path.unlink()
    table("Loading a .mat", ("holds", "MB", "s", "peak GB"), rows)


def memory(folder, _asked):
    rows = []
    for width, height, way in (
        (400, 300, "--optimizer adam"),
        (1600, 1200, "--optimizer adam"),
        (3200, 2400, "--optimizer adam"),
        (3200, 2400, "--optimizer lbfgs"),
        (3200, 2400, "--preset quick"),
        (8000, 6000, "--optimizer adam"),
    ):
        for name in ("content", "style"):
            make_large(folder / f"{name}.png", name, width, height)
        command = [sys.executable, ROOT / "nst_main.py", "--image_size", 0, "--epochs", 1, *way.split()]
        pictures = ("--content_image_filename", folder / "content.png", "--style_image_filename", folder / "style.png")
        _, seconds, peak = measured([*command, *pictures, "--weights", "random", "--output_dir", folder / "large"])
        rows.append((f"{width} x {height}", way.split()[1], f"{seconds:.0f}", f"{peak:.2f}"))
    table("One epoch, which is two evaluations; whole process", ("picture", "with", "s", "peak GB"), rows)


def relative(folder, asked):
    """A pair of pictures by this program, with its relative's settings and two more, and by its relative."""
    if not asked.artwork:
        print("\nrelative: not measured, it needs --artwork")
        return
    path, keep, rows = folder / "vgg19.mat", (asked.keep or folder).resolve(), []
    recipe.write_mat(path, vgg19_of_hed())
    pictures = [folder / name for name in ("china.png", "starry_night.png")]
    for picture in pictures:
        with Image.open((ROOT / "images" / picture.name).with_suffix(".jpg")) as image:
            image.resize((400, 300), Image.Resampling.LANCZOS).save(picture)  # of one size, as it wants them
    content, style = ("--content_image_filename", pictures[0]), ("--style_image_filename", pictures[1])

    def ours(name, *flags):
        command = [sys.executable, ROOT / "nst_main.py", *content, *style, "--weights", path, *flags]
        return measured([*command, "--print_every", 1000, "--output_dir", keep / name])

    def theirs(iterations):
        place = keep / f"artwork-{iterations}"
        place.mkdir(parents=True, exist_ok=True)
        command = [asked.artwork.absolute(), "run", *pictures, "--iterations", iterations, "--location", place]
        return measured(command, folder, AA_VGG_19=str(path))  # where it leaves a log

    for name, run in (
        ("this program", lambda epochs: ours(f"ours-{epochs}", "--epochs", epochs)),
        ("artificial-artwork", theirs),
    ):
        few, many = 10, 100
        (_, short, _), (_, long, memory) = run(few), run(many)
        rows.append(
            [f"{name}, {many} iterations", f"{(long - short) / (many - few):.2f}", f"{long:.0f}", f"{memory:.2f}"]
        )
    for name, flags in (("neural-style's settings", NEURAL_STYLE), ("--preset fine", "--preset fine")):
        _, seconds, memory = ours(name.split("'")[0].split()[-1], *flags.split())
        rows.append([f"this program, {name}", "", f"{seconds:.0f}", f"{memory:.2f}"])
    table("400 x 300, whole processes", ("program", "s an iteration", "s", "GB"), rows)


def vgg19_of_hed():
    """VGG-19 as hed's VGG-16 is one: the convolutions that it lacks let everything through."""
    found = dict(nst.network.weights.load("hed"))
    for block, channels in (3, 256), (4, 512), (5, 512):
        kernel = np.zeros((3, 3, channels, channels), "float32")
        kernel[1, 1] = np.eye(channels)
        found[f"conv{block}_4"] = kernel, np.zeros(channels, "float32")
    return dict(sorted(found.items()))


def make_large(path, name, width, height):
    small = getattr(recipe, name)(height=300, width=400)
    Image.fromarray(small).resize((width, height)).save(path, compress_level=1)


def main():
    if sys.argv[1:2] == ["--child"]:
        name, *words = sys.argv[2:]
        words = [int(word) if word.isdigit() else word for word in words]
        print(json.dumps(globals()[f"child_{name}"](*words)))
        return
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", help=f"some of {', '.join(PARTS)}")
    parser.add_argument(
        "--content", type=pathlib.Path, default=ROOT / "images" / "chelsea.jpg", help="for start and quality"
    )
    style = ROOT / "images" / "starry_night.jpg"
    parser.add_argument(
        "--styles", type=pathlib.Path, nargs="+", default=[style], help="for start, the first, and quality"
    )
    parser.add_argument("--image_size", type=int, default=512, help="long side of quality's pictures")
    parser.add_argument("--presets", nargs="+", default=["original", "quick", "fine"], help="of those, some")
    parser.add_argument("--keep", type=pathlib.Path, help="folder to leave quality's pictures in")
    parser.add_argument("--judge", nargs="+", help="a command that judges a picture")
    parser.add_argument("--artwork", type=pathlib.Path, help="artificial-artwork's command, for relative")
    asked = parser.parse_args()
    asked.parts = asked.parts or PARTS
    if unknown := set(asked.parts) - set(PARTS):
        parser.error(f"no part {unknown.pop()}: there are {', '.join(PARTS)}")
    versions = [f"Python {platform.python_version()}", f"numpy {np.__version__}"]
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} processors, {', '.join(versions)}")
    print(f"Instructions: {abilities()}")
    with tempfile.TemporaryDirectory() as folder:
        for part in asked.parts:
            globals()[part](pathlib.Path(folder), asked)


if __name__ == "__main__":
    main()
