"""``pierhead lab``: its commands and their options."""

from __future__ import annotations

from pathlib import Path

import click

from pierhead.cli.folder import Folder

RUNNING = click.option(
    "--data-dir",
    type=Folder(path_type=Path),
    help="The one given to `lab up`.  [default: that of $KUBECONFIG, else as for `lab up`]",
)


@click.group(invoke_without_command=True)
@click.pass_context
def lab(context: click.Context) -> None:
    """A region of several nodes in namespaces on this machine, which ends without a trace."""
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


@lab.command()
@click.option("--nodes", type=int, metavar="N", help="[default: one for each zone]")
@click.option("--zones", metavar="Z1,Z2,…", help="Where they are, in turn.  [default: a,b,c]")
@click.option(
    "--listen", default="127.0.0.1:6443", show_default=True, metavar="HOST:PORT", help="Port 0 picks a free one."
)
@click.option("--allow-root-pods", is_flag=True, help="As root: pods may ask for runAsUser 0; else they run as nobody.")
@click.option(
    "--data-dir",
    type=Folder(path_type=Path),
    help="State, credentials, logs of pods.  [default: $XDG_STATE_HOME/pierhead-lab; for root /var/lib/pierhead-lab]",
)
def up(*, nodes: int | None, zones: str | None, listen: str, allow_root_pods: bool, data_dir: Path | None) -> None:
    """Run a lab, until Ctrl-C."""
    from pierhead.cli import labs

    labs.run(labs.settings(data_dir, nodes, zones, listen, allow_root_pods=allow_root_pods))


@lab.command("exec", context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@click.option("--namespace", "-n", default="default", show_default=True, help="The pod's.")
@RUNNING
@click.argument("where", metavar="NODE|POD|outside")
@click.argument("command", metavar="COMMAND…", nargs=-1, required=True, type=click.UNPROCESSED)
def execute(*, namespace: str, data_dir: Path | None, where: str, command: tuple[str, ...]) -> None:
    """Run a command in the network of a node, of a pod or of the host outside.

    A pod that is called like one of the others is pod/NAME.
    """
    from pierhead.cli import labentry

    labentry.execute(labentry.directory_of(data_dir), where, namespace, command)


@lab.command()
@RUNNING
def down(*, data_dir: Path | None) -> None:
    """End a lab that runs elsewhere, as Ctrl-C would there."""
    from pierhead.cli import labentry

    labentry.end(labentry.directory_of(data_dir))
