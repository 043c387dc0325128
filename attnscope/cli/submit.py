"""`attnscope submit`: spread the prompts of a probe over the jobs of a SLURM cluster."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from attnscope.cli._numbers import Amount, Hours, Jobs
from attnscope.cli._options import AsJson
from attnscope.cli._output import print_json
from attnscope.errors import InputError, RunError, SetupError, quote

if TYPE_CHECKING:
    import submitit

Word = Annotated[str, Parameter(allow_leading_hyphen=True)]


def submit_command(
    *words: Word,
    jobs: Jobs,
    cluster: Literal["slurm", "local"] = "slurm",
    partition: str | None = None,
    hours: Hours = 4.0,
    gpus: Amount = 1,
    cpus: Jobs = 4,
    memory_gb: Amount = 32,
    logs: Path = Path("runs/jobs"),
    as_json: AsJson = False,
) -> None:
    """Run a probe of several prompts as an array of jobs that fill one store.

    Each job runs every n-th prompt, on its own time; a job that was killed is taken up by submitting again. When all
    are done, the same probe command, run in one process, reports on the store. Needs the extra `slurm` (submitit).

    Parameters
    ----------
    words
        The command behind two hyphens: probe, with its file of prompts and where to put the results.
    jobs
        How many jobs share the prompts.
    cluster
        slurm, or local: as processes of this machine, which are waited for.
    partition
        The partition of the cluster; its default otherwise.
    hours
        Time limit of a job.
    gpus
        GPUs of a job.
    cpus
        Processor cores of a job.
    memory_gb
        Memory of a job.
    logs
        Folder for what the jobs print; it must be visible to them.
    """
    _require_probe(words)
    executor = _executor(cluster, logs)
    settings: dict[str, object] = {
        "timeout_min": math.ceil(60 * hours),
        "cpus_per_task": cpus,
        "gpus_per_node": gpus,
        "mem_gb": memory_gb,
        "name": "attnscope",
    }
    executor.update_parameters(
        **settings, **({"slurm_partition": partition} if partition is not None else {})
    )
    with executor.batch():
        submitted = [executor.submit(run_share, words, index, jobs) for index in range(jobs)]
    names = [str(job.job_id) for job in submitted]
    if cluster == "local":
        _wait(submitted)
    if as_json:
        return print_json({"jobs": names, "logs": str(logs), "command": ["attnscope", *words]})
    print(f"jobs      {', '.join(names)}; what they print is in {logs}")
    print(f"when all are done: attnscope {' '.join(words)}")


def run_share(words: tuple[str, ...], index: int, count: int) -> None:
    """Run one share of a command; called in the job.

    Raises
    ------
    RunError
        The command failed, so that the job counts as failed, too.
    """
    from attnscope.cli import main

    os.environ.update(RANK=str(index), WORLD_SIZE=str(count))
    if code := main(words):
        raise RunError(
            expected=f"share {index} of {count} to run",
            got=f"exit code {code}",
            where="in a job",
            remedy="read its error file",
        )


def _require_probe(words: tuple[str, ...]) -> None:
    """Refuse, before anything waits in a queue, what cannot be shared or will not be understood there."""
    from attnscope.cli import app

    options = [word.split("=", 1)[0] for word in words]
    if not words or words[0] != "probe" or "--prompts" not in options or not {"--out", "-o"} & {*options}:
        raise InputError(
            expected="probe with --prompts and --out",
            got=quote(" ".join(words)),
            where="in submit",
            remedy="write `attnscope submit --jobs 8 -- probe --prompts prompts.txt --out runs/x`",
        )
    app.parse_args(list(words), exit_on_error=False, print_error=False)


def _executor(cluster: str, logs: Path) -> Any:
    try:
        import submitit
    except ImportError as error:
        raise SetupError(
            expected="submitit, which hands jobs to a cluster",
            got="no such package",
            where="in submit",
            remedy="install attnscope[slurm]",
        ) from error
    try:
        return submitit.AutoExecutor(folder=logs, cluster=cluster)
    except RuntimeError as error:
        raise SetupError(
            expected=f"the {cluster} cluster",
            got=quote(str(error)),
            where="in submit",
            remedy="log in where sbatch is, or give --cluster local",
        ) from error


def _wait(jobs: list[submitit.Job[None]]) -> None:
    """Wait for jobs of this machine."""
    failed = [job.job_id for job in jobs if job.exception() is not None]
    if failed:
        raise RunError(
            expected=f"{len(jobs)} jobs to end well",
            got=f"{len(failed)} that failed ({', '.join(failed)})",
            where="in submit",
            remedy="read their error files and submit again",
        )
