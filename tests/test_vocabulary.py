"""One word per idea: no file uses a retired one, and no docstring or heading is an indirect question."""

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = ('vidtx_mm', 'configs', 'docs', 'tools', 'README.md', 'Makefile', 'build_mim.py', 'pyproject.toml')
NAMES_OF_OTHERS = 'vidtx_mm/labels/'  # class names as published
ADDRESS = re.compile(r'(?:https?://|github\.com/)\S+|\S+\.(?:py|pth|pyth|yaml|yml|md|png)\b')  # names of others' files

# Retired word -> the word to use.
RETIRED = {
    r'spacetime|space-time(?= attention\W*=)|[\'"]space-time[\'"]': "'joint' attention, or 'space_time'",
    r'factoris\w*': 'factorize...',
    r'attention_order': 'order',
    r'[\'"](?:time|space)-first[\'"]': "'time_first', 'space_first'",
    r'pool=[\'"]mean[\'"]': "pool='avg'",
    r'\bcentr(?:e|es|ed|ing)\b': 'center',
    r'\bfresh=': 'keep_init=',
    r'table_resize': 'pos_interpolation',
    r'flat-nearest': 'flat_nearest',
    r'table_decay_mult': 'embed_decay_mult',
    r'perceptrons?\b': 'MLP',
    r'\b(?:position|time|space)s? tables?\b': 'position embedding, time embedding',
    r'\bcrossings?\b': 'attention mask',
    r'\bslabs?\b': 'window group',
    r'misfits?\b': 'mismatch',
    r'unlike in both': 'shape mismatch',
    r'\brelatives\b': 'unsupported formats',
    r'\btells[=:]|\.tells\b': 'config arguments implied by a checkpoint',
    r'\bmarks=': 'signature',
    r'tokenis\w*': 'tokenize...',
    r'\bcolour\w*': 'color',
    r'\bgrey\w*': 'gray',
    r'\w*(?:normal|initial|organ|recogn|optim|serial|random|regular|summar)is(?:e[ds]?|ing|ation)\b': 'z for s',
    r'\b(?:behaviour|neighbour|favour|labell|modell|licence)\w*': 'American spelling',
}
PATTERN = re.compile('|'.join(f'(?P<w{n}>{word})' for n, word in enumerate(RETIRED)), re.IGNORECASE)


def retired(text: str) -> list[tuple[int, str, str]]:
    """Return (line number, retired word, word to use) for each use in a text."""
    found = []
    for number, line in enumerate(text.splitlines(), 1):
        for match in PATTERN.finditer(ADDRESS.sub('', line)):
            assert match.lastgroup is not None
            found.append((number, match.group(), list(RETIRED.values())[int(match.lastgroup[1:])]))
    return found


WORDS = r'(?:What|How|Which|Where|Whether|Why|When)\b'
QUESTION = {'.py': re.compile(rf'^\s*"""{WORDS}'), '.md': re.compile(rf'^#+ {WORDS}')}


def tracked() -> list[Path]:
    listed = subprocess.run(['git', 'ls-files', '-z', *FOLDERS], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip('not a git checkout')
    return [
        ROOT / name
        for name in listed.stdout.split('\0')
        if name and not name.endswith('.png') and not name.startswith(NAMES_OF_OTHERS)
    ]


@pytest.mark.parametrize(
    ('line', 'word'),
    [
        ("attention='spacetime'", 'spacetime'),
        ("shift='space-time'", "'space-time'"),
        ('the factorised encoder', 'factorised'),
        ("inflate='centre'", 'centre'),
        ('a perceptron', 'perceptron'),
        ('grey levels', 'grey'),
        ('initialisation', 'initialisation'),
    ],
)
def test_a_retired_word_is_found(line: str, word: str) -> None:
    assert [found for _, found, _ in retired(line)] == [word]


@pytest.mark.parametrize(
    'line',
    [
        'joint space-time attention, factorized over space and time',
        'vivit_base_factorised_encoder.py of scenic',
        'github.com/x/y/factorised_encoder',
        'color and colored, gray, center, centered, recognized',
    ],
)
def test_other_lines_are_not(line: str) -> None:
    assert retired(line) == []


def test_no_file_uses_a_retired_word() -> None:
    files = tracked()
    assert ROOT / 'README.md' in files
    uses = [
        f'{file.relative_to(ROOT)}:{number}: {word!r}; use {instead}'
        for file in files
        for number, word, instead in retired(file.read_text(encoding='utf-8'))
    ]
    assert not uses, '\n'.join(uses)


def test_no_docstring_or_heading_is_an_indirect_question() -> None:
    questions = [
        f'{file.relative_to(ROOT)}:{number}: {line.strip()}'
        for file in tracked()
        if file.suffix in QUESTION
        for number, line in enumerate(file.read_text(encoding='utf-8').splitlines(), 1)
        if QUESTION[file.suffix].search(line)
    ]
    assert not questions, 'start with a verb ("Return ...") or a noun:\n' + '\n'.join(questions)
