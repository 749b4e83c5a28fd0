"""The same CNN with random crops, flips and shifts: does augmentation help on 256 training slices?

Parent: exp000. Expectation: AUC +0.02, because a nodule may lie anywhere in a lung.
"""

from exp000 import EXP as PARENT

from chestfold import run

EXP = PARENT.but(augment="plain", tta="flip")

if __name__ == "__main__":
    run(EXP)
