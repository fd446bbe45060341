"""The presets: the flags that each stands for. They replace the program's defaults, as on a command line.

docs/inside.md says why they are as they are.
"""

COARSE_TO_FINE = (
    "--optimizer lbfgs --init noise --noise_ratio 0.1 --scales 0 --recolor_content true"
    " --content_layers conv2_2:0.2 conv4_2 --pooling max --padding replicate --style_cost moments"
    " --style_layers conv1_1:0.1 conv2_1:0.1 conv3_1:0.3 conv4_1:5 conv5_1:16"
    " --alpha 60 --tv_weight 20 --light_weight 15 --precision auto"
)
PRESETS = {
    "original": "",
    "quick": f"{COARSE_TO_FINE} --epochs 20 12 10 8 --neighbour_share 1 0.8 0.5 0",
    "fine": f"{COARSE_TO_FINE} --epochs 30 20 24 30 --neighbour_share 1 0.6 0.3 0.5",
}
PRESET_FLAGS = {word for flags in PRESETS.values() for word in flags.split() if word.startswith("--")}
