"""What all tests share: `import tiny` and `import hub_stand_in` from any folder, one thread, no hub."""

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
os.environ.setdefault("OMP_NUM_THREADS", "1")  # toy models gain nothing from more, and files are tested side by side
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # before torch: see docs/benchmarks.md on spinning threads
os.environ["TRANSFUSE_ACTIVATIONS_GIB"] = "0"  # no test leaves activations behind, or finds any
os.environ.setdefault("HF_HUB_OFFLINE", "1")
