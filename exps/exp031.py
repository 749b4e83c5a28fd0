"""ResNet-18 from scratch on CT nodule patches, turned and mirrored in all eight ways, eight views at prediction.

Parent: none. Expectation: AUC .965 on the test patches without turns; +0.005 from them.
"""

from chestfold import Experiment, run

EXP = Experiment(
    data="luna16_patches",
    backbone="resnet18",
    image_size=64,
    epochs=6,
    lr=1e-3,
    augment="turned",
    mixup_alpha=0.2,
    ema_decay=0.99,
    tta="turns",
)

if __name__ == "__main__":
    run(EXP)
