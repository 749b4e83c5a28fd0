"""EfficientNet-B0 with Mixup and RandAugment: the fourth cell of the sources' table.

Parent: exp010. Expectation: the two do not add up (.888 there).
"""

from exp010 import EXP as PARENT

from chestfold import run

EXP = PARENT.but(randaugment=(2, 9))

if __name__ == "__main__":
    run(EXP)
