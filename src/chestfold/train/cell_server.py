"""`python -m chestfold.train.cell_server PARENT`: the second of the three processes of `cell`.

It reads orders from its stdin and writes messages to its stdout; what is printed meanwhile goes to stderr.
"""

import os
import pickle
import sys

from chestfold.core.processes import end_with_parent


def main() -> None:
    """Fork a child for each order until there is no parent any more."""
    end_with_parent(int(sys.argv[1]))
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)

    import chestfold.train.preload  # noqa: F401  torch and the rest, which each child has then
    from chestfold.train.cell import in_a_child

    def send(message: tuple) -> None:
        pickle.dump(message, answers)
        answers.flush()

    send(("ready",))
    while True:
        try:
            order, environment = pickle.load(sys.stdin.buffer)
        except EOFError:
            return
        for message in in_a_child(order, environment):
            send(message)
        send(("done",))


if __name__ == "__main__":
    main()
