"""CT slices of IQ-OTH/NCCD, normal, benign or malignant: a set full of near duplicates.

Parent: exp021. Expectation: what is measured here is the set. Slices of one patient lie in it many times, and file size
or mean brightness alone reach AUC .8: a split by image adds a lot, and much is told without the lungs.
"""

from exp021 import EXP as PARENT

from chestfold import run

EXP = PARENT.but(data="iq_othnccd", image_size=64)

if __name__ == "__main__":
    run(EXP)
