"""Whether a run may use the output folder of an earlier run."""

from pathlib import Path

from iseg_cli.errors import PredictionsError
from iseg_cli.storage.contents import holds_masks
from iseg_cli.storage.run_info import SYNTHESIS, RunInfo


def cannot_overwrite(path: Path) -> PredictionsError:
    """Return the error of a shard that is to overwrite a folder."""
    return PredictionsError(
        f"a shard cannot overwrite {path}, where other shards may write; remove the folder "
        "first, or pass another --out"
    )


def require_same_command(path: Path, earlier: RunInfo, run: RunInfo) -> None:
    """Raise PredictionsError if another command made the run in a folder."""
    if _is_other_command(earlier, run):
        raise PredictionsError(
            f"{path} holds the results of another command (its task is {earlier.task}); "
            "pass another folder as --out"
        )


def require_same_settings(path: Path, earlier: RunInfo, run: RunInfo) -> None:
    """Raise PredictionsError, naming the settings, if a run would write other masks."""
    if changed := earlier.differences(run):
        raise PredictionsError(
            f"{path} was made with other settings ({', '.join(changed)}); pass "
            "--overwrite to replace its masks or --out for another folder"
        )


def is_left_empty(path: Path, earlier: RunInfo, run: RunInfo) -> bool:
    """Tell whether a run of the same command and other settings left no mask in its folder."""
    is_other_run = bool(earlier.differences(run)) and not _is_other_command(earlier, run)
    return is_other_run and not holds_masks(path)


def _is_other_command(earlier: RunInfo, run: RunInfo) -> bool:
    return (earlier.task == SYNTHESIS) != (run.task == SYNTHESIS)
