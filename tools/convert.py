"""Write any known checkpoint as a plain MMAction2 one: ``python tools/convert.py SRC DST [--config CONFIG]``.

Without a config the keys of a video checkpoint are renamed and its shapes and head stay. With one, the checkpoint is
brought to that model, strictly: an image model is inflated, tables are resized, a head of other classes is left out.
"""

import argparse
import sys
from dataclasses import fields
from pathlib import Path

import torch
from mmengine.config import Config, DictAction
from mmengine.registry import MODELS, DefaultScope

import vidtx_mm
from vidtx_mm.weights import CheckpointError, Options, adapt, open_checkpoint
from vidtx_mm.weights.convert import rename
from vidtx_mm.weights.inflate import KERNEL_RULES, POS_INTERPOLATIONS
from vidtx_mm.weights.labels import CLASS_ORDERS
from vidtx_mm.weights.options import HEADS
from vidtx_mm.weights.sources import OWN, SOURCES

OPTIONS = [field.name for field in fields(Options)]


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('src', help='a file or a web address: .pth .pyth .bin .safetensors .npz or flax msgpack')
    parser.add_argument('dst', type=Path, help='the .pth file to write')
    parser.add_argument('--config', help='the config of the model that the checkpoint is for')
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, default={}, help='changes to it, KEY=VALUE')
    parser.add_argument('--source', default='auto', choices=['auto', OWN, *SOURCES], help='where SRC comes from')
    parser.add_argument('--inflate', choices=KERNEL_RULES, help='how image kernels become video kernels')
    parser.add_argument('--head', default='auto', choices=HEADS, help='what to do with the classifier')
    parser.add_argument('--class-order', default='auto', choices=CLASS_ORDERS, help='how SRC orders its classes')
    parser.add_argument('--pos-interpolation', default='bicubic', choices=POS_INTERPOLATIONS, help='for tables')
    parser.add_argument('--keep-init', default='', help='a pattern of parameters to leave out')
    args = parser.parse_args()
    if args.dst.exists():
        parser.error(f'{args.dst} exists: delete it or choose another name')
    if args.dst.suffix != '.pth':
        parser.error(f'{args.dst}: the name must end in .pth')
    if args.config is None and (
        args.inflate or args.keep_init or args.cfg_options or args.head != 'auto' or args.source == OWN
    ):
        parser.error('--inflate, --head, --cfg-options and --source own concern a model: give its --config')
    return args


def build(config: str, cfg_options: dict) -> torch.nn.Module:
    """The config's model, without memory for its weights, but with the values of its preprocessing."""
    cfg = Config.fromfile(config)
    cfg.merge_from_dict(cfg_options)
    with DefaultScope.overwrite_default_scope(cfg.get('default_scope', 'mmaction')):
        with torch.device('meta'):
            model = MODELS.build(cfg.model)
        if 'data_preprocessor' in cfg.model:
            model.data_preprocessor = MODELS.build(cfg.model.data_preprocessor)
    return model


def main() -> None:
    args = parse_args()
    try:
        opened = open_checkpoint(args.src)
        if args.config is None:
            state_dict, report = rename(opened, args.source, args.class_order)
        else:
            options = Options.parse({name: getattr(args, name) for name in OPTIONS})
            state_dict, report = adapt(opened, build(args.config, args.cfg_options), options)
    except CheckpointError as error:
        sys.exit(f'convert: {error}')
    meta = dict(vidtx_mm_version=vidtx_mm.__version__, report=str(report))
    args.dst.parent.mkdir(parents=True, exist_ok=True)
    torch.save(dict(meta=meta, state_dict={key: value.clone() for key, value in state_dict.items()}), args.dst)
    print(report)
    print(f'wrote {args.dst} ({args.dst.stat().st_size:,} bytes)')


if __name__ == '__main__':
    main()
