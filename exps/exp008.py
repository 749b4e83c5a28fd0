"""ResNet-50 under the recipe of the six backbones.

Parent: exp005. Expectation: AUC +0.005 over ResNet-18.
"""

from exp005 import EXP as PARENT

from chestfold import run

EXP = PARENT.but(backbone="resnet50")

if __name__ == "__main__":
    run(EXP)
