"""Nodules put into healthy images by Poisson blending."""
