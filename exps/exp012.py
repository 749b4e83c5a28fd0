"""EfficientNet-B2 at 260 px with Mixup and RandAugment: the best single model of the sources.

Parent: exp009. Expectation: AUC .97, as there, from resolution and from regularisation.
"""

from exp009 import EXP as PARENT

from chestfold import run

EXP = PARENT.but(backbone="efficientnet_b2", image_size=260, mixup_alpha=1.0, randaugment=(2, 9))

if __name__ == "__main__":
    run(EXP)
