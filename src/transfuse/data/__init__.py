"""Data: what comes in, how it is split, what is wrong with it, and where it is fetched from.

    examples.py       Examples, the texts that everything else passes around
    readers.py        references and columns into examples; the one door
    references.py     how hub references are written
    text_files.py     CSV, TSV, JSONL and lines; arrow_files.py: Parquet and saved `datasets` folders
    table.py          a table with all its columns, and how it is written back, part by part
    labels.py         label columns into class names; bins
    splits.py         held-out parts, few-shot draws, folds
    hygiene.py        findings about the data; findings.py says them; near.py: near-duplicates
    catalog.py        catalog.toml, the pinned assets; downloads.py fetches them, package_index.py knows pip's index,
                      archives.py unpacks
    hub.py            data of a model hub at a pinned revision
    located.py        YAML that knows its lines; fields.py: what recipes are made of; problems.py words what is wrong

Importing this package loads NumPy and the standard library; pandas is not used, pyarrow, datasets, huggingface_hub,
datasketch and unearth load when they are needed.
"""

from transfuse.data.catalog import Asset, Progress, cache_root, entry, names, pull, where
from transfuse.data.examples import Examples
from transfuse.data.findings import Finding, sentence
from transfuse.data.hub import resolve
from transfuse.data.hygiene import check, drop_copies, require_classes, share_error
from transfuse.data.readers import Columns, choose_asked, choose_input, read, read_parts, read_table, to_examples
from transfuse.data.splits import Fold, draw_shots, folds, hold_out
from transfuse.data.table import CsvRows, JsonlRows, Table, TableWriter, read_lines, write_table

__all__ = [
    "Asset",
    "Columns",
    "CsvRows",
    "Examples",
    "Finding",
    "Fold",
    "JsonlRows",
    "Progress",
    "Table",
    "TableWriter",
    "cache_root",
    "check",
    "choose_asked",
    "choose_input",
    "draw_shots",
    "drop_copies",
    "entry",
    "folds",
    "hold_out",
    "names",
    "pull",
    "read",
    "read_lines",
    "read_parts",
    "read_table",
    "require_classes",
    "resolve",
    "sentence",
    "share_error",
    "to_examples",
    "where",
    "write_table",
]
