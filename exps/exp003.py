"""Transfer learning as a first course teaches it: VGG16's frozen features at 50 px, 300 + 300 images, a small head.

Parent: none. The source: 256 ReLU units, dropout 0.5, softmax; SGD 1e-4 with momentum 0.9, batch 100, 16 epochs.
Expectation: accuracy .82, as there; features are good, the head hardly moves in 96 steps.
"""

from chestfold import Experiment, run

EXP = Experiment(
    data="chest_xray",
    backbone="vgg16",
    pretrained=True,
    freeze=True,
    head_width=256,
    drop_rate=0.5,
    image_size=50,
    train_per_class=300,
    epochs=16,
    batch_size=100,
    optimizer="sgd",
    lr=1e-4,
    weight_decay=0.0,
    schedule="constant",
    warmup_epochs=0.0,
)

if __name__ == "__main__":
    run(EXP)
