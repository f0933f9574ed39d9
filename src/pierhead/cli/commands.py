"""The commands and their options."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import click

from pierhead import __version__
from pierhead.cli.fip import fip
from pierhead.cli.folder import Folder
from pierhead.cli.lab import lab
from pierhead.cli.register import register, unregister
from pierhead.cli.trace import trace
from pierhead.errors import UsageError


@click.group(context_settings={"help_option_names": ["-h", "--help"]}, invoke_without_command=True)
@click.version_option(__version__, prog_name="pierhead")
@click.pass_context
def commands(context: click.Context) -> None:
    """The Service half of Kubernetes without the rest of it."""
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


@commands.command()
@click.option(
    "--data-dir",
    type=Folder(path_type=Path),
    help="State, credentials, logs of pods.  [default: $XDG_STATE_HOME/pierhead; for root /var/lib/pierhead]",
)
@click.option(
    "--listen", default="127.0.0.1:6443", show_default=True, metavar="HOST:PORT", help="Port 0 picks a free one."
)
@click.option(
    "--network",
    default="auto",
    show_default=True,
    metavar="[auto|none|loopback|namespace]",
    help="loopback: pods and Services inside 127.0.0.0/8. namespace (root): pods in network namespaces, Services in the kernel."
    " none: the API and its controllers, no traffic. auto: as the data directory was before; else for root namespace where it works.",
)
@click.option("--proxy-mode", default="auto", show_default=True, metavar="[auto|userspace|nftables]")
@click.option("--region", default="local", show_default=True, help="The region label of the node.")
@click.option("--zone", metavar="Z", help="The zone label of the node.  [default: local-a]")
@click.option("--zones", metavar="Z1,Z2,…", help="A node for each of these zones, all of them in this process.")
@click.option("--node-name", metavar="N", help="[default: node-1; with --zones: node, for node-Z1, node-Z2, …]")
@click.option("--service-cidr", metavar="C4[,C6]", help="Where cluster IPs come from.")
@click.option("--pod-cidr", metavar="C4[,C6]", help="Where pod addresses come from.")
@click.option("--floating-cidr", metavar="CIDR,…", help="What the default pool of floating IPs gives out.")
@click.option("--endpoint-cidrs", metavar="CIDR,…", help="Where hand-written endpoints may lie.")
@click.option("--egress", is_flag=True, help="Mode namespace: pods reach the world, as this machine does.")
@click.option("--allow-root-pods", is_flag=True, help="As root: pods may ask for runAsUser 0; else they run as nobody.")
def up(
    *,
    data_dir: Path | None,
    listen: str,
    network: str,
    proxy_mode: str,
    region: str,
    zone: str | None,
    zones: str | None,
    node_name: str | None,
    service_cidr: str | None,
    pod_cidr: str | None,
    floating_cidr: str | None,
    endpoint_cidrs: str | None,
    egress: bool,
    allow_root_pods: bool,
) -> None:
    """Run a region on this machine, until Ctrl-C."""
    from pierhead.cli import up as command
    from pierhead.region import directory, machine, ranges
    from pierhead.region.settings import Settings

    host, port = command.parse_listen(listen)
    home = (data_dir or directory.default()).absolute()
    services, pods = ranges.parse("--service-cidr", service_cidr), ranges.parse("--pod-cidr", pod_cidr)
    floating, endpoints = (
        ranges.parse("--floating-cidr", floating_cidr), ranges.parse("--endpoint-cidrs", endpoint_cidrs),
    )  # fmt: skip

    def plan(choice: command.Choice) -> command.Plan:
        why_proxy = command.choose_proxy(proxy_mode, choice.mode)
        ground = ranges.choose(
            choice.mode, services=services, pods=pods, floating=floating, endpoints=endpoints,
            subnets=machine.subnets(), region=command.name("--region", region, "region"),
        )  # fmt: skip
        settings = Settings(
            data_dir=home, host=host, port=port, network=ground, region=ground.region,
            zones=command.choose_zones(zone, zones, choice.mode),
            node_name="" if node_name is None else command.name("--node-name", node_name, "node"),
            root_pods=allow_root_pods,
            egress=command.choose_egress(egress, choice.mode),
        )  # fmt: skip
        return command.Plan(settings, choice.why, why_proxy)

    asked = (*services, *pods, *floating)
    first, *others = command.choose_network(network, directory.mode(home), ranges=asked, proxy=proxy_mode)
    plans = [plan(first)]
    for choice in others:
        with suppress(UsageError):  # it is no way out for what was asked
            plans.append(plan(choice))
    command.run(*plans)


@commands.command()
@click.option("--data-dir", type=Folder(path_type=Path), help="The data directory given to `up`.")
def kubeconfig(*, data_dir: Path | None) -> None:
    """Print the kubeconfig of the region on this machine, whatever $KUBECONFIG names."""
    from pierhead.cli import kubeconfig as command

    click.echo(command.read(data_dir), nl=False)


@commands.command()
def demo() -> None:
    """The whole story on this machine, in under a minute: nothing is left behind."""
    from pierhead.cli import demo as command

    command.run()


commands.add_command(fip)
commands.add_command(lab)
commands.add_command(register)
commands.add_command(unregister)
commands.add_command(trace)


@commands.command()
@click.argument("shell", type=click.Choice(("bash", "zsh", "fish")))
def completion(*, shell: str) -> None:
    """Print what makes a shell complete commands and options.

    \b
    bash, in ~/.bashrc:  eval "$(pierhead completion bash)"
    zsh, in ~/.zshrc:    eval "$(pierhead completion zsh)"
    fish, once:          pierhead completion fish > ~/.config/fish/completions/pierhead.fish
    """
    from pierhead.cli import completion as command

    click.echo(command.script(commands, shell))
