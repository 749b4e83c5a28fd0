"""The process that shows a fold or a result in W&B; started by `launch`, not by people."""

from chestfold.integrations.follow import process


def main() -> None:
    """As `follow.process.main`."""
    process.main("chestfold.integrations.wandb.process", _open)


def _open(mode: str) -> process.Service:
    from chestfold.integrations.wandb.log import WandbService  # it loads wandb

    return WandbService(mode)


if __name__ == "__main__":
    main()
