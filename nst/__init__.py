"""Neural style transfer (see README.md). docs/inside.md says which file does what."""
