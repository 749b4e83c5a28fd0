"""Imbalance answered by over-sampling: nodules are repeated until the classes are equal.

Parent: exp009. Expectation: recall up, precision down at 0.5; AUC unchanged.
"""

from exp009 import EXP as PARENT

from chestfold import run

EXP = PARENT.but(sampling="over")

if __name__ == "__main__":
    run(EXP)
