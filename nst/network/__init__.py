"""The network: VGG weights from any source, fast convolutions, and the windows that large pictures are cut into."""
