"""Parts of the MMEngine wrappers: read a checkpoint once per job, and publish the report."""

from logging import FileHandler
from pathlib import Path

from mmengine.dist import barrier, get_rank, get_world_size, master_only
from mmengine.logging import MMLogger, print_log

from .fetch import fetch, is_url
from .formats import Opened, open_checkpoint
from .report import LoadReport

REPORT_NAME = 'pretrained_report.txt'


def read(checkpoint: str) -> Opened:
    """Open a checkpoint on every process; only the first one downloads a web address."""
    if is_url(checkpoint) and get_world_size() > 1:
        if get_rank() == 0:
            fetch(checkpoint)
        barrier()
    return open_checkpoint(checkpoint)


@master_only
def publish(report: LoadReport, work_dir: str | Path | None = None) -> None:
    """Log the report and save it as ``pretrained_report.txt`` in the work dir.

    ``work_dir`` defaults to that of the running Runner, whose log is in <work_dir>/<time>/. Without a Runner nothing is
    saved.
    """
    print_log(str(report), logger='current')
    if work_dir is None:
        logger = MMLogger.get_current_instance()
        logs = [Path(handler.baseFilename) for handler in logger.handlers if isinstance(handler, FileHandler)]
        work_dir = next((log.parents[1] for log in logs if log.stem.startswith(log.parent.name)), None)
    if work_dir is not None:
        report.save(Path(work_dir) / REPORT_NAME)
