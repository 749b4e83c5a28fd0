"""EfficientNetV2-S under the competitor's recipe.

Parent: exp022. Expectation: level with ConvNeXt, and different enough to blend.
"""

from exp022 import EXP as PARENT

from chestfold import run

EXP = PARENT.but(backbone="tf_efficientnetv2_s")

if __name__ == "__main__":
    run(EXP)
