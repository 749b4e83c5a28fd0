"""ConvNeXt-Tiny on the children's X-rays under a competitor's recipe: strong augmentation against the shifted test set.

Parent: none. Expectation: validation as everything else (.99); test AUC .99, from augmentation at 224 px.
"""

from chestfold import Experiment, run

EXP = Experiment(
    data="chest_xray",
    backbone="convnext_tiny",
    pretrained=True,
    image_size=224,
    epochs=15,
    batch_size=32,
    lr=1e-4,
    weight_decay=0.05,
    augment="plain",
    crop_scale=0.3,
    randaugment=(2, 9),
    mixup_alpha=0.2,
    cutmix_alpha=1.0,
    label_smoothing=0.05,
    ema_decay=0.999,
    monitor="loss",
    tta="flip",
)

if __name__ == "__main__":
    run(EXP)
