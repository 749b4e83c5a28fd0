"""EfficientNet-B0 with Mixup.

Parent: exp009. Expectation: the sources saw no gain (.883 after .889); a mean of two nodules is not a nodule.
"""

from exp009 import EXP as PARENT

from chestfold import run

EXP = PARENT.but(mixup_alpha=1.0)

if __name__ == "__main__":
    run(EXP)
