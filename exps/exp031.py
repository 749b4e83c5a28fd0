"""ResNet-18 from scratch on CT nodule patches, turned and mirrored in all eight ways, eight views at prediction.

Parent: none. Expectation: AUC .96 on the test patches with or without Mixup or crops, which blur what a nodule is (with
both, six epochs ended at .907 in validation of fold 0); +0.005 from the turns.
"""

from chestfold import Experiment, run

EXP = Experiment(
    data="luna16_patches",
    backbone="resnet18",
    image_size=64,
    epochs=4,
    lr=1e-3,
    augment="d4",
    ema_decay=0.99,
    tta="d4",
)

if __name__ == "__main__":
    run(EXP)
