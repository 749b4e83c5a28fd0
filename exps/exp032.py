"""MobileNetV2 from ImageNet on CT nodule patches: the other half of the blend.

Parent: exp031. Expectation: above it, because filters from ImageNet see edges from the first step; errors elsewhere.
"""

from exp031 import EXP as PARENT

from chestfold import run

EXP = PARENT.but(backbone="mobilenetv2_100", pretrained=True, image_size=96, epochs=4, lr=5e-4)

if __name__ == "__main__":
    run(EXP)
