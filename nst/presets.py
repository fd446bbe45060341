"""The presets: the flags that each stands for. They replace the program's defaults, as on a command line.

docs/inside.md says why they are as they are.
"""

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
