"""Names to folders: caches, and downloads from a server on this machine that answers as the hub does."""

from __future__ import annotations

import contextlib
import hashlib
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

import gpt
from gpt.weights import hub
from parity_tests.test_gpt_checkpoints import CHECKPOINTS, FILES, TINY, assert_same, our_model, weights, written

from_pretrained = CHECKPOINTS["numpy"].from_pretrained
REPO = "openai-community/gpt2"


class Hub:
    """A repository's files, and how they are to be spoilt. Large files are redirected to, as on the hub."""

    def __init__(self, files: dict[str, bytes]):
        self.files, self.requests = files, []
        self.cut: list[int] = []             # of the next answers with a large file's bytes, so many are sent
        self.damage = self.mute = self.ranges_off = False
        self.status = 0
        hub_ = self

        class Handler(BaseHTTPRequestHandler):
            def do_HEAD(self):
                hub_.answer(self)

            def do_GET(self):
                hub_.answer(self)

            def log_message(self, *args):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    def answer(self, to: BaseHTTPRequestHandler) -> None:
        self.requests.append((to.command, to.path, dict(to.headers)))
        name = to.path.rsplit("/", 1)[-1]
        content = self.files.get(name)
        where = to.path.split("/")[1]
        if self.status:
            return self.send(to, self.status)
        if where == "renamed":
            return self.send(to, 307, {"Location": to.path.replace("renamed/old", REPO)})
        if content is None:
            return self.send(to, 404)
        headers = {"X-Repo-Commit": "c0ffee", "Accept-Ranges": "bytes"}
        large = name.endswith((".safetensors", ".bin"))
        digest = (hashlib.sha256(content) if large else
                  hashlib.sha1(b"blob %d\0" % len(content) + content)).hexdigest()
        if where != "cdn" and large:
            marks = {} if self.mute else {"X-Linked-ETag": f'"{digest}"', "X-Linked-Size": str(len(content))}
            store = f"http://localhost:{self.server.server_port}/cdn/{name}"
            return self.send(to, 302, headers | marks | {"Location": store})
        if not self.mute:
            headers["ETag"] = f'W/"{digest}"' if not large else '"of-the-store"'
        status, start = 200, 0
        if (wanted := to.headers["Range"]) and not self.ranges_off:
            start = int(wanted.removeprefix("bytes=").removesuffix("-"))
            headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
            status = 206
        body = content[start:]
        headers["Content-Length"] = str(len(body))
        if large and self.damage:
            body = body[:-1] + bytes([body[-1] ^ 1])
        if large and self.cut:
            body = body[:self.cut.pop(0)]
        self.send(to, status, headers, body if to.command == "GET" else b"")

    @staticmethod
    def send(to, status, headers=None, body=b""):
        with contextlib.suppress(ConnectionError):
            to.send_response(status)
            for key, value in ({"Content-Length": "0"} | (headers or {})).items():
                to.send_header(key, value)
            to.end_headers()
            to.wfile.write(body)

    def asked(self, method: str, name: str) -> list[dict]:
        return [headers for m, path, headers in self.requests if m == method and path.endswith(name)]


@pytest.fixture(autouse=True)
def clean(tmp_path, monkeypatch):
    for name in ("HF_HOME", "HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_HUB_OFFLINE", "HF_TOKEN", "MINIGRAD_CACHE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "caches"))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{free.getsockname()[1]}")
    return tmp_path / "caches" / "minigrad" / "models" / REPO


@pytest.fixture(scope="module")
def repositories(tmp_path_factory) -> dict[str, Path]:
    result = {}
    for form in FILES:
        written(form, folder := tmp_path_factory.mktemp(form))
        result[form] = folder
    return result


@pytest.fixture
def server(repositories, monkeypatch):
    hub_ = Hub({file.name: file.read_bytes() for file in repositories["single"].iterdir()})
    monkeypatch.setenv("HF_ENDPOINT", hub_.url)
    yield hub_
    hub_.server.shutdown()
    hub_.server.server_close()


# ---- downloads --------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("form", FILES)
@pytest.mark.parametrize("name", ["gpt2", REPO, "gpt2-124M"])
def test_a_name_is_downloaded_once(name, form, server, repositories, clean, monkeypatch):
    server.files = {file.name: file.read_bytes() for file in repositories[form].iterdir()}
    model = from_pretrained(name)
    assert_same(weights(model), weights(from_pretrained(repositories[form])))
    held = {file.name for file in clean.iterdir()}
    assert held == server.files.keys() - {"tokenizer.json"} | ({"tokenizer.json"} & server.files.keys())
    assert {path.split("/")[4] for method, path, _ in server.requests if method == "GET" and "cdn" not in path} <= {
        "main", "c0ffee"}
    server.requests.clear()
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert_same(weights(from_pretrained(name)), weights(model))
    assert not server.requests


def test_a_token_is_for_the_endpoint_alone(server, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "secret")
    from_pretrained("gpt2")
    for _, path, headers in server.requests:
        assert (headers.get("Authorization") == "Bearer secret") == (not path.startswith("/cdn/")), path


def test_a_repository_that_moved_is_followed(server):
    assert_same(weights(from_pretrained("renamed/old")), weights(from_pretrained("gpt2")))


def test_a_cut_download_goes_on_where_it_ended(server, clean):
    size = len(server.files["model.safetensors"])
    server.cut = [100, 50]
    from_pretrained("gpt2")
    assert [h.get("Range") for h in server.asked("GET", "cdn/model.safetensors")] == [None, "bytes=100-", "bytes=150-"]
    assert (clean / "model.safetensors").read_bytes() == server.files["model.safetensors"]
    assert (clean / "model.safetensors").stat().st_size == size


def test_a_download_that_stays_cut_is_an_error_and_the_next_run_goes_on(server, clean):
    server.cut = [100, 50, 10]
    with pytest.raises(OSError, match=r"cut on the way: 160 bytes came of \d+.*Looked in") as caught:
        from_pretrained("gpt2")
    assert "\n" not in str(caught.value)
    assert not (clean / "model.safetensors").exists()
    server.requests.clear()
    from_pretrained("gpt2")
    assert [h.get("Range") for h in server.asked("GET", "cdn/model.safetensors")] == ["bytes=160-"]


def test_a_server_without_ranges_sends_the_whole_again(server, clean):
    server.cut, server.ranges_off = [100], True
    from_pretrained("gpt2")
    assert (clean / "model.safetensors").read_bytes() == server.files["model.safetensors"]


def test_a_damaged_download_is_not_kept(server, clean):
    server.damage = True
    with pytest.raises(OSError, match=r"damaged on the way: its checksum is [0-9a-f]{64}"):
        from_pretrained("gpt2")
    assert [file.name for file in clean.iterdir() if "safetensors" in file.name] == []
    server.damage = False
    from_pretrained("gpt2")


def test_a_changed_file_is_not_joined_to_the_old_ones_beginning(server, repositories, clean):
    server.cut = [100, 50, 10]
    with pytest.raises(OSError, match="cut on the way"):
        from_pretrained("gpt2")
    changed = bytearray(server.files["model.safetensors"])
    changed[-1] ^= 1
    server.files["model.safetensors"] = bytes(changed)
    from_pretrained("gpt2")
    assert (clean / "model.safetensors").read_bytes() == changed


def test_without_checksums_the_size_is_checked(server, clean):
    server.mute, server.cut = True, [100, 50, 10]
    with pytest.raises(OSError, match=r"cut on the way|IncompleteRead"):
        from_pretrained("gpt2")
    assert not (clean / "model.safetensors").exists()
    from_pretrained("gpt2")


def test_what_the_hub_does_not_have_is_one_line(server):
    server.files.clear()
    with pytest.raises(OSError, match=r"no http://127.*/nobody/nothing with a config.json") as caught:
        from_pretrained("nobody/nothing")
    assert "\n" not in str(caught.value)
    server.files["config.json"] = b"{}"
    with pytest.raises(OSError, match=r"has no weights: none of model\.safetensors"):
        from_pretrained("nobody/nothing")
    server.status = 503
    with pytest.raises(OSError, match="answered 503"):
        from_pretrained("nobody/nothing")


# ---- no network -------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("offline", [True, False])
def test_without_a_network_the_error_names_the_places(offline, clean, tmp_path, monkeypatch):
    if offline:
        monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(OSError) as caught:
        from_pretrained("gpt2")
    message = str(caught.value)
    assert "\n" not in message
    assert ("HF_HUB_OFFLINE" in message) == offline and ("cannot be reached" in message) == (not offline)
    assert str(clean) in message
    assert str(tmp_path / "caches/huggingface/hub/models--openai-community--gpt2") in message
    assert "config.json" in message and "model.safetensors" in message
    assert not clean.exists()


@pytest.mark.parametrize("name", ["gpt5", "./absent", "a/b/c", "a/../b", "/absent", ""])
def test_what_cannot_be_a_name_is_not_asked_for(name, server):
    with pytest.raises((FileNotFoundError, ValueError), match=r"no such path, and the names known are gpt2|no config"):
        from_pretrained(name)
    assert not server.requests


# ---- caches -----------------------------------------------------------------------------------------------------

def hf_layout(top: Path, entry: str, files: Path) -> None:
    """As huggingface_hub has it: blobs, and snapshots of links to them."""
    snapshot = top / entry / "snapshots" / "abc123"
    snapshot.mkdir(parents=True)
    (top / entry / "refs").mkdir()
    (top / entry / "refs" / "main").write_text("abc123")
    (top / entry / "blobs").mkdir()
    for i, file in enumerate(files.iterdir()):
        blob = top / entry / "blobs" / str(i)
        blob.write_bytes(file.read_bytes())
        (snapshot / file.name).symlink_to(blob)


@pytest.mark.parametrize("entry", ["models--openai-community--gpt2", "models--gpt2"])
@pytest.mark.parametrize("variable", ["HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_HOME", "XDG_CACHE_HOME"])
def test_hugging_faces_cache_is_found(variable, entry, repositories, tmp_path, monkeypatch):
    monkeypatch.setenv(variable, str(tmp_path / "elsewhere"))
    below = {"HF_HOME": "hub", "XDG_CACHE_HOME": "huggingface/hub"}.get(variable, "")
    hf_layout(tmp_path / "elsewhere" / below, entry, repositories["sharded"])
    assert_same(weights(from_pretrained("gpt2")), weights(from_pretrained(repositories["sharded"])))


def test_our_own_cache_comes_first_and_a_path_before_it(repositories, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hf"))
    monkeypatch.setenv("MINIGRAD_CACHE", str(tmp_path / "ours"))
    hf_layout(tmp_path / "hf", "models--openai-community--gpt2", repositories["single"])
    assert_same(weights(from_pretrained("gpt2")), weights(from_pretrained(repositories["single"])))
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    for seed, place in enumerate((tmp_path / "ours/models/openai-community/gpt2", Path("gpt2"))):
        CHECKPOINTS["numpy"].save_pretrained(model := our_model("numpy", TINY, seed), place)
        assert_same(weights(from_pretrained("gpt2")), weights(model))


def test_an_incomplete_cache_is_passed_over(repositories, clean, server):
    clean.mkdir(parents=True)
    (clean / "config.json").write_bytes((repositories["single"] / "config.json").read_bytes())
    assert not hub.is_complete(clean)
    from_pretrained("gpt2")
    assert hub.is_complete(clean)
    index = repositories["sharded"] / "model.safetensors.index.json"
    (clean / "model.safetensors").unlink()
    (clean / index.name).write_bytes(index.read_bytes())
    assert not hub.is_complete(clean)


def test_both_engines_by_name(server):
    ours, theirs = (from_pretrained("gpt2", engine=engine) for engine in ("numpy", "torch"))
    assert_same(weights(ours), weights(theirs))
    assert type(theirs) is type(gpt.build(TINY, "torch"))
    with pytest.raises(ValueError, match="engine must be"):
        from_pretrained("gpt2", engine="jax")


def test_overrides_are_fields_of_the_configuration(server):
    assert from_pretrained("gpt2", drop_rate=0.5).config.drop_rate == 0.5
    with pytest.raises(TypeError, match="droprate"):
        from_pretrained("gpt2", droprate=0.5)
