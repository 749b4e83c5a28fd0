"""Kaggle: downloads, submissions, kernels."""
