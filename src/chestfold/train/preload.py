"""What a training process needs, imported once by the server from which they are forked (see `jobs`)."""

from chestfold.core.garbage import collect_rarely

collect_rarely()

import chestfold.train.run  # noqa: E402, F401  after the line above, which makes it faster
