"""What can go wrong that is not a bug. Every text is one sentence: which file, row or field, and what to do."""


class ChestfoldError(Exception):
    """The base of the three kinds; the commands print it and exit with code 2."""


class InputError(ChestfoldError):
    """A file, an option or a setting that the user can correct."""


class ServiceError(ChestfoldError):
    """Something outside of this program: the disk, the network, Kaggle, W&B, a model hub."""


class TrainingError(ChestfoldError):
    """A training that cannot be continued: a loss that is no number, a generator that has collapsed."""
