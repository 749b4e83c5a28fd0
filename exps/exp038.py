"""EfficientNet-Lite0 from ImageNet at 128 px with the augmentation of exp037: another network for the blend.

Parent: exp037. Expectation: errors elsewhere than MobileNetV2's; more detail than at 96 px, at twice the cost.
"""

from exp037 import EXP as PARENT

from chestfold import run

EXP = PARENT.but(backbone="tf_efficientnet_lite0", image_size=128, epochs=5, seed=3)

if __name__ == "__main__":
    run(EXP)
