"""EfficientNet-B0 written from scratch, trained from scratch.

Parent: exp009. Expectation: below exp009: a few thousand patches do not replace ImageNet.
"""

from exp009 import EXP as PARENT

from chestfold import run

EXP = PARENT.but(backbone="own_efficientnet_b0", pretrained=False)

if __name__ == "__main__":
    run(EXP)
