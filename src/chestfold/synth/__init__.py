"""Synthetic nodules: where they come from, how they get into an image, and whether anybody sees it."""
