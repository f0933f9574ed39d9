"""``pierhead register`` and ``unregister``: their options."""

from __future__ import annotations

from pathlib import Path

import click

from pierhead.cli.fip import KUBECONFIG

NAMESPACE = click.option("-n", "--namespace", default="default", show_default=True)


@click.command()
@click.argument("name", required=False, default="")
@click.option("--ip", default="", metavar="A", help="The address it answers at.")
@click.option("--port", "ports", multiple=True, metavar="NAME=N[/udp]", help="May be given several times.")
@click.option("-l", "--label", "labels", multiple=True, metavar="K=V", help="What Services select it by.")
@click.option(
    "--probe",
    metavar="[http:/PATH|http:PORT/PATH|https:…|tcp|tcp:PORT|none]",
    help="How it is looked at. Default: tcp, where there is a TCP port.",
)
@click.option("--ttl", metavar="60s", help="For how long this is good unless it is registered again.")
@click.option("--zone", default="", metavar="Z", help="The zone it is in.")
@click.option(
    "-f", "--filename", type=click.Path(path_type=Path), help="A list of the same in YAML or JSON; - is standard input."
)
@NAMESPACE
@KUBECONFIG
def register(
    *,
    name: str,
    ip: str,
    ports: tuple[str, ...],
    labels: tuple[str, ...],
    probe: str | None,
    ttl: str | None,
    zone: str,
    filename: Path | None,
    namespace: str,
    kubeconfig: Path | None,
) -> None:
    """Make what runs elsewhere a pod. Again: update or renew it."""
    from pierhead.cli import registering

    given = {"name": name, "ip": ip, "ports": ports, "probe": probe, "ttl": ttl, "zone": zone}
    fields = {key: value for key, value in (given | {"labels": registering.pairs(labels)}).items() if value}
    registering.register(kubeconfig, registering.entries(fields, filename, namespace))


@click.command()
@click.argument("names", nargs=-1, metavar="[NAME]…")
@click.option("-l", "--selector", default="", metavar="K=V,…", help="Every external pod with these labels.")
@click.option("-f", "--filename", type=click.Path(path_type=Path), help="Those of a file that was registered.")
@NAMESPACE
@KUBECONFIG
def unregister(
    *, names: tuple[str, ...], selector: str, filename: Path | None, namespace: str, kubeconfig: Path | None
) -> None:
    """Forget what runs elsewhere; it is left alone."""
    from pierhead.cli import registering

    registering.unregister(kubeconfig, registering.Chosen(names, selector, filename, namespace))
