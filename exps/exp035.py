"""The recipe of exp021 at 128 px with another seed: does resolution help on children's X-rays, on a laptop?

Parent: exp021. Expectation: validation as before, because it is saturated; AUC, shifted +0.001 to 0.003, and a better
member for the blend, because small opacities are lost at 96 px.
"""

from exp021 import EXP as PARENT

from chestfold import run

EXP = PARENT.but(image_size=128, epochs=8, seed=2)

if __name__ == "__main__":
    run(EXP)
