"""Child processes that run a script of this folder with this checkout or another one on their path."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any


class Child:
    """A process that calls the methods of an object of ``script`` on command, by lines of JSON on stdin and stdout.

    Args:
        name: label in messages.
        script: file that makes the object from its ``argument`` on the command line.
        argument: for the script.
        checkout: folder of the package to import; None for this one.
        threads: of PyTorch; None keeps its default.
    """

    def __init__(
        self, name: str, script: str, argument: dict[str, Any], checkout: Path | None = None, threads: int | None = 1
    ) -> None:
        self.name = name
        env = dict(os.environ, PYTHONPATH=str(checkout or Path(__file__).parents[2]))
        if threads is not None:
            env['OMP_NUM_THREADS'] = str(threads)
        self.process = subprocess.Popen(
            [sys.executable, '-W', 'ignore', script, json.dumps(argument)],
            env=env,
            text=True,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )

    def __call__(self, method: str, *arguments: Any) -> Any:
        """Call a method of the object and return its result."""
        assert self.process.stdin and self.process.stdout
        try:
            print(json.dumps([method, arguments]), file=self.process.stdin, flush=True)
            return json.loads(self.process.stdout.readline())
        except (BrokenPipeError, ValueError):
            raise RuntimeError(f'{self.name}: the process ended with an error, see above') from None

    def close(self) -> None:
        assert self.process.stdin
        self.process.stdin.close()
        self.process.wait()
