"""Each manifest of ``examples/``, applied as it stands."""

from __future__ import annotations

import io
import subprocess
import urllib.error
import urllib.request

import pytest
from PIL import Image

from e2e.backends import Namespace, eventually
from running import ROOT, usable_by_pods

EXAMPLES = ROOT / "examples"


@pytest.fixture(autouse=True)
def checkout() -> None:
    """Their pods run what lies there."""
    if not usable_by_pods():
        pytest.skip("nobody may not enter this checkout")


def get(url: str, content: bytes | None = None) -> tuple[int, bytes, str]:
    """Status, body and media type; status 0 while nobody answers."""
    try:
        with urllib.request.urlopen(url, content, timeout=10) as response:
            return response.status, response.read(), response.headers["Content-Type"]
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read(), error.headers["Content-Type"]
    except OSError:
        return 0, b"", ""


def apply(home: Namespace, *manifests: str, service: str, endpoints: int) -> str:
    """Where the Service answers once it has so many endpoints."""
    for manifest in manifests:
        home.kubectl("apply", "-f", str(EXAMPLES / manifest))
    home.wait_endpoints(service, endpoints)
    url = f"http://{home.cluster_ip(service)}:8080/"
    eventually(lambda: get(url)[0], "an answer")
    return url


def image(kind: str, side: int) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (side, side // 2), "teal").save(out, kind)
    return out.getvalue()


def test_my_service_spreads_over_my_app(home: Namespace) -> None:
    url = apply(home, "my-app.yaml", "my-service-8080.yaml", service="my-service", endpoints=3)
    names = {get(url)[1].decode().strip() for _ in range(60)}
    assert names == set(home.kubectl("get", "pods", "-o", "jsonpath={.items[*].metadata.name}").split())
    assert len(names) == 3


def test_a_named_port_has_a_number_in_each_version(home: Namespace) -> None:
    url = apply(home, "named-port.yaml", service="hello", endpoints=2)
    assert {port for _, port in home.endpoints("hello")} == {9376, 9377}
    assert {get(url)[1] for _ in range(40)} == {b"hello-v1\n", b"hello-v2\n"}


def test_thumbnails_of_jpeg_and_png(home: Namespace) -> None:
    url = apply(home, "thumbnails/thumbnails.yaml", service="thumbnails", endpoints=3)
    for kind in ("JPEG", "PNG"):
        status, content, media = get(f"{url}?size=64", image(kind, 640))
        assert (status, media) == (200, f"image/{kind.lower()}")
        with Image.open(io.BytesIO(content)) as small:
            assert (small.format, small.size) == (kind, (64, 32))
    assert get(url, b"\x89PNG\r\n\x1a\n and no more") == (400, b"send a JPEG or a PNG\n", "text/plain")
    assert get(url, image("GIF", 64))[0] == 400


def test_kubectl_follows_a_log_until_its_pod_ends(home: Namespace) -> None:
    url = apply(home, "named-port.yaml", service="hello", endpoints=2)
    command = ["kubectl", "--kubeconfig", str(home.region.kubeconfig), "-n", home.name, "logs", "-f", "hello-v1"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as follower:
        assert follower.stdout
        eventually(lambda: get(url)[1] == b"hello-v1\n", "an answer of the first version")
        assert '"GET / HTTP/1.1" 200' in follower.stdout.readline()
        home.delete("pods/hello-v1")
        follower.stdout.read()
        assert follower.wait(timeout=20) == 0
