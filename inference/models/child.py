"""Work with TensorFlow in a process of its own: its memory, and its crashes, stay out of ours.

The parent runs a module by `run_module`; `child_main` is the `main` of a module that works in a folder.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import inference
from inference.errors import BuildFailed, InferenceError, MissingTool, ModelRefused

REFUSED = 2
"""Exit code: the model was refused; the last line of stderr says why."""

MISSING = 3
"""Exit code: a library is not installed; the last line of stderr says which."""


def run_module(
    module: str,
    arguments: Sequence[str],
    *,
    what: str,
    say: Callable[[str], None],
    doing: str = "converting",
    gpus: bool = False,
) -> None:
    """Run `python -m module arguments`, and pass each line of its stdout on.

    Args:
        module, arguments: what to run.
        what: the model's name, for errors.
        say: called with each line; what it raises ends the child.
        doing: what the child does with it, for errors.
        gpus: whether it may use them; converting is the same everywhere without.

    Raises:
        ModelRefused, MissingTool: with the child's own sentence.
        BuildFailed: it ended in any other way; with the last lines it said.
    """
    root = str(Path(inference.__file__).parents[1])
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")])),
        "KERAS_BACKEND": "tensorflow",
        "TF_CPP_MIN_LOG_LEVEL": "2",
        **({} if gpus else {"CUDA_VISIBLE_DEVICES": "-1"}),
    }
    with tempfile.TemporaryFile() as complaints:
        with subprocess.Popen(
            [sys.executable, "-m", module, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=complaints,
            env=environment,
            text=True,
        ) as child:
            try:
                for line in child.stdout or ():
                    say(line.strip())
                code = child.wait()
            finally:
                child.kill()
        if code == 0:
            return
        complaints.seek(0)
        said = complaints.read().decode("utf-8", "replace").strip().splitlines()
        last = " | ".join(deque(said, maxlen=1 if code in (REFUSED, MISSING) else 5)) or "nothing"
        if code == REFUSED:
            raise ModelRefused(f"{what} was refused: {last}")
        if code == MISSING:
            raise MissingTool(last)
        raise BuildFailed(f"{doing} {what} ended with {code}; it said: {last}")


def say_facts(**facts: Any) -> None:
    """Tell the parent, in a line of JSON; where it is gone, this fails, and the child ends."""
    sys.stdout.write(json.dumps(facts) + "\n")
    sys.stdout.flush()


def child_main(module: str, about: str | None, work: Callable[[Path], None]) -> int:
    """Carry out what a work folder asks for; a refusal is one line on stderr and its exit code.

    Args:
        module, about: the child's own name and docstring, for its help.
        work: called with the folder that the command line names.
    """
    parser = argparse.ArgumentParser(prog=f"python -m {module}", description=about)
    parser.add_argument("folder", type=Path)
    try:
        work(parser.parse_args().folder)
    except InferenceError as error:
        sys.stderr.write(f"{' '.join(str(error).split())}\n")
        return MISSING if isinstance(error, MissingTool) else REFUSED
    return 0
