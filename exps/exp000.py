"""A five-block CNN from scratch on the phantom slices: the smallest thing that learns.

Parent: none. Expectation: AUC above 0.9 in seconds a fold; the floor for everything else.
"""

from chestfold import Experiment, run

EXP = Experiment(
    data="phantom",
    backbone="five_block_cnn",
    image_size=64,
    epochs=10,
    batch_size=16,
    lr=1e-3,
)

if __name__ == "__main__":
    run(EXP)
