"""The five-block CNN from scratch of a first course, on the children's X-rays.

Parent: none. The source: batch normalisation, max pooling, four dense layers with dropout, sigmoid and binary
cross-entropy (two softmax outputs with cross-entropy are the same), Adam, batch 32, 10 epochs, augmentation, best
checkpoint, early stopping. Expectation: its accuracy on the official test, .91, at a validation of .95.
"""

from chestfold import Experiment, run

EXP = Experiment(
    data="chest_xray",
    backbone="five_block_cnn",
    image_size=150,
    epochs=10,
    batch_size=32,
    optimizer="adam",
    lr=1e-3,
    weight_decay=0.0,
    drop_rate=0.2,
    augment="plain",
    monitor="accuracy",
    patience=4,
)

if __name__ == "__main__":
    run(EXP)
