"""ResNet-18 under the recipe of the six backbones.

Parent: exp005. Expectation: the best figure for the time it takes.
"""

from exp005 import EXP as PARENT

from chestfold import run

EXP = PARENT.but(backbone="resnet18")

if __name__ == "__main__":
    run(EXP)
