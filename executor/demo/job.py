"""The demo itself; these lines are the ones to copy. ``python -m executor demo`` calls ``run``."""

from __future__ import annotations

from concurrent.futures import Future, as_completed

from executor import Executor
from executor.demo.library import broken_file, source_files
from executor.demo.report import Report
from executor.demo.survey import FileSurvey, survey

WORKERS = 2  # processes; they live as long as the executor


def run(url: str | None = None, as_json: bool = False) -> int:
    """Survey every file of the standard library; 0 if only the broken file failed, else 1.

    ``url``: another broker than the local one, such as ``redis://localhost``. ``as_json``: print
    the totals as JSON, and nothing else. Raises what ``Executor`` and ``wait_for_workers`` raise.
    """
    report = Report(as_json)
    with broken_file() as broken, Executor(url, workers=WORKERS) as executor:
        workers = executor.wait_for_workers(WORKERS)
        paths = [broken, *source_files()]
        report.begin(workers, len(paths))

        # submit() returns at once: a survey is an ordinary function, called with ordinary values.
        submitted: dict[Future[FileSurvey], str] = {
            executor.submit(survey, path): path for path in paths
        }
        try:
            for future in report.watch(as_completed(submitted), len(submitted)):
                try:
                    report.add(future.result())
                except Exception as error:  # what the task raised in the worker, raised again here
                    report.fail(submitted[future], error)
        except KeyboardInterrupt:
            executor.shutdown(cancel_futures=True)  # what has not been sent is not sent any more
            raise

    report.close()
    failed = {path: type(error) for path, error in report.failures.items()}
    return 0 if failed == {broken: SyntaxError} else 1
