"""What Services take and give back: cluster IPs, node ports, their ports on a floating IP, and the addresses they have from elsewhere."""

from __future__ import annotations

from collections.abc import Sequence

from pierhead.api import Tree
from pierhead.api.kinds import SERVICE
from pierhead.api.rules import address, invalid_value
from pierhead.api.services_spec import ports_of, spec_of
from pierhead.api.strategy import Write
from pierhead.api.views import (
    FloatingIPPool,
    LoadBalancerIngress,
    LoadBalancerStatus,
    ObjectMeta,
    Service,
    ServicePort,
    ServiceSpec,
    ServiceStatus,
)
from pierhead.core.allocation import allocate, held
from pierhead.core.claims import Allocation, Claimant, Ground
from pierhead.core.floating import (
    POOLS_CLAIM,
    bound_address,
    external_claims,
    floating_claim,
    frontend_claims,
    is_ours,
    pool_of,
    resolve,
)
from pierhead.errors import Cause, invalid

WISH = "spec.loadBalancerIP"


class ServiceClaims(Claimant):
    """Cluster IPs and node ports are fixed by a Service's own writes; its floating IP by those, or when the controller binds it."""

    def allocate(self, obj: Tree, old: Tree | None, write: Write, ground: Ground) -> Allocation:
        return allocate(obj, old, write.network, ground, ground.pick, dry_run=write.dry_run)

    def claim(self, obj: Tree, old: Tree | None, write: Write, ground: Ground) -> Allocation:
        new, before = _view(obj), _view(old or _NOTHING)
        pools = ground.pools()
        if write.subresource:
            _refuse(new, _ingress_causes(new, before, pools, ground))
        else:
            if pools and _wishes_anew(new, before):
                _refuse(new, _wish_causes(new, pools, ground, write.network.region))
            _refuse(new, _external_causes(new, before, pools))
            if old is not None and bound_address(new, ground) != bound_address(before, ground):
                obj["status"]["loadBalancer"] = {}
                new = _view(obj)
        return _bind(new, before, ground, created=old is None) + _answer(new, before, ground, created=old is None)

    def leave(self, obj: Tree | None, old: Tree, ground: Ground) -> Allocation:
        kept = () if obj is None else _outside(_view(obj), ground)
        gone = tuple(claim for claim in _outside(_view(old), ground) if claim not in kept)
        return Allocation(release=gone if obj is not None else (*held(old), *gone))


def _bind(new: Service, before: Service, ground: Ground, *, created: bool) -> Allocation:
    """The ports on the floating IP that this write takes, and those it gives back.

    An update takes what it changes; what is unchanged and was never taken (a wish of before there was a pool, or one whose
    address came later) is taken by the write that says so in the status.
    """
    ip, own = bound_address(new, ground), f"{SERVICE.resource}/{new.key}"
    mine, had = _frontends(new, ground), _frontends(before, ground)
    whole = _wishes_anew(new, before) or ip in _reported(new) - _reported(before)
    wanted = [claim for claim in mine if whole or claim not in had]
    taken = [claim for claim in wanted if created or ground.holder(claim) != own]
    _refuse(new, _clashes(new, ip, taken, ground))
    return Allocation(
        take=tuple(dict.fromkeys(taken)),
        release=tuple(claim for claim in had if claim not in mine),
        unchanged=((floating_claim(ip), ground.revision(floating_claim(ip))),) if taken else (),
    )


def _answer(new: Service, before: Service, ground: Ground, *, created: bool) -> Allocation:
    """The addresses from elsewhere at which it begins to answer, in no pool as the pools are now, and those it leaves."""
    own, mine, had = f"{SERVICE.resource}/{new.key}", _externals(new, ground), _externals(before, ground)
    taken = tuple(claim for claim in mine if created or ground.holder(claim) != own)
    return Allocation(
        take=taken,
        release=tuple(claim for claim in had if claim not in mine),
        unchanged=((POOLS_CLAIM, ground.revision(POOLS_CLAIM)),) if taken else (),
    )


def _outside(service: Service, ground: Ground) -> tuple[str, ...]:
    """Everything it holds for clients outside the region."""
    return (*_frontends(service, ground), *_externals(service, ground))


def _frontends(service: Service, ground: Ground) -> tuple[str, ...]:
    return frontend_claims(bound_address(service, ground), service)


def _externals(service: Service, ground: Ground) -> tuple[str, ...]:
    return external_claims(service, bound_address(service, ground))


def _reported(service: Service) -> set[str]:
    """The addresses in its status, in canonical form."""
    return {str(address(entry.ip)) for entry in service.status.load_balancer.ingress if entry.ip}


def _wishes_anew(new: Service, before: Service) -> bool:
    """Whether this write says something new about the floating IP, as the create of a LoadBalancer does."""
    wish, earlier = ((spec.load_balancer_ip, spec.ip_families) for spec in (new.spec, before.spec))
    return is_ours(new) and not (is_ours(before) and wish == earlier)


# -- reasons to refuse --------------------------------------------------------------------------------------


def _refuse(service: Service, causes: Sequence[Cause]) -> None:
    """Raises: ApiError 422."""
    if causes:
        raise invalid(service.metadata.name, SERVICE.name, SERVICE.group, causes)


def _wish_causes(service: Service, pools: Sequence[FloatingIPPool], ground: Ground, region: str) -> list[Cause]:
    wish = service.spec.load_balancer_ip
    problem = resolve(service, pools, ground, region).problem if wish else ""
    return [invalid_value(WISH, wish, problem)] if problem else []


def _clashes(service: Service, ip: str, claims: Sequence[str], ground: Ground) -> list[Cause]:
    """Ports which another Service has on this address, each naming it."""
    causes: list[Cause] = []
    own = f"{SERVICE.resource}/{service.key}"
    for place, (claim, port) in enumerate(zip(frontend_claims(ip, service), service.spec.ports, strict=False)):
        holder = ground.holder(claim) if claim in claims else None
        if holder is not None and holder != own:
            why = f"{port.protocol} port {port.port} of {ip} is in use by Service {holder.partition('/')[2]}"
            causes.append(invalid_value(f"spec.ports[{place}]", port.port, why))
    return causes


def _external_causes(new: Service, before: Service, pools: Sequence[FloatingIPPool]) -> list[Cause]:
    """An address of a pool reaches a Service through a FloatingIP or not at all: whoever writes it elsewhere takes it away."""
    why = f"is a floating IP, which a Service uses by {WISH} only"
    given = enumerate(new.spec.external_ips)
    added = [(place, ip) for place, ip in given if ip not in before.spec.external_ips and pool_of(ip, pools)]
    return [invalid_value(f"spec.externalIPs[{place}]", ip, why) for place, ip in added]


def _ingress_causes(new: Service, before: Service, pools: Sequence[FloatingIPPool], ground: Ground) -> list[Cause]:
    ip, known, path = bound_address(new, ground), _reported(before), "status.loadBalancer.ingress"
    return [
        invalid_value(f"{path}[{place}].ip", entry.ip, "is a floating IP that this Service does not have")
        for place, entry in enumerate(new.status.load_balancer.ingress)
        if pool_of(entry.ip, pools) and str(address(entry.ip)) not in (known | {ip})
    ]


# -- views --------------------------------------------------------------------------------------------------

_NOTHING: Tree = {"metadata": {}}


def _view(service: Tree) -> Service:
    """What matters here, of a Service that was found right; nobody checks the rest of its status."""
    metadata, spec = service["metadata"], spec_of(service)
    ingress = ((service.get("status") or {}).get("loadBalancer") or {}).get("ingress") or []
    ports = [ServicePort(port.get("port") or 0, protocol=port.get("protocol") or "") for port in ports_of(spec)]
    return Service(
        metadata=ObjectMeta(
            name=metadata.get("name") or "",
            namespace=metadata.get("namespace") or "",
            deletion_timestamp=metadata.get("deletionTimestamp"),
        ),
        spec=ServiceSpec(
            type=spec.get("type") or "",
            ports=tuple(ports),
            external_ips=tuple(spec.get("externalIPs") or ()),
            ip_families=tuple(spec.get("ipFamilies") or ()),
            load_balancer_class=spec.get("loadBalancerClass"),
            load_balancer_ip=spec.get("loadBalancerIP") or "",
        ),
        status=ServiceStatus(
            LoadBalancerStatus(tuple(LoadBalancerIngress(entry.get("ip") or "") for entry in ingress))
        ),
    )
