"""What all of Winnow's commands share: exit codes, `--json`, progress on stderr.

A command is arguments → one call → one summary. `carry_out` returns the summary; a dataclass or a dict.
Exit codes: 0 done, 1 done with some files refused, 2 wrong usage or nothing done, 3 a fault or no database, 130
stopped from the keyboard.
"""

import json
import os
import sys
import traceback
from argparse import ArgumentTypeError
from collections.abc import Callable
from dataclasses import asdict, is_dataclass
from typing import Any, NoReturn

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import DatabaseError, connection
from django.db.migrations.executor import MigrationExecutor
from filelock import FileLock
from tqdm import tqdm

from labeling.errors import LabelingError, RunStopped
from labeling.pipeline import InferenceError

EXIT_DONE, EXIT_SOME_REFUSED, EXIT_NOTHING, EXIT_FAULT, EXIT_STOPPED = 0, 1, 2, 3, 130


def whole_number(least: int, most: int | None = None) -> Callable[[str], int]:
    """An argument type: a whole number within bounds."""

    def parse(text: str) -> int:
        if not text.lstrip("-").isdecimal() or int(text) < least or (most is not None and int(text) > most):
            bounds = f"of at least {least}" if most is None else f"from {least} to {most}"
            raise ArgumentTypeError(f"expected a whole number {bounds}, received {text!r}")
        return int(text)

    return parse


def class_pair(text: str) -> tuple[str, str]:
    """An argument type: what a model's class means in a dataset."""
    name, equals, value = text.partition("=")
    if not equals or not name.strip() or not value.strip():
        raise ArgumentTypeError(f"expected MODEL_CLASS=CLASS, received {text!r}")
    return name.strip(), value.strip()


class ProgressBar:
    """A bar on stderr that follows a run's stages; silent where stderr is no terminal and nobody asked."""

    def __init__(self, *, shown: bool) -> None:
        self._shown = shown
        self._stage = ""
        self._bar: tqdm[Any] | None = None

    def __call__(self, done: int, total: int | None, stage: str) -> None:
        if not self._shown:
            return
        if stage != self._stage:
            self.close()
            self._stage = stage
            self._bar = tqdm(total=total, initial=done, desc=stage, unit="", file=sys.stderr, leave=True, smoothing=0.1)
        if self._bar is not None:
            self._bar.total = total
            self._bar.update(done - self._bar.n)

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None


def bring_database_up_to_date() -> None:
    """Apply the migrations that are missing, so that a new home works with any command; one process does it."""
    settings.LOCKS_ROOT.mkdir(parents=True, exist_ok=True)
    with FileLock(settings.LOCKS_ROOT / "migrate.lock"):
        executor = MigrationExecutor(connection)
        if executor.migration_plan(executor.loader.graph.leaf_nodes()):
            call_command("migrate", verbosity=0, interactive=False)


class WinnowCommand(BaseCommand):
    """The base of all commands; a subclass gives `arguments`, `carry_out` and `say`."""

    needs_database = True
    """False: the command works on files alone, and neither asks for a database nor makes one."""

    def add_arguments(self, parser: CommandParser) -> None:
        self.arguments(parser)
        parser.add_argument(
            "--json",
            action="store_true",
            dest="as_json",
            help="Print one JSON object as the last line of stdout.",
        )
        parser.add_argument("--quiet", action="store_true", help="No progress bar.")

    def arguments(self, parser: CommandParser) -> None:
        """Add the command's own arguments."""

    def carry_out(self, options: dict[str, Any]) -> Any:
        """Do the work and return its summary."""
        raise NotImplementedError

    def say(self, summary: Any) -> str:
        """The summary in words; one line, or a few."""
        raise NotImplementedError

    def refused(self, summary: Any) -> int:
        """How many files were refused; decides between the exit codes 0 and 1."""
        return int(getattr(summary, "refused", 0))

    def handle(self, *args: Any, **options: Any) -> None:
        self.progress = ProgressBar(shown=not options["quiet"] and sys.stderr.isatty())
        try:
            if self.needs_database:
                bring_database_up_to_date()
            summary = self.carry_out(options)
        except RunStopped as stopped:
            self._end(options, str(stopped), EXIT_STOPPED)
        except (LabelingError, InferenceError) as error:
            self._end(options, str(error), EXIT_NOTHING)
        except BrokenPipeError:
            # `list_issues … | head` has what it wanted; Python's own complaint at exit is kept away too.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            sys.exit(EXIT_DONE)
        except DatabaseError as error:
            # The message may hold an address, never a password: drivers leave it out.
            self._end(options, f"The database of DATABASE_URL cannot be used: {error}".strip(), EXIT_FAULT)
        except Exception as error:
            traceback.print_exc()
            self._end(options, f"A fault of Winnow: {type(error).__name__}. Please report the lines above.", EXIT_FAULT)
        except KeyboardInterrupt:
            self._end(
                options,
                "Stopped; what is finished is kept. The same command goes on from here.",
                EXIT_STOPPED,
            )
        finally:
            self.progress.close()
        facts = asdict(summary) if is_dataclass(summary) and not isinstance(summary, type) else dict(summary)
        if said := json.dumps(facts, default=str) if options["as_json"] else self.say(summary):
            self.stdout.write(said)
        if self.refused(summary):
            sys.exit(EXIT_SOME_REFUSED)

    def _end(self, options: dict[str, Any], message: str, code: int) -> NoReturn:
        self.progress.close()
        if options["as_json"]:
            self.stdout.write(json.dumps({"error": message}))
        raise CommandError(message, returncode=code)
