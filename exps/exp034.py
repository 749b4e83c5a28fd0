"""A CNN whose last map is fine, on slices in which a burnt-in marker gives the class away.

Parent: none. Expectation: validation AUC 1.00, because the marker is there too; in test, where the marker says nothing,
far below the 0.98 of the same network without the shortcut (--data phantom); its heat maps point at the marker.
"""

from chestfold import Experiment, run

EXP = Experiment(
    data="phantom_marked",
    backbone="fine_cnn",
    image_size=128,
    epochs=16,
    batch_size=16,
    lr=3e-3,
    augment="d4",
)

if __name__ == "__main__":
    run(EXP)
