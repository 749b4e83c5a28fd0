"""The base layer: settings, files, randomness, checkpoints, the terminal."""
