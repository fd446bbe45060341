"""Films: the motion between frames, and a descent for each frame that starts from the frame before."""
