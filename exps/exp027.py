"""Imbalance answered in the loss: an error on a class weighs by the inverse of its share.

Parent: exp009. Expectation: as over-sampling (exp017), without its repeated images.
"""

from exp009 import EXP as PARENT

from chestfold import run

EXP = PARENT.but(class_weights="balanced")

if __name__ == "__main__":
    run(EXP)
