"""The nodule patches of exp031 with synthetic nodules in the training folds: what are they good for?

Parent: exp031. Expectation: nothing gained with all real nodules, something with a tenth of them: a generator can only
vary what it has seen. Needs input/luna16_synthetic_fold0 to _fold4 (chestfold synth train, then synth blend).
"""

from exp031 import EXP as PARENT

from chestfold import run

EXP = PARENT.but(synthetic="luna16_synthetic")

if __name__ == "__main__":
    run(EXP)
