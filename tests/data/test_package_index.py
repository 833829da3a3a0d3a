"""pip's configuration, from files and from variables."""

import os
import subprocess
from pathlib import Path

import pytest

from transfuse.data import package_index


@pytest.fixture(autouse=True)
def no_configuration(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", str(tmp_path / "pip.conf"))
    return tmp_path / "pip.conf"


def test_the_default_index_is_the_librarys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(package_index, "pip_options", dict)
    settings = package_index.read_settings()
    assert len(settings.index_urls) == 1
    assert settings.index_urls[0].startswith("https://")


def test_files_sections_and_variables(monkeypatch: pytest.MonkeyPatch, no_configuration: Path) -> None:
    no_configuration.write_text(
        "[global]\nindex-url = https://a.invalid/simple\nproxy = http://p.invalid:1\ntimeout = 7\n"
        "extra-index-url =\n    https://b.invalid/simple\n    file:///c/simple\n"
        "[install]\ntrusted-host = a.invalid\n"
    )
    settings = package_index.read_settings()
    assert settings.index_urls == ("https://a.invalid/simple", "https://b.invalid/simple", "file:///c/simple")
    assert (settings.proxy, settings.timeout, settings.trusted_hosts) == ("http://p.invalid:1", 7.0, ("a.invalid",))
    monkeypatch.setenv("PIP_INDEX_URL", "https://d.invalid/simple")
    monkeypatch.setenv("PIP_FIND_LINKS", "/wheels")
    settings = package_index.read_settings()
    assert settings.index_urls[0] == "https://d.invalid/simple"
    assert settings.sources()[:2] == [("index", "file:///c/simple"), ("find_links", "/wheels")]
    monkeypatch.setenv("PIP_NO_INDEX", "true")
    assert package_index.read_settings().index_urls == ()


def test_without_pip_the_variables_still_count(monkeypatch: pytest.MonkeyPatch) -> None:
    failed = subprocess.CompletedProcess([], 1, "", "No module named pip")
    monkeypatch.setattr(subprocess, "run", lambda *arguments, **options: failed)
    monkeypatch.setenv("PIP_INDEX_URL", "https://d.invalid/simple")
    assert package_index.read_settings().index_urls == ("https://d.invalid/simple",)
