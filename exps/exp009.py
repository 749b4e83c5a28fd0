"""EfficientNet-B0 under the recipe of the six backbones: the sources' standard, and the parent of what follows.

Parent: exp005. Expectation: AUC .89, as there.
"""

from exp005 import EXP as PARENT

from chestfold import run

EXP = PARENT.but(backbone="efficientnet_b0")

if __name__ == "__main__":
    run(EXP)
