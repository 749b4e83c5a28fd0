"""DenseNet-121 under the recipe of the six backbones.

Parent: exp004. Expectation: AUC above VGG16 with a twentieth of its weights.
"""

from exp004 import EXP as PARENT

from chestfold import run

EXP = PARENT.but(backbone="densenet121", head_width=0)

if __name__ == "__main__":
    run(EXP)
