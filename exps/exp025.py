"""Swin-Tiny under the competitor's recipe.

Parent: exp022. Expectation: level with ConvNeXt; attention in windows errs elsewhere than convolutions do.
"""

from exp022 import EXP as PARENT

from chestfold import run

EXP = PARENT.but(backbone="swin_tiny_patch4_window7_224")

if __name__ == "__main__":
    run(EXP)
