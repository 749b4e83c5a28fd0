"""EfficientNet-Lite0 from ImageNet in the place of MobileNetV2: another network for the blend on nodules.

Parent: exp039. Expectation: as good as it alone; errors elsewhere, so that the two together are better than each.
"""

from exp039 import EXP as PARENT

from chestfold import run

EXP = PARENT.but(backbone="tf_efficientnet_lite0", epochs=8, seed=2)

if __name__ == "__main__":
    run(EXP)
