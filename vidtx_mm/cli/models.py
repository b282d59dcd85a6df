"""``vidtx models``."""

import click

from .frame import command as make_command
from .frame import print_table


@make_command("vidtx models 'uniformer*' --pretrained")
@click.argument('pattern', default='*')
@click.option('--pretrained', is_flag=True, help='Only models whose weights have an address.')
def command(pattern: str, pretrained: bool) -> None:
    """List models by name: config, weights id, data, published result, parameters.

    PATTERN is matched against configs and weights ids. A config name serves --config and create_model; a weights id
    with a * serves --checkpoint and is fetched once.
    """
    from vidtx_mm.apis.zoo import list_models

    found = list_models(pattern, pretrained)
    if not found:
        raise click.UsageError(f'no model matches {pattern!r}; `vidtx models` lists all')
    print_table(
        ['config', 'weights', 'data', 'published', 'params'],
        [
            [
                info.config,
                info.weights + ' *' * info.pretrained,
                info.data,
                info.result or '-',
                f'{info.parameters / 1e6:.1f}M' if info.parameters else '-',
            ]
            for info in found
        ],
    )
