"""Four classes with COVID-19.

Parent: exp021. Expectation: COVID-19 at AUC 1.0, for the wrong reason: those X-rays are of adults from one hospital.
"""

from exp021 import EXP as PARENT

from chestfold import run

EXP = PARENT.but(data="covid_4class")

if __name__ == "__main__":
    run(EXP)
