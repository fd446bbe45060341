"""ffmpeg, which imageio-ffmpeg brings: what it says of a film, and the frames that it reads.

Every ffmpeg gets no input and none of the terminal's signals: an ffmpeg that can read the terminal stops a program in
the background, and Ctrl-C is for this program, which ends its children itself.
"""

import contextlib
import fractions
import functools
import mimetypes
import os
import re
import shutil
import subprocess
from typing import NamedTuple

import imageio_ffmpeg
import numpy as np

MISSING = "ffmpeg, which is not installed here; pip install imageio-ffmpeg, or set IMAGEIO_FFMPEG_EXE to its path"
NO_H264 = "an ffmpeg that writes H.264; pip install --force-reinstall imageio-ffmpeg"
LINES_OF_HD = 720  # a film of so many lines and no word on its colours has those of BT.709, others those of BT.601
DEFAULT_RATE = 25.0  # frames a second of a film that does not tell, and of pictures in a folder
SEEK_SECONDS = 2  # a seek goes to this long before a key frame, because some formats miss their aim
SHARP = "flags=bicubic+accurate_rnd+full_chroma_int"  # of the filter scale: colours come out exactly
NO_TIME, KEY, DISCARDED = -(2**63), 1, 4  # ffmpeg's number for no time, and its flags of a packet
WITH_ALPHA = {"vp8": "libvpx", "vp9": "libvpx-vp9"}  # decoders that read transparency, where ffmpeg's own do not


class Facts(NamedTuple):
    """What ffmpeg says of a film's first video stream, and of its sound."""

    size: tuple  # (width, height) as shown: upright, with square pixels
    rate: float  # frames a second, the mean
    times: np.ndarray  # when each frame begins, in seconds from the start of the file, in order
    keys: np.ndarray  # those of them that can be read without an earlier frame; none in a stream that has no times
    end: float  # of the last frame, in seconds
    matrix: str  # the colours' matrix, if the film does not name it; else "auto"
    transfer: str  # how the film codes light, for example "bt709"
    decoder: tuple  # words that choose the decoder
    sounds: tuple  # (number of the stream, codec) of each sound

    @property
    def count(self):
        """The number of frames at a steady rate."""
        return max(1, round(self.end * self.rate))


def executable():
    """The path of ffmpeg, or None if there is none that can run."""
    try:
        return shutil.which(imageio_ffmpeg.get_ffmpeg_exe())  # IMAGEIO_FFMPEG_EXE can name what is not there
    except RuntimeError:
        return None


@functools.cache
def shortage():
    """What a film lacks that is to be written, as "ffmpeg, which ..."; None if nothing."""
    if not executable():
        return MISSING
    trial = imageio_ffmpeg.write_frames(
        os.devnull, (16, 16), macro_block_size=1, ffmpeg_log_level="quiet", output_params=["-f", "null"]
    )
    try:
        with contextlib.closing(trial):
            trial.send(None)  # here it looks for an encoder
            trial.send(bytes(16 * 16 * 3))
    except (RuntimeError, OSError):
        return NO_H264
    return None


def names_a_film(path):
    """Whether the name of a file is that of a film, for when there is no ffmpeg to ask."""
    return (mimetypes.guess_type(path)[0] or "").startswith("video/")


# --- Running ------------------------------------------------------------------------------------------------------


def local(path):
    """The path in a form that ffmpeg cannot take for an option or a protocol."""
    return os.path.realpath(path)


def started(words, **options):
    """An ffmpeg that has been started with these words."""
    if os.name == "nt":
        options["creationflags"] = subprocess.CREATE_NEW_PROCESS_GROUP | subprocess.CREATE_NO_WINDOW
    else:
        options["start_new_session"] = True
    command = [executable(), "-nostdin", "-hide_banner", "-y", *words]
    return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, **options)


def run(*words, loglevel="quiet"):
    """Run ffmpeg to its end. Returns (its exit status, its output, its messages)."""
    texts = {"text": True, "errors": "replace"}
    with started(["-loglevel", loglevel, *words], stderr=subprocess.PIPE, **texts) as process:
        try:
            output, messages = process.communicate()
        except BaseException:  # Ctrl-C, which ffmpeg does not see
            process.kill()
            raise
    return process.returncode, output, messages


# --- Reading ------------------------------------------------------------------------------------------------------


@functools.lru_cache(maxsize=1000)  # the whole file is read for it, and a batch asks more than once
def facts_of(path, changed, size):
    """The Facts of the file at path, or None if it is no film. changed and size tell one content from another.

    The packets of the film are counted, and not decoded.
    """
    told = first_frame(path, ())
    for codec, decoder in WITH_ALPHA.items():
        if told and f"Video: {codec}" in told and re.search(r"alpha_mode *: 1", told):
            told = first_frame(path, words := ("-c:v", decoder)) or told
            break
    else:
        words = ()
    if not told or "Video: ansi" in told:  # a text file, which ffmpeg shows as a terminal would
        return None
    stream = re.search(r"Video: .*", told)[0]
    rate = rate_of(stream) or DEFAULT_RATE
    times, keys, end = packets(path, rate)
    if len(times) < 2:  # to ffmpeg a picture is a film of one frame
        return None
    shown = dict(re.findall(r" (fmt|sar|s|color_space|color_trc):(\S+)", told.partition("Parsed_showinfo")[2]))
    lines = int(re.search(r", \d+x(\d+)", stream)[1])
    untold = shown.get("color_space", "unknown") == "unknown" and shown["fmt"].startswith(("yuv", "nv", "uyvy", "p0"))
    return Facts(
        size=square(shown["s"], shown["sar"]),
        rate=rate,
        times=times,
        keys=keys,
        end=end,
        matrix=("bt709" if lines >= LINES_OF_HD else "bt601") if untold else "auto",
        transfer=shown.get("color_trc", "unknown"),
        decoder=words,
        sounds=tuple((int(number), codec) for number, codec in re.findall(r"Stream #0:(\d+).*?: Audio: (\w+)", told)),
    )


def first_frame(path, decoder):
    """What ffmpeg says when it decodes the first frame; None if it cannot."""
    words = [*decoder, "-i", local(path), "-map", "0:v:0", "-frames:v", "1", "-vf", "showinfo", "-f", "null", "-"]
    status, _, told = run(*words, loglevel="info")
    return told if status == 0 and re.search(r"Parsed_showinfo.* s:\d", told) else None


def packets(path, rate):
    """(when each frame of a film begins, when each key frame does, when the last frame ends), in seconds."""
    _, output, _ = run("-i", local(path), "-map", "0:v:0", "-c", "copy", "-f", "framecrc", "-")
    tick = float(fractions.Fraction((re.search(r"#tb 0: (\S+)", output) or [0, 1])[1]))
    rows = re.findall(r"^0, *(-?\d+), *(-?\d+), *(\d+), *\d+, *\w+(?:, F=0x(\w+))?", output, re.MULTILINE)
    rows = [(*map(int, numbers), int(flags or "1", 16)) for *numbers, flags in rows]
    shown = np.array([row for row in rows if not row[3] & DISCARDED]).reshape(-1, 4)
    decoded, times, lengths, flags = shown.T
    timed = times != NO_TIME
    if not timed.any():
        return np.arange(len(shown)) / rate, np.array([]), len(shown) / rate
    # AVI and MPEG tell of some frames only when they are decoded.
    delay = (times - decoded)[timed].min()
    times = np.where(timed, times, decoded + delay)
    return np.sort(times) * tick, np.sort(times[flags & KEY > 0]) * tick, float((times + lengths).max() * tick)


def rate_of(stream):
    """Frames a second, from ffmpeg's line on a stream; None if it does not tell. 23.98 means 24000/1001."""
    found = re.search(r"([\d.]+)(k?) fps", stream)
    if not found:
        return None
    rate = float(found[1]) * (1000 if found[2] else 1)
    ntsc = round(rate) * 1000 / 1001
    return ntsc if rate % 1 and abs(rate - ntsc) < 0.006 else rate


def square(size, aspect):
    """(width, height) with square pixels of a size "720x576" whose pixels are as "64/45": no side gets smaller."""
    width, height = map(int, size.split("x"))
    across, down = map(int, aspect.split("/"))
    stretch = across / down if across and down else 1
    return (round(width * stretch), height) if stretch >= 1 else (width, round(height / stretch))


def frames(path, facts, first):
    """Yields the frames of a film as RGBA bytes, from the frame of number first on, at a steady rate.

    Those of a phone or a screen recording come unevenly, and would lose their sound. A film can end a frame or two
    before its times say so; its last frame is shown until then.
    """
    rate = facts.rate
    shown = max(0, np.searchsorted(np.floor(facts.times * rate + 0.5), first, side="right") - 1)
    keys = facts.keys[facts.keys <= facts.times[shown]]
    start = max(0.0, keys[-1] - SEEK_SECONDS) if len(keys) else 0.0
    steady = f"fps={rate:.9g}:start_time={first / rate - start:.9g},tpad=stop=2:stop_mode=clone,setpts=PTS-STARTPTS"
    width, height = facts.size
    scaled = f"scale={width}:{height}:in_color_matrix={facts.matrix}:{SHARP},setsar=1,format=rgba"
    seek = ["-ss", f"{start:.6f}"] if start else []
    words = ["-loglevel", "quiet", *facts.decoder, *seek, "-i", local(path), "-map", "0:v:0"]
    words += ["-vf", f"{steady},{scaled}", "-f", "rawvideo", "-"]
    bytes_of_frame = 4 * width * height
    process = started(words, stderr=subprocess.DEVNULL, bufsize=bytes_of_frame)
    try:
        for _ in range(first, facts.count):
            if len(frame := process.stdout.read(bytes_of_frame)) < bytes_of_frame:
                break
            yield frame
    finally:
        process.kill()
        process.stdout.close()
        process.wait()
