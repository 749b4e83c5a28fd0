"""A tiny residual network with random crops, flips and shifts: does augmentation help on 256 training slices?

Parent: exp000. Expectation: AUC +0.05, because a nodule may lie anywhere in a lung; more epochs, because no image is
seen twice as it was.
"""

from exp000 import EXP as PARENT

from chestfold import run

EXP = PARENT.but(backbone="test_resnet", augment="plain", epochs=24, lr=3e-3, tta="flip")

if __name__ == "__main__":
    run(EXP)
