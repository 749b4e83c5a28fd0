"""Pneumonia, bacterial and viral as three labels of one network at 64 px, each with its own cross entropy.

Parent: exp021. Expectation: the label PNEUMONIA is found as well as by two classes at the same cost (exp021-64px);
bacterial against viral is the harder question, which file names answer and pictures hardly show.
"""

from exp021 import EXP as PARENT

from chestfold import run

EXP = PARENT.but(
    data="chest_xray_multilabel",
    image_size=64,
    epochs=4,
    loss="bce",
    monitor="auc",
)

if __name__ == "__main__":
    run(EXP)
