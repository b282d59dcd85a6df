"""Print how far this package is from the official code: the largest deviation in each test of a golden case.

    python tests/goldens/deviations.py tests/parity tests/weights/test_swin_goldens.py

Deviations are relative to the mean magnitude of a tensor, see ``protocol.compare``.
"""

import sys
from collections.abc import Generator
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

import protocol  # noqa: E402
import pytest  # noqa: E402


class Deviations:
    """Pytest plugin that prints the largest result of ``protocol.compare`` in each test."""

    def __init__(self) -> None:
        self.compare, self.found = protocol.compare, [0.0]
        protocol.compare = self.measure

    def measure(self, expected: dict[str, Any], array: Any) -> float:
        self.found.append(self.compare(expected, array))
        return self.found[-1]

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_call(self, item: pytest.Item) -> Generator[None, None, None]:
        self.found = []
        yield
        if self.found:
            print(f'{max(self.found):8.1e}  {item.nodeid}', flush=True)


if __name__ == '__main__':
    sys.exit(pytest.main(['-q', '-s', '-W', 'ignore', *sys.argv[1:]], plugins=[Deviations()]))
