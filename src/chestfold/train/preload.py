"""What a training process needs, imported once by the server from which they are forked (see `jobs`)."""

from chestfold.core.memory import tune_memory

tune_memory()

import matplotlib  # noqa: E402, F401  its fonts write on the pictures of augmented images
import sklearn.covariance  # noqa: E402, F401  of `models.ood`, which imports it when a fold has been trained

import chestfold.train.run  # noqa: E402, F401  after `tune_memory`, which makes it faster
