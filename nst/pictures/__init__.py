"""Pictures as files and as arrays: read, written, masked, recoloured, resized. Knows no network and no TensorFlow."""
