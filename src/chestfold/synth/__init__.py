"""Synthetic nodules: where they come from, how they get into a picture, and whether anybody sees it."""
