from __future__ import annotations

from pathlib import Path

import pytest

from workbench.errors import ServerError
from workbench.inference.servers import Server, configured, server_at, servers_path


def write(text: str) -> Path:
    path = servers_path()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def failure(text: str) -> ServerError:
    write(text)
    with pytest.raises(ServerError) as raised:
        configured()
    assert raised.value.where.startswith(str(servers_path()))
    return raised.value


def test_no_file_is_no_server() -> None:
    assert configured() == []


@pytest.mark.parametrize("text", ["", "# nothing yet\n", "servers: []\n"])
def test_an_empty_list_is_no_server(text: str) -> None:
    write(text)
    assert configured() == []


def test_servers_are_read(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("BOX_KEY", "secret")
    monkeypatch.setenv("HOME", str(tmp_path))
    write(
        "servers:\n"
        "  - {name: box, url: 'http://localhost:8000/v1/', key_env: BOX_KEY}\n"
        "  - {name: here, socket: ~/s.sock, key: abc}\n"
        "  - name: cloud\n"
        "    url: https://example.org/v1\n"
    )
    assert configured() == [
        Server("box", url="http://localhost:8000/v1", key="secret"),
        Server("here", socket=tmp_path / "s.sock", key="abc"),
        Server("cloud", url="https://example.org/v1"),
    ]


def test_a_server_never_shows_its_key() -> None:
    assert Server("box", url="http://x/v1", key="secret").where == "http://x/v1"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("servers:\n  - {name: box, url: http://x/v1\n  - y", "not YAML"),
        ("servers: [\x07]", "not YAML"),
        ("- a\n- b\n", "the file: "),
        ("servers: 5\n", "servers: "),
        ("servers:\n  - box\n", "servers.0: "),
        ("servers:\n  - {url: http://x/v1}\n", "servers.0.name: Field required"),
        ("servers:\n  - {name: '', url: http://x/v1}\n", "servers.0.name"),
        ("servers:\n  - {name: box, ulr: http://x/v1}\n", "“ulr” is not known; did you mean “url”?"),
        ("servers:\n  - {name: box, whatever: 1}\n", "“whatever” is not known; there are name, url"),
        ("server:\n  - {name: box}\n", "“server” is not known; did you mean “servers”?"),
        ("servers:\n  - {name: box}\n", "“box” needs either a url or a socket"),
        ("servers:\n  - {name: box, url: http://x, socket: y}\n", "“box” needs either a url or a socket"),
        ("servers:\n  - {name: box, url: localhost:8000}\n", "“box” has the url “localhost:8000”"),
        ("servers:\n  - {name: box, url: http://x/v1, key: 5}\n", "servers.0.key"),
        (
            "servers:\n  - {name: a, url: http://x/v1}\n  - {name: a, url: http://y/v1}\n",
            "two servers are called “a”",
        ),
    ],
)
def test_a_list_that_cannot_be_used_is_explained(text: str, words: str) -> None:
    assert words in failure(text).message


def test_the_line_that_is_no_yaml_is_named() -> None:
    error = failure("servers:\n  - name: box\n    url: [\n")
    assert ", line " in error.where
    assert "servers:" in error.hint


def test_a_key_that_is_nowhere_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_SUCH_KEY", raising=False)
    error = failure("servers:\n  - {name: box, url: http://x/v1, key_env: NO_SUCH_KEY}\n")
    assert error.message == "“box” wants its key from $NO_SUCH_KEY, which is not set"


def test_a_secret_is_not_repeated_in_an_error() -> None:
    error = failure("servers:\n  - {name: box, url: http://x/v1, key: sk-secret, keys: sk-secret}\n")
    assert "sk-secret" not in error.render()


def test_bytes_that_are_no_text() -> None:
    write("").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ServerError, match="cannot be read"):
        configured()


def test_a_place_named_by_hand(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert server_at("https://x/v1/", "k") == Server("https://x/v1/", url="https://x/v1", key="k")
    assert server_at("~/s.sock").socket == tmp_path / "s.sock"
