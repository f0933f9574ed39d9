"""``pierhead fip``: its commands and their options."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, cast

import click

if TYPE_CHECKING:
    from pierhead.cli.floatingips import Output

KUBECONFIG = click.option(
    "--kubeconfig", type=click.Path(path_type=Path), help="Default: $KUBECONFIG, then the one `up` wrote."
)


def plain(text: str) -> str:
    """The address itself of what ``create`` prints."""
    return text.removeprefix("fip/")


@click.group(invoke_without_command=True)
@click.pass_context
def fip(context: click.Context) -> None:
    """Floating IPs: addresses that outsiders reach, and Services use."""
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


@fip.command()
@click.option("--count", type=click.IntRange(min=1), default=1, show_default=True, help="How many.")
@click.option("--address", type=plain, metavar="ADDRESS", default="", help="Which one, when it must be that.")
@click.option("--name", default="", help="A remark.")
@click.option("--pool", default="", help="Default: the pool named default, or the only one.")
@KUBECONFIG
def create(*, count: int, address: str, name: str, pool: str, kubeconfig: Path | None) -> None:
    """Allocate floating IPs."""
    from pierhead.cli import floatingips

    asked = {"address": address, "displayName": name, "pool": pool}
    floatingips.create(kubeconfig, count, {key: value for key, value in asked.items() if value})


@fip.command()
@click.argument("addresses", type=plain, nargs=-1, metavar="[ADDRESS]…")
@click.option("-o", "--output", type=click.Choice(("wide", "json", "ip")))
@KUBECONFIG
def get(*, addresses: tuple[str, ...], output: str | None, kubeconfig: Path | None) -> None:
    """Show floating IPs and who uses them."""
    from pierhead.cli import floatingips

    floatingips.get(kubeconfig, addresses, cast("Output", output or ""))


@fip.command()
@click.argument("address", type=plain, metavar="ADDRESS")
@click.argument("name")
@KUBECONFIG
def name(*, address: str, name: str, kubeconfig: Path | None) -> None:
    """Give a floating IP a name, which is a remark."""
    from pierhead.cli import floatingips

    floatingips.name(kubeconfig, address, name)


@fip.command()
@click.argument("addresses", type=plain, nargs=-1, metavar="[ADDRESS]…")
@click.option("--all", "every", is_flag=True, help="Each that does not belong to a Service alone.")
@KUBECONFIG
def delete(*, addresses: tuple[str, ...], every: bool, kubeconfig: Path | None) -> None:
    """Release floating IPs. One that a Service uses stays."""
    from pierhead.cli import floatingips

    floatingips.delete(kubeconfig, addresses, every=every)
