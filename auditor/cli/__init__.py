"""The command line: the only place that prints, sets exit codes and brings probes and auditor together."""

from __future__ import annotations

import importlib
import signal
import sys

import click

from auditor.errors import AuditorError

COMMANDS = {
    "run": "measure a checkpoint against a battery and write the audit",
    "check": "validate a config without loading any weights",
    "inspect": "what is in a checkpoint, and is it safe to load",
    "convert": "turn a GGUF file into a safetensors folder",
    "probes": "list the probes, or explain one",
    "report": "render a run folder again: HTML, PDF, machine formats",
    "gate": "the verdict of a run folder as an exit code",
    "verify": "recompute every number of a run folder from its evidence",
    "doctor": "is this machine ready",
}

EXIT_CODES = """
\b
Exit codes
  0    pass
  1    the gate fails, or verify found a mismatch
  2    usage or configuration
  3    insufficient evidence, or an incomplete run
  4    refused as unsafe to load
  5    nothing was measured
  130  interrupted; finished units are kept
"""


class LazyGroup(click.Group):
    """Imports a command only when it is called, so that `auditor --help` is quick."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002, click's signature
        """Names in the order in which a user meets them."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002, click's signature
        """The command of that name."""
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = getattr(importlib.import_module(f"auditor.cli.{cmd_name}"), cmd_name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """List the commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(
    cls=LazyGroup,
    epilog=EXIT_CODES,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(package_name="checkpoint-auditor", prog_name="auditor")
def cli() -> None:
    """Audit a language-model checkpoint before release: qualify the instrument, then read it."""


def main() -> None:
    """Entry point: turns every way of ending into the documented exit code."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # a cancelled CI job ends like Ctrl-C
    try:
        code = cli.main(standalone_mode=False)
    except click.Abort:
        code = _interrupted()
    except click.ClickException as error:
        error.show()
        code = 2
    except AuditorError as error:
        click.echo(f"auditor: {error}", err=True)
        code = error.exit_code
    except KeyboardInterrupt:
        code = _interrupted()
    except Exception as error:  # noqa: BLE001, Python's own exit code 1 must not read as a verdict
        click.echo(f"auditor: internal error: {type(error).__name__}: {error}", err=True)
        click.echo("This is a defect of auditor; AUDITOR_DEBUG=1 shows where.", err=True)
        if _debugging():
            raise
        code = 3
    sys.exit(code if isinstance(code, int) else 0)


def _interrupted() -> int:
    click.echo("auditor: interrupted; finished units are kept, --resume continues", err=True)
    return 130


def _debugging() -> bool:
    import os

    return bool(os.environ.get("AUDITOR_DEBUG"))
