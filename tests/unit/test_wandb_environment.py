"""How W&B is configured: modes, keys and addresses, by variables and by the files of its own commands."""

from pathlib import Path

import pytest
from wandb_server import KEY

from chestfold.core.errors import InputError
from chestfold.core.run_folder import RunFolder
from chestfold.integrations.tracker import NoTracker, open_tracker
from chestfold.integrations.wandb import environment, sweep

OWN = "https://wandb.ward.example:8443"


@pytest.fixture(autouse=True)
def machine(project, monkeypatch, tmp_path) -> Path:
    """A home folder without anything of W&B's, and no variable of it; the project is the current folder."""
    for name in ("MODE", "API_KEY", "BASE_URL", "CONFIG_DIR", "DIR", "DISABLED", "SWEEP_ID", "RUN_ID", "PROJECT"):
        monkeypatch.delenv(f"WANDB_{name}", raising=False)
    monkeypatch.delenv("NETRC", raising=False)
    monkeypatch.delenv(sweep.SHOWN, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(project.root)
    return tmp_path


def log_in(path: Path, host: str = "api.wandb.ai") -> None:
    path.write_text(f"machine {host} login user password {KEY}\n")
    path.chmod(0o600)


def write_settings(folder: Path, **lines: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "settings").write_text("[default]\n" + "".join(f"{k} = {v}\n" for k, v in lines.items()))


def test_nothing_is_shown_on_a_machine_without_a_key(project):
    assert isinstance(open_tracker("wandb"), NoTracker)
    with pytest.raises(InputError, match="W&B is off"):
        open_tracker("wandb").send("exp100")


@pytest.mark.parametrize("value", ["true", "1", "True", "YES", "on"])
@pytest.mark.parametrize("mode", [None, "online"])
def test_wandb_disabled_is_heeded(monkeypatch, value, mode):
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    monkeypatch.setenv("WANDB_DISABLED", value)
    if mode:
        monkeypatch.setenv("WANDB_MODE", mode)
    assert environment.choose_mode(None) == "disabled" and environment.choose_mode("offline") == "offline"


@pytest.mark.parametrize("where", ["project/wandb", "project/.wandb", ".config/wandb"])
@pytest.mark.parametrize("mode", ["offline", "disabled"])
def test_what_the_command_wandb_offline_leaves_is_heeded(monkeypatch, machine, where, mode):
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    write_settings(machine / where, mode=mode)
    assert environment.choose_mode(None) == mode
    monkeypatch.chdir(machine)  # the command is typed somewhere else
    assert environment.choose_mode(None) == mode
    monkeypatch.setenv("WANDB_MODE", "online")
    assert environment.choose_mode(None) == "online"


def test_wandb_online_without_a_key_shows_nothing(machine):
    write_settings(machine / "project" / "wandb", mode="online")
    assert environment.choose_mode(None) == "disabled"


def test_a_damaged_settings_file_is_not_passed_over(monkeypatch, machine):
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    write_settings(machine / "project" / "wandb", mode="offline")
    (machine / "project" / "wandb" / "settings").write_text("mode = offline")
    with pytest.raises(InputError, match="settings, a settings file of W&B's, cannot be read"):
        environment.choose_mode(None)
    assert environment.choose_mode("disabled") == "disabled"


@pytest.mark.parametrize("by", ["variable", "settings"])
def test_a_server_of_ones_own_is_seen(monkeypatch, machine, by):
    if by == "variable":
        monkeypatch.setenv("WANDB_BASE_URL", OWN)
    else:
        write_settings(machine / ".config" / "wandb", base_url=OWN)
    assert environment.choose_mode(None) == "disabled"
    log_in(machine / ".netrc", "wandb.ward.example:8443")
    assert environment.choose_mode(None) == "online" and environment.secrets() == [KEY]
    assert environment.follower_environment("online", "exp100")["WANDB_BASE_URL"] == OWN


def test_netrc_may_be_elsewhere(monkeypatch, machine):
    log_in(machine / "keys")
    assert environment.choose_mode(None) == "disabled"
    monkeypatch.setenv("NETRC", str(machine / "keys"))
    assert environment.choose_mode(None) == "online"


def test_empty_variables_count_as_unset(monkeypatch):
    for name in ("MODE", "PROJECT", "ENTITY", "BASE_URL", "API_KEY", "DISABLED", "DIR"):
        monkeypatch.setenv(f"WANDB_{name}", "")
    assert environment.choose_mode(None) == "disabled"
    given = environment.follower_environment("offline", "exp100")
    assert given["WANDB_PROJECT"] == "chestfold" and "" not in {v for k, v in given.items() if k.startswith("WANDB_")}


def test_only_one_run_of_a_trial_is_the_sweeps(monkeypatch):
    monkeypatch.setenv("WANDB_SWEEP_ID", "sweep1")
    monkeypatch.setenv("WANDB_RUN_ID", "k3x9")
    for folds, expected in (((0,), "exp100-k3x9/fold0"), ((), "exp100-k3x9"), ((0, 1), "exp100-k3x9")):
        monkeypatch.setenv(sweep.SHOWN, "")
        sweep.choose_shown(RunFolder("exp100-k3x9").name, folds)
        shown = ["exp100-k3x9", "exp100-k3x9/fold0", "exp100-k3x9/fold1"]
        sweeps = [name for name in shown if "WANDB_RUN_ID" in environment.follower_environment("online", name)]
        assert sweeps == [expected]
