"""The same with wide crops, flips, shifts, contrast and Mixup.

Parent: exp028. Expectation: validation AUC down to .99, test AUC up to .97; AUC, shifted, up.
"""

from exp028 import EXP as PARENT

from chestfold import run

EXP = PARENT.but(augment="plain", crop_scale=0.4, mixup_alpha=0.2, tta="flip")

if __name__ == "__main__":
    run(EXP)
