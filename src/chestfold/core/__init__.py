"""What everything stands on: settings, files, randomness, checkpoints, the terminal."""
