"""Completion, as the shells ask for it."""

from __future__ import annotations

import os
import subprocess

import pytest

from running import PIERHEAD

PRESS_TAB = """
eval "$(pierhead completion bash)"
COMP_WORDS=({words}) COMP_CWORD={place}
_pierhead_completion pierhead
printf '%s\\n' "${{COMPREPLY[@]}}"
"""


def asked(script: list[str], **variables: str) -> str:
    environment = os.environ | {"PATH": f"{PIERHEAD.parent}:{os.environ['PATH']}"} | variables
    done = subprocess.run(script, env=environment, capture_output=True, text=True, timeout=30, check=False)
    assert not done.stderr
    return done.stdout


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ("pierhead f", ["fip"]),
        ("pierhead up --data", ["--data-dir"]),
        ("pierhead completion f", ["fish"]),
        ("pierhead x", [""]),
    ],
)
def test_bash_completes_commands_options_and_choices(words: str, found: list[str]) -> None:
    script = PRESS_TAB.format(words=words, place=len(words.split()) - 1)
    assert asked(["bash", "-c", script]).splitlines() == found


@pytest.mark.parametrize(("shell", "word"), [("zsh", "1"), ("fish", "k")])
def test_other_shells_ask_the_command_their_script_names(shell: str, word: str) -> None:
    """What completes the word: zsh tells its place, fish the word itself."""
    assert f"_PIERHEAD_COMPLETE={shell}_complete" in asked([str(PIERHEAD), "completion", shell])
    asking = {"_PIERHEAD_COMPLETE": f"{shell}_complete", "COMP_WORDS": "pierhead k", "COMP_CWORD": word}
    answer = asked([str(PIERHEAD)], **asking)
    assert answer.startswith("plain")
    assert "kubeconfig" in answer
    assert "demo" not in answer
