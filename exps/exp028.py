"""ResNet-18 from scratch at 64 px without augmentation: what a validation score hides.

Parent: none. Expectation: validation AUC .998 and a test AUC of .92; "AUC, shifted" must show which of the two to
believe.
"""

from chestfold import Experiment, run

EXP = Experiment(data="chest_xray", backbone="resnet18", image_size=64, epochs=12, lr=1e-3)

if __name__ == "__main__":
    run(EXP)
