"""Every page that tells its reader to type something is typed as it stands, against a region of its own."""

from __future__ import annotations

import os
import re
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import yaml

from docs.pages import TOOLS, Command, Folder, Machine, Manifest, Shell, Step, blocks, machine, steps
from netns import network_namespace
from pierhead.region import directory
from running import PIERHEAD, ROOT, ranges, running

PAGES = sorted((*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")))
TYPED = [page for page in PAGES if "```console" in page.read_text()]
LANGUAGES = {"console", "yaml", "text", "python", "ini"}
LINK = re.compile(r"\]\((?!https?:)([^)#\s]*)(?:#([^)\s]+))?\)")
HEADING = re.compile(r"^#+ (.*)$", re.MULTILINE)


def named(page: Path) -> str:
    return str(page.relative_to(ROOT))


@pytest.mark.parametrize("page", TYPED, ids=named)
def test_what_a_page_says_to_type_does_what_it_says(page: Path, tmp_path: Path) -> None:
    text = page.read_text()
    apart = ranges(os.environ.get("PYTEST_XDIST_WORKER", "master"), part=20)
    with TemporaryDirectory(prefix="pierhead-page-") as path, machine(text, apart) as here:
        replay(list(steps(text)), here, Folder(Path(path), root_pods=here.root_pods), tmp_path / "d")


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: a network namespace for the node")
@pytest.mark.parametrize("page", [ROOT / "README.md", ROOT / "docs/guides/from-kubernetes.md"], ids=named)
def test_it_does_so_for_root_too_whose_pods_are_in_namespaces(page: Path, tmp_path: Path) -> None:
    with TemporaryDirectory(prefix="pierhead-page-") as path, network_namespace(mapped=False) as enter:
        here = Machine(enter, options=["--network", "auto", "--allow-root-pods"], root_pods=True)
        replay(list(steps(page.read_text())), here, Folder(Path(path), root_pods=True), tmp_path / "d")
        assert directory.mode(tmp_path / "d") == "namespace"


def replay(todo: list[Step], here: Machine, folder: Folder, data: Path) -> None:
    """What the reader of a page does, in a second shell from when there is a region."""
    if not any(isinstance(step, Command) and step.up is not None for step in todo):
        todo.insert(0, Command("./dev up", "…"))
    with ExitStack() as region:
        shell: Shell | None = None
        for step in todo:
            if isinstance(step, Manifest):
                folder.save(step)
            elif step.up is not None:
                region.close()
                shell = begin(region, step, here, folder, data)
            else:
                assert shell, f"before there is a region: {step}"
                check(step, *shell.type(step.text))


def begin(stack: ExitStack, step: Command, here: Machine, folder: Folder, data: Path) -> Shell:
    """Starts the region of a page and the shell in which its reader goes on."""
    command = ["env", f"--chdir={folder.path}", f"PATH={TOOLS['PATH']}", *here.account, str(PIERHEAD)]
    command += ["lab"] if step.lab else []
    options = [*([] if step.lab else ["--network", "loopback"]), *here.options, *(step.up or ())]
    region = stack.enter_context(running(data, *options, command=command, enter=here.enter))
    check(step, 0, "\n".join(region.lines))
    shell = Shell(here.enter, folder.path, {"KUBECONFIG": str(region.kubeconfig), "HOME": str(data)})
    stack.callback(shell.close)
    return shell


def check(step: Command, code: int, output: str) -> None:
    assert step.printed(output), f"$ {step.text}\n{output}"
    assert (code != 0) == step.fails, f"$ {step.text}\nexit code {code}\n{output}"


def test_the_readme_is_typed() -> None:
    assert ROOT / "README.md" in TYPED


def test_each_guide_is_reached_from_the_readme() -> None:
    linked = {target for target, _ in LINK.findall((ROOT / "README.md").read_text())}
    assert {f"docs/guides/{page.name}" for page in ROOT.glob("docs/guides/*.md")} <= linked


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_every_block_is_of_a_kind_that_is_looked_at(page: Path) -> None:
    for language, content in blocks(page.read_text()):
        assert language in LANGUAGES, content
        if language == "console":
            assert content.startswith("$ "), content
        if language == "yaml":
            assert list(yaml.safe_load_all(content)), content


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_links_lead_somewhere(page: Path) -> None:
    for target, anchor in LINK.findall(page.read_text()):
        found = page.parent / target if target else page
        assert found.exists(), f"{named(page)} links to {target}"
        assert not anchor or anchor in anchors(found.read_text()), f"{named(page)} links to {target}#{anchor}"


def anchors(text: str) -> set[str]:
    """What GitHub makes of the headings of a page."""
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in HEADING.findall(text)}
