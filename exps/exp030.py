"""MobileNetV2 at 112 px, CutMix beside Mixup, tighter crops, classes weighed alike: a second opinion for the blend.

Parent: exp021. Expectation: validation as before; fewer normals called pneumonia, because the loss no longer profits
from three in four children being ill; errors elsewhere than those of exp021, from resolution and CutMix.
"""

from exp021 import EXP as PARENT

from chestfold import run

EXP = PARENT.but(
    image_size=112, epochs=4, crop_scale=0.3, cutmix_alpha=1.0, class_weights="balanced", monitor="auc", seed=1
)

if __name__ == "__main__":
    run(EXP)
