"""VGG16 on CT nodule patches: the first of the sources' six backbones under one recipe without augmentation.

Parent: none. VGG's two layers of 4,096 (119 of its 138 million weights) give way to one of 256. Expectation: the
weakest of the six, and the slowest.
"""

from chestfold import Experiment, run

EXP = Experiment(
    data="luna16_patches",
    backbone="vgg16",
    pretrained=True,
    head_width=256,
    image_size=224,
    epochs=20,
    batch_size=32,
    optimizer="adam",
    lr=1e-4,
    weight_decay=0.0,
)

if __name__ == "__main__":
    run(EXP)
