"""Run mutated inputs in child processes with limits, and count the outcomes."""

import json
import os
import random
import resource
import select
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

# From good to bad. 'ok': accepted with the right values, or with a difference that the report shows.
OUTCOMES = (
    'ok',
    'clear error',
    'silent',
    'unclear error',
    'raw traceback',
    'half changed',
    'hang',
    'crash',
    'code run',
)
BAD = OUTCOMES[3:]
SHOWN = 30  # bad cases in a table
# Audit events of a program that does something else than read: none may occur.
EVENTS = ('os.system', 'os.exec', 'os.posix_spawn', 'os.fork', 'os.mkdir', 'subprocess.Popen', 'socket.connect')
MARKER = 'code_was_run'


@dataclass(frozen=True)
class Case:
    """One mutated input: a ``group`` of the table, the ``mutation``, and the call that returns outcome and detail."""

    group: str
    mutation: str
    run: Callable[[], tuple[str, str]]


Target = Callable[[random.Random, Path], Case]


@dataclass(frozen=True)
class Result:
    index: int
    group: str
    mutation: str
    outcome: str
    detail: str


def fuzz(
    target: Target, seed: int, indices: Iterable[int], seconds: float = 20, gibibytes: float = 3
) -> Iterator[Result]:
    """Run cases of ``target``, each determined by ``seed`` and index, in a temporary folder of its own.

    Args:
        seconds: limit of time.
        gibibytes: limit of memory beyond that of this process.
    """
    for index in indices:
        with tempfile.TemporaryDirectory() as own:
            lines, died = _run_child(target, f'{seed}-{index}', Path(own), seconds, gibibytes)
            marked = (Path(own) / MARKER).exists()
        group, mutation = lines[0] if lines else ('', 'making the input')
        outcome, detail = lines[1] if len(lines) > 1 else (died, '')
        yield Result(index, group, mutation, 'code run' if marked else outcome, detail)


def _run_child(target: Target, seed: str, folder: Path, seconds: float, gibibytes: float) -> tuple[list, str]:
    read, write = os.pipe()
    pid = os.fork()
    if not pid:
        try:
            _child(target, seed, folder, gibibytes, write)
        finally:
            os._exit(0)
    os.close(write)
    content, end, died = b'', time.monotonic() + seconds, 'crash'
    while True:
        ready, _, _ = select.select([read], [], [], max(0, end - time.monotonic()))
        if not ready:
            os.kill(pid, signal.SIGKILL)
            died = 'hang'
            break
        if not (chunk := os.read(read, 2**16)):
            break
        content += chunk
    os.close(read)
    os.waitpid(pid, 0)
    return [json.loads(line) for line in content.splitlines()], died


def _child(target: Target, seed: str, folder: Path, gibibytes: float, write: int) -> None:
    used = int(Path('/proc/self/statm').read_text().split()[0]) * resource.getpagesize()
    limit = used + int(gibibytes * 2**30)
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    for stream in (1, 2):
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream)

    def tell(*line: str) -> None:
        os.write(write, json.dumps(line).encode() + b'\n')

    case = target(random.Random(seed), folder)
    tell(case.group, case.mutation)
    events: list[str] = []
    sys.addaudithook(lambda event, _: events.append(event) if event in EVENTS else None)
    try:
        outcome, detail = case.run()
    except BaseException as error:
        trace = error.__traceback__
        while trace is not None and trace.tb_next is not None:
            trace = trace.tb_next
        where = f'{Path(trace.tb_frame.f_code.co_filename).name}:{trace.tb_lineno}' if trace else ''
        outcome, detail = 'raw traceback', f'{type(error).__name__}: {str(error)[:200]} ({where})'
    tell('code run' if events else outcome, detail)


def table(results: Iterable[Result]) -> str:
    """Return a Markdown table of counts, one row per group, and the list of outcomes that are neither ok nor clear."""
    results = list(results)
    counts = Counter((result.group, result.outcome) for result in results)
    groups = sorted({result.group for result in results})
    lines = [f'| input | cases | {" | ".join(OUTCOMES)} |', f'|---|{"---|" * (len(OUTCOMES) + 1)}']
    for name, members in [*((group, [group]) for group in groups), ('all', groups)]:
        row = [sum(counts[group, outcome] for group in members) for outcome in OUTCOMES]
        lines.append(f'| {name} | {sum(row)} | {" | ".join(map(str, row))} |')
    silent = Counter(
        (result.group, result.mutation.partition(' (')[0]) for result in results if result.outcome == 'silent'
    )
    lines += ['', *(f'silent, {group}, {mutation}: {count}' for (group, mutation), count in sorted(silent.items()))]
    bad = [result for result in results if result.outcome in BAD]
    lines += [f'{r.outcome}, case {r.index}, {r.group}, {r.mutation}: {r.detail}' for r in bad[:SHOWN]]
    lines += [f'... {len(bad) - SHOWN} more'] * (len(bad) > SHOWN)
    return '\n'.join(lines)
