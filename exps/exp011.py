"""EfficientNet-B0 with RandAugment.

Parent: exp009. Expectation: AUC +0.02, as there (.912).
"""

from exp009 import EXP as PARENT

from chestfold import run

EXP = PARENT.but(randaugment=(2, 9))

if __name__ == "__main__":
    run(EXP)
