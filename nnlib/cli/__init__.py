"""The command line: one file per command, loaded at its use; packages may add others.

Data go to stdout, progress and errors to stderr.  Exit codes:

====  ==========================================================
0     done
1     error, also: stdout could not be written (files were)
2     wrong usage
3     a check or a comparison failed
4     a backend or an optional package is missing
130   interrupted
====  ==========================================================
"""

from __future__ import annotations

import traceback
from importlib import import_module
from typing import Any

import click

from nnlib._version import __version__
from nnlib.cli.plugins import commands, load_command
from nnlib.cli.streams import lost, standard_streams
from nnlib.errors import BackendUnavailableError, MissingExtraError, NnlibError, did_you_mean

__all__ = ["CHECK_FAILED", "ERROR", "INTERRUPTED", "MISSING", "main"]

ERROR, CHECK_FAILED, MISSING, INTERRUPTED = 1, 3, 4, 130  # 2, wrong usage, is click's own

VERBS = {
    "doctor": "Check that nnlib works here, and show how to fix what does not.",
    "info": "Describe this machine: what to paste into a bug report.",
    "sample": "Let a trained language model write, or translate.",
    "summary": "Show a model's layers, shapes, parameters, FLOPs and memory.",
    "train": "Train a model on a data set.",
}
"""Verb → its line in ``nnlib --help``; the verb is the function of that name in the module of that
name, which ``--help`` does not load."""


class Verbs(click.Group):
    """The commands, and the handling of their errors."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names of the commands."""
        return sorted({*VERBS, *commands()})

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        """Load a command."""
        if name in VERBS:
            command = getattr(import_module(f"nnlib.cli.{name}"), name)
            assert isinstance(command, click.Command)
            return command
        return load_command(commands()[name]) if name in commands() else None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands, loading only those of other packages."""
        lines = dict(VERBS)
        for name in commands().keys() - lines:
            command = self.get_command(ctx, name)
            lines[name] = "" if command is None else command.get_short_help_str(limit=200)
        with formatter.section("Commands"):
            formatter.write_dl(sorted(lines.items()))

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command, or suggest a similar one."""
        if any("\0" in argument for argument in args):
            ctx.fail("An argument must not have a NUL byte.")
        if args[0] not in VERBS and not args[0].startswith("-"):
            known = self.list_commands(ctx)
            if args[0] not in known:
                listed, hint = ", ".join(known), did_you_mean(args[0], known)
                ctx.fail(f"The verb must be one of {listed}. Received: {args[0]!r}.{hint}")
        return super().resolve_command(ctx, args)

    def main(self, *args: Any, **options: Any) -> Any:
        """Run the command line; a closed pipe does not end it."""
        with standard_streams():
            try:
                return super().main(*args, **options)
            except SystemExit as end:
                if end.code or (failure := lost()) is None:
                    raise
                click.echo(f"error: the output cannot be written: {failure.strerror}", err=True)
                raise SystemExit(ERROR) from failure

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; print an error of nnlib in one line and set the exit code.

        Any other exception is a bug, which ends with its traceback and exit code 1.
        """
        try:
            return super().invoke(ctx)
        except NnlibError as error:
            if ctx.params["debug"]:
                traceback.print_exc()
            click.echo(f"error: {error}", err=True)
            missing = isinstance(error, BackendUnavailableError | MissingExtraError)
            ctx.exit(MISSING if missing else ERROR)
        except (KeyboardInterrupt, click.Abort):
            click.echo("interrupted", err=True)
            ctx.exit(INTERRUPTED)


@click.group("nnlib", cls=Verbs, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, message="nnlib %(version)s")
@click.option("--debug", is_flag=True, envvar="NNLIB_DEBUG", help="Show tracebacks of errors.")
def main(debug: bool) -> None:
    """Train networks with NumPy or CuPy, and measure how much faster the GPU is.

    Every command has --help and --json. The environment variable NNLIB_BACKEND (numpy, cupy,
    cupy:1, auto) selects the backend.
    """
