"""SE-ResNet-50 under the competitor's recipe.

Parent: exp022. Expectation: a little below ConvNeXt; the sturdy member of a blend.
"""

from exp022 import EXP as PARENT

from chestfold import run

EXP = PARENT.but(backbone="seresnet50")

if __name__ == "__main__":
    run(EXP)
