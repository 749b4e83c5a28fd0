"""All that is not lung is black: the sources' cure for a model that looks beside the lungs.

Parent: exp034. Expectation: the marker is gone with the rest, so that validation and test agree, within 0.02 AUC of the
network that never saw a marker; its heat maps point at the nodule.
"""

from exp034 import EXP as PARENT

from chestfold import run

EXP = PARENT.but(lung_mask="zero")

if __name__ == "__main__":
    run(EXP)
