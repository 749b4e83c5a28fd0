"""The recipe of exp032 for seven epochs instead of four, with another seed: a member of the blend on nodules.

Parent: exp032. Expectation: validation still rose in the fourth epoch, and eight orientations of each patch are not
learned by heart soon; better by more than a second seed alone.
"""

from exp032 import EXP as PARENT

from chestfold import run

EXP = PARENT.but(epochs=7, seed=1)

if __name__ == "__main__":
    run(EXP)
