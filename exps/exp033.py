"""The recipe of exp021 with another seed and classes weighed alike: the third member of the blend.

Parent: exp021. Expectation: as good alone; its loss does not profit from three in four children being ill, so that
fewer normals of the shifted test set are called pneumonia.
"""

from exp021 import EXP as PARENT

from chestfold import run

EXP = PARENT.but(seed=1, epochs=6, class_weights="balanced")

if __name__ == "__main__":
    run(EXP)
