"""ViT-Small under the competitor's recipe.

Parent: exp022. Expectation: below the others on 4,000 images; the most different member of a blend.
"""

from exp022 import EXP as PARENT

from chestfold import run

EXP = PARENT.but(backbone="vit_small_patch16_224")

if __name__ == "__main__":
    run(EXP)
