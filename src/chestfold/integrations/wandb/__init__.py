"""Weights & Biases, by a process beside the training."""
