"""Clients of other people's libraries, imported only when somebody wants one."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import kr8s
    import lightkube


def of_kubernetes(kubeconfig: Path) -> Any:
    """Raises: ImportError that says what to install; so do all of these."""
    return _module("kubernetes.config").new_client_from_config(config_file=str(kubeconfig))


def of_kr8s(kubeconfig: Path) -> kr8s.Api:
    found: kr8s.Api = _module("kr8s").api(kubeconfig=str(kubeconfig))
    return found


def of_lightkube(kubeconfig: Path) -> lightkube.Client:
    library = _module("lightkube")
    found: lightkube.Client = library.Client(library.KubeConfig.from_file(str(kubeconfig)))
    return found


def _module(name: str) -> Any:
    package = name.partition(".")[0]
    try:
        importlib.import_module(package)
    except ModuleNotFoundError as error:
        if error.name != package:
            raise
        raise ImportError(f"{package} is not installed: pip install {package}", name=package) from error
    return importlib.import_module(name)
