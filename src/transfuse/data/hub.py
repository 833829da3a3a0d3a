"""Data of a model hub: the files of one split at a pinned commit, through huggingface_hub. No remote code ever runs.

Which files belong to which split is read from the card's ``configs``; a repository without them is sorted by the
words train, validation and test in its file names, as `datasets` does.
"""

from __future__ import annotations

import fnmatch
import re
from pathlib import Path
from typing import Any

import numpy as np

from transfuse.data.arrow_files import choose_split
from transfuse.data.references import HubReference, parse_hub
from transfuse.data.table import SUFFIXES, Table
from transfuse.errors import AssetError, DataError, nearest

_COMMIT = re.compile(r"[0-9a-f]{40}")
_SPLITS = {
    "train": r"(^|[/._-])(train|training)([/._-]|$)",
    "validation": r"(^|[/._-])(validation|valid|val|dev)([/._-]|$)",
    "test": r"(^|[/._-])(test|testing|eval)([/._-]|$)",
}


def resolve(reference: str) -> str:
    """A ``hub:`` data reference with the commit that its revision means now; any other reference as it is.

    Where the hub is not reached, the commit is the one that the cache remembers.

    Raises:
        AssetError: no such repository or revision, or neither the hub nor the cache knows it.
    """
    if not reference.startswith("hub:"):
        return reference
    parts = parse_hub(reference)
    if parts.revision and _COMMIT.fullmatch(parts.revision):
        return reference
    commit = _snapshot(parts.repo, parts.revision, ["README.md"], reference).name
    return str(HubReference(parts.repo, parts.config, commit, parts.split))


def read(reference: str) -> Table:
    """The table of a ``hub:`` data reference; at a commit that was read before, the network is not needed.

    Raises:
        DataError: no or an unknown configuration or split; the message lists them.
        AssetError: what `resolve` raises, or a file that is neither reached nor in the cache.
    """
    from transfuse.data.readers import read_file

    parts = parse_hub(reference)
    folder = _snapshot(parts.repo, parts.revision, ["README.md"], reference)
    files = _list_files(parts.repo, folder)
    card = _card(folder / "README.md") if "README.md" in files else {}
    by_split, names = _choose_config(card, files, parts.config, reference)
    chosen = by_split[choose_split(list(by_split), parts.split, reference)]
    folder = _snapshot(parts.repo, folder.name, chosen, reference)
    origins = {file: reference if len(chosen) == 1 else f"{reference} ({file})" for file in chosen}
    return _concatenate([read_file(folder / file, origins[file]) for file in chosen], names, reference)


def _snapshot(repo: str, revision: str | None, files: list[str], reference: str) -> Path:
    """The cached folder of the repository at that revision, with those files in it; its name is the commit."""
    from huggingface_hub import errors, snapshot_download

    try:
        return Path(snapshot_download(repo, repo_type="dataset", revision=revision, allow_patterns=files))
    except errors.RepositoryNotFoundError as error:
        raise AssetError(
            f"{reference}: the hub has no such data set, or it is private",
            expected="OWNER/NAME as in the data set's address",
            remedy="Correct the name, or log in with `hf auth login`.",
        ) from error
    except errors.RevisionNotFoundError as error:
        raise AssetError(
            f"{reference}: the hub has no such revision", expected="a branch, a tag or a commit of 40 hex digits"
        ) from error
    except Exception as error:  # the hub library lets errors of several HTTP libraries through
        raise AssetError(
            f"{reference}: not in the local cache, and the hub does not answer: {' '.join(str(error).split())[:200]}",
            expected="a hub that answers (HF_ENDPOINT names another one), or data fetched before",
            remedy="Check the network and HF_HUB_OFFLINE, or save the data as a file and name that.",
        ) from error


def _list_files(repo: str, folder: Path) -> list[str]:
    """All files of the repository at the snapshot's commit; of a cache that keeps no list, those that are there."""
    from huggingface_hub import get_cached_repo_tree
    from huggingface_hub.errors import CachedRepoTreeNotFoundError

    try:
        return [entry.path for entry in get_cached_repo_tree(repo, repo_type="dataset", revision=folder.name)]
    except CachedRepoTreeNotFoundError:
        return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def _card(path: Path) -> dict[str, Any]:
    from huggingface_hub import DatasetCard

    return dict(DatasetCard.load(path, ignore_metadata_errors=True).data.to_dict())


def _choose_config(
    card: dict[str, Any], files: list[str], wanted: str | None, reference: str
) -> tuple[dict[str, list[str]], dict[str, tuple[str, ...]]]:
    """The files of each split of the configuration that is wanted, and the class names that its card gives."""
    configs = {str(config["config_name"]): config for config in card.get("configs") or ()}
    if not configs:
        return _guess_splits(files, f"{wanted}/" if wanted else "", reference), _class_names(card, wanted)
    default = [name for name, config in configs.items() if config.get("default") or name == "default"]
    chosen = wanted or next(iter(default or (configs if len(configs) == 1 else ())), None)
    if chosen not in configs:
        found = f"no configuration '{wanted}'.{nearest(wanted, list(configs))}" if wanted else "several configurations"
        raise DataError(
            f"{reference}: {found}",
            expected="one of " + ", ".join(configs),
            remedy=f"Write hub:OWNER/NAME:CONFIG, such as :{next(iter(configs))}.",
        )
    patterns = configs[chosen].get("data_files")
    if patterns is None:
        folder = str(configs[chosen].get("data_dir") or "").strip("/")
        return _guess_splits(files, f"{folder}/" if folder else "", reference), _class_names(card, chosen)
    return _match(patterns, files), _class_names(card, chosen)


def _match(patterns: Any, files: list[str]) -> dict[str, list[str]]:
    """The files of each split from ``data_files`` of a card: a pattern, several, or a list of {split, path}."""
    items = patterns if isinstance(patterns, list) else [patterns]
    items = [item if isinstance(item, dict) else {"split": "train", "path": item} for item in items]
    splits: dict[str, list[str]] = {}
    for item in items:
        paths = item["path"] if isinstance(item["path"], list) else [item["path"]]
        matched = [file for path in paths for file in sorted(fnmatch.filter(files, path))]
        splits.setdefault(str(item["split"]), []).extend(matched)
    return {split: matched for split, matched in splits.items() if matched}


def _guess_splits(files: list[str], folder: str, reference: str) -> dict[str, list[str]]:
    """The files of each split by the words in their names; where no name has one, all are the training split."""
    inside = [file for file in files if file.startswith(folder) and not file.endswith("dataset_infos.json")]
    for kind in (".parquet", ".jsonl", ".ndjson", ".csv", ".tsv", ".json", ".txt"):
        data = sorted(file for file in inside if file.lower().endswith(kind))
        if data:
            splits = {name: [f for f in data if re.search(word, f.casefold())] for name, word in _SPLITS.items()}
            found = {name: matched for name, matched in splits.items() if matched}
            return found or {"train": data}
    raise DataError(
        f"{reference}: no data files in '{folder or '/'}'", expected="files that end in " + ", ".join(SUFFIXES)
    )


def _class_names(card: dict[str, Any], config: str | None) -> dict[str, tuple[str, ...]]:
    """{column: class names} from ``dataset_info`` of the card."""
    infos = card.get("dataset_info") or []
    infos = infos if isinstance(infos, list) else [infos]
    names = {}
    for info in infos:
        if len(infos) > 1 and info.get("config_name") != config:
            continue
        for feature in info.get("features") or ():
            kind = feature.get("dtype")
            if isinstance(kind, dict) and "class_label" in kind:
                known = kind["class_label"]["names"]
                ordered = [known[key] for key in sorted(known, key=int)] if isinstance(known, dict) else known
                names[str(feature["name"])] = tuple(str(name) for name in ordered)
    return names


def _concatenate(tables: list[Table], names: dict[str, tuple[str, ...]], reference: str) -> Table:
    first = tables[0]
    for table in tables[1:]:
        if list(table.columns) != list(first.columns):
            raise DataError(f"{table.origin}: its columns differ from those of {first.origin}")
    columns = {name: [value for table in tables for value in table.columns[name]] for name in first.columns}
    arrow = first.arrow if len(tables) == 1 else None
    rows = np.arange(1, sum(map(len, tables)) + 1)
    return Table(columns, rows, reference, {**names, **first.class_names}, arrow)
