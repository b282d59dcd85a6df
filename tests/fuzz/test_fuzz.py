"""The fuzzer counts every kind of outcome, and a fixed small part of its cases meets the targets."""

import os
import pickle
import random
import signal
from pathlib import Path

import pytest
import torch
from containers import write_tar
from harness import MARKER, OUTCOMES, Case, fuzz, table
from mutations import hostile

TOOL = Path(__file__).parents[2] / 'tools' / 'fuzz.py'


def failing():
    raise KeyError('backbone')


def running(folder):
    (folder / MARKER).mkdir()
    return 'ok', ''


ENDS = {
    'ok': lambda folder: ('ok', ''),
    'half changed': lambda folder: ('half changed', 'a detail'),
    'raw traceback': lambda folder: failing(),
    'hang': lambda folder: signal.pause(),
    'crash': lambda folder: os.kill(os.getpid(), signal.SIGKILL),
    'code run': running,
}


@pytest.mark.parametrize('outcome, end', ENDS.items(), ids=ENDS)
def test_outcomes_are_told_apart(outcome, end):
    def target(draw, folder):
        return Case('group', 'mutation', lambda: end(folder))

    result = next(fuzz(target, seed=0, indices=[7], seconds=2))
    assert (result.index, result.group, result.mutation, result.outcome) == (7, 'group', 'mutation', outcome)
    text = table([result])
    assert f'| group | 1 | {" | ".join(str(int(name == outcome)) for name in OUTCOMES)} |' in text
    assert (f'{outcome}, case 7, group, mutation' in text) == (outcome != 'ok')
    if outcome == 'raw traceback':
        assert "KeyError: 'backbone' (test_fuzz.py:" in result.detail


def test_the_seed_decides():
    def target(draw, folder):
        number = str(draw.random())
        return Case('group', number, lambda: ('ok', ''))

    first, second, other = ([result.mutation for result in fuzz(target, seed, range(3))] for seed in (0, 0, 1))
    assert first == second != other and len(set(first)) == 3


@pytest.mark.parametrize('target, cases', [('checkpoints', 96), ('lists', 80), ('configs', 40)])
def test_a_fixed_part_meets_the_targets(run_python, tmp_path, target, cases):
    done = run_python(['-W', 'ignore', TOOL, target, '--cases', cases, '--seed', 1], tmp_path)
    assert done.returncode == 0, done.stdout
    assert f'| all | {cases} |' in done.stdout


def test_the_tar_container_is_the_one_of_torch(tmp_path):
    state = {'a': torch.rand(2, 3), 'b': torch.arange(3), 'c': torch.tensor(1.5)}
    write_tar(state, tmp_path / 'a.pth')
    found = torch.load(tmp_path / 'a.pth', weights_only=False)['state_dict']  # written above
    assert found.keys() == state.keys() and all(torch.equal(found[key], state[key]) for key in state)


def test_hostile_pickles_run_code_in_pickle(tmp_path):
    """The traps work; the loader must not spring them."""
    ran = 0
    for seed in range(20):
        pickle.loads(pickle.dumps(hostile(random.Random(seed), tmp_path)))
        if (tmp_path / MARKER).exists():
            (tmp_path / MARKER).rmdir()
            ran += 1
    assert ran > 10
