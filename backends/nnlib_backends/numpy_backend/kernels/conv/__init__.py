"""``conv2d`` on the CPU: one file for each algorithm."""
