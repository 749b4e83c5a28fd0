"""The three labels of exp035 by focal loss.

Parent: exp035. Expectation: the same order of the images and so the same AUC, with probabilities nearer to one half:
what is right already counts less.
"""

from exp035 import EXP as PARENT

from chestfold import run

EXP = PARENT.but(loss="focal")

if __name__ == "__main__":
    run(EXP)
