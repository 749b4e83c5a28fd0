"""How W&B is configured here, told without loading it: by variables, and by the files of its own commands.

`wandb offline` and `wandb disabled` write ./wandb/settings, `wandb login --host` ~/.config/wandb/settings, and
`wandb login` ~/.netrc. An empty variable counts as one that is not set.
"""

import configparser
import netrc
import os
from pathlib import Path
from urllib.parse import urlsplit

from chestfold.core.errors import InputError
from chestfold.core.files import project_dir
from chestfold.integrations.wandb.sweep import VARIABLES as SWEEP_VARIABLES
from chestfold.integrations.wandb.sweep import is_shown

MODES = ("offline", "online", "disabled")
PROJECT = "chestfold"
SERVER = "https://api.wandb.ai"
OF_SETTINGS = ("base_url", "entity", "project")
"""Lines of a settings file that have a variable of the same name."""
OF_OTHERS = ("WANDB_DISABLED", "WANDB_DIR", "WANDB_SERVICE", "WANDB_RESUME")
"""Variables that would change what a process beside the training does."""


def choose_mode(given: str | None) -> str:
    """The mode: the one given, else that of the environment, else online where a key is configured, else disabled.

    Raises:
        InputError: it is none of the three, or a settings file is damaged.
    """
    if given:
        return given
    disabled = variable("WANDB_DISABLED").lower() in ("true", "1", "yes", "on")
    asked = "disabled" if disabled else variable("WANDB_MODE")
    settings = read_settings() if not asked else {}
    asked = asked or settings.get("mode", "")
    if asked and asked not in MODES:
        raise InputError(f"WANDB_MODE is {asked!r}; offline, online and disabled are understood")
    key = bool(secrets()) or bool(variable("WANDB_IDENTITY_TOKEN_FILE"))
    by_default = "online" if key else "disabled"
    if asked == "online" and not variable("WANDB_MODE"):  # what `wandb online` leaves in a settings file
        return by_default
    return asked or by_default


def variable(name: str) -> str:
    """An environment variable; empty where it is not set."""
    return os.environ.get(name, "")


def server() -> str:
    """The address of the W&B server."""
    return variable("WANDB_BASE_URL") or read_settings().get("base_url") or SERVER


def read_settings() -> dict[str, str]:
    """What W&B's settings files say: those of the user, of the project, and of this folder, of which the last counts.

    Raises:
        InputError: one is damaged: it might say that nothing is to be sent.
    """
    user = Path(variable("WANDB_CONFIG_DIR") or "~/.config/wandb").expanduser()
    here = Path(variable("WANDB_DIR") or ".").expanduser()
    found: dict[str, str] = {}
    for folder in (user, *(root / name for root in (project_dir(), here) for name in ("wandb", ".wandb"))):
        found |= _read(folder / "settings")
    return {name: value for name, value in found.items() if value}


def _read(path: Path) -> dict[str, str]:
    parser = configparser.ConfigParser(interpolation=None)
    try:
        parser.read(path, encoding="utf-8")
    except (OSError, ValueError, configparser.Error) as error:
        reason = str(error).splitlines()[0]
        raise InputError(
            f"{path}, a settings file of W&B's, cannot be read ({reason}); mend it or delete it"
        ) from error
    return dict(parser["default"]) if parser.has_section("default") else {}


def secrets() -> list[str]:
    """The keys that W&B would find, and might print: in the environment, in a settings file, in .netrc."""
    found = [variable("WANDB_API_KEY"), read_settings().get("api_key", ""), _netrc_key()]
    return [key for key in found if key]


def _netrc_key() -> str:
    paths = [Path(variable("NETRC"))] if variable("NETRC") else [Path("~/.netrc"), Path("~/_netrc")]
    for path in paths:
        try:
            found = netrc.netrc(path.expanduser()).authenticators(urlsplit(server()).netloc)
        except (OSError, netrc.NetrcParseError):
            continue
        if found and found[2]:
            return found[2]
    return ""


def follower_environment(mode: str, shown: str) -> dict[str, str]:
    """The variables of the process that shows NAME or NAME/foldK: complete, whatever folder it runs in.

    Those of a sweep are for what is shown as the sweep's run alone: W&B would make all runs that one.
    """
    kept = {name: value for name, value in os.environ.items() if value or not name.startswith("WANDB_")}
    for name in (*OF_OTHERS, *(() if is_shown(shown) else SWEEP_VARIABLES)):
        kept.pop(name, None)
    settings = read_settings()
    for name in OF_SETTINGS:
        if settings.get(name):
            kept.setdefault(f"WANDB_{name.upper()}", settings[name])
    kept.setdefault("WANDB_PROJECT", PROJECT)
    silent = {"WANDB_MODE": mode, "WANDB_SILENT": "true", "WANDB_ERROR_REPORTING": "false"}
    return kept | silent
