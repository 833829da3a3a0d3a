"""A process that asks many questions and writes down what it got: for the tests that kill it.

python asks.py COUNT MONEY FILE
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from transfuse.backbones.remote.model import Settings, open_model
from transfuse.backbones.remote.purse import Purse
from transfuse.backbones.remote.requests import Message, Request
from transfuse.backbones.remote.retries import Patience

count, money, file = int(sys.argv[1]), float(sys.argv[2]), Path(sys.argv[3])
settings = Settings(concurrency=4, timeout_seconds=5.0, patience=Patience(20, first=0.005, longest=0.02))
model = open_model("openai:m", Purse.of("killed", money), settings)
replies = model.complete([Request((Message("user", f"question {i}"),), 20) for i in range(count)])
file.write_text(json.dumps([reply.text for reply in replies]))
