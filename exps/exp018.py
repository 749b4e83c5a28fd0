"""Imbalance answered by under-sampling: as many patches without a nodule as with one, drawn anew in each epoch.

Parent: exp009. Expectation: as over-sampling in a fifth of the time, a little worse.
"""

from exp009 import EXP as PARENT

from chestfold import run

EXP = PARENT.but(sampling="under")

if __name__ == "__main__":
    run(EXP)
