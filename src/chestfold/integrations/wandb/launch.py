"""W&B as a tracker: every fold and every result gets a process that writes a W&B run from its folder (`process`)."""

from chestfold.core.console import say
from chestfold.core.extras import require
from chestfold.core.files import runs_dir
from chestfold.integrations.follow.launch import Follower, FollowTracker
from chestfold.integrations.tracker import NoTracker, Tracker
from chestfold.integrations.wandb.environment import choose_mode, follower_environment

UNREACHABLE = 3
"""A log process's exit code: no W&B server answered, so the runs were written offline."""
SYNC = "cd {} && wandb sync wandb/offline-run-*"


def open_wandb(given: str | None) -> Tracker:
    """The tracker of a mode: the one given, else that of the environment, else online where a key is configured.

    Without a mode and without a key nothing is shown.

    Raises:
        InputError: the mode is none of the three, or wandb is not installed.
    """
    mode = choose_mode(given)
    if mode == "disabled":
        return NoTracker("W&B is off: log in with `wandb login`, or say --wandb offline")
    require("wandb", "wandb", "--wandb disabled")
    return WandbTracker(mode)


class WandbTracker(FollowTracker):
    """Starts a log process for each fold and each result."""

    title = "W&B"
    name = "wandb"
    module = "chestfold.integrations.wandb.process"

    def environment(self, shown: str) -> dict[str, str]:
        """What W&B reads, and nothing of a sweep but for the run that is the sweep's."""
        return follower_environment(self.mode, shown)

    def reason(self, follower: Follower) -> str:
        """Why one failed, or that it was written offline."""
        if follower.process.returncode != UNREACHABLE:
            return super().reason(follower)
        return f"W&B cannot be reached; what it would have got is kept: {SYNC.format(runs_dir())}"

    def tell(self, followers: list[Follower]) -> None:
        """Say in one sentence what did not go well; a server that cannot be reached has a way on of its own."""
        codes = {follower.process.returncode for follower in followers}
        if UNREACHABLE in codes and codes <= {0, UNREACHABLE}:
            say(f"W&B cannot be reached; its runs are kept: {SYNC.format(runs_dir())}")
            return
        super().tell([follower for follower in followers if follower.process.returncode != UNREACHABLE])
