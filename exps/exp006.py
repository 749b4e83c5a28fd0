"""DenseNet-169 under the recipe of the six backbones.

Parent: exp005. Expectation: as DenseNet-121; patches of 50 px do not need the depth.
"""

from exp005 import EXP as PARENT

from chestfold import run

EXP = PARENT.but(backbone="densenet169")

if __name__ == "__main__":
    run(EXP)
