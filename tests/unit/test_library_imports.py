"""The library imports where the heavy packages are not installed."""

import subprocess
import sys

SCRIPT = """
import importlib, pkgutil, sys

LOADED_BY_VLLM = {"llmrec_ray.explain.tokens"}
HEAVY = {"ray", "torch", "vllm", "transformers", "sentence_transformers", "fastapi", "starlette"}

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in HEAVY:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Blocked())
import llmrec_ray
for module in pkgutil.walk_packages(llmrec_ray.__path__, "llmrec_ray."):
    if module.name not in LOADED_BY_VLLM:
        importlib.import_module(module.name)
"""


def test_the_library_imports_without_ray_torch_or_vllm():
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
