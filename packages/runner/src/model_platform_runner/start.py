"""A runner's life: configuration, integrity, loading, silence, service. The journal tells each step."""

import asyncio
import contextlib
import gc
import os
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any

from model_platform_runner import integrity
from model_platform_runner.answers import Answers
from model_platform_runner.application import Application
from model_platform_runner.batch import Batch
from model_platform_runner.batching import Line, Predict
from model_platform_runner.config import Config, read_config
from model_platform_runner.control import Control
from model_platform_runner.description import Description, read_description
from model_platform_runner.documents import documents
from model_platform_runner.documents.describe import describe
from model_platform_runner.documents.example import example_rows
from model_platform_runner.errors import CallError, StartError
from model_platform_runner.journal import Journal
from model_platform_runner.lacking import Lacking
from model_platform_runner.loading import load
from model_platform_runner.metrics import Metrics
from model_platform_runner.predictor import Predictor
from model_platform_runner.project import lay_out
from model_platform_runner.serve import serve
from model_platform_runner.service import Service
from model_platform_runner.silence import discard_output
from model_platform_runner.tokens import Tokens
from model_platform_runner.warm_up import warm_up

try:
    import uvloop
except ImportError:  # it is not made for every system
    uvloop = None

FAILED = 3  # the exit status of a start that failed


def run(config_file: Path, *, forked: bool = False) -> int:
    """Serve as a configuration says, until a signal; return the process's exit status."""
    journal = Journal(os.dup(2))
    try:
        config = read_config(config_file)
        start = perf_counter()
        facts = {"model": config.model, "version": config.version, "runner_id": config.runner_id}
        journal.event("loading", **facts, start="fork" if forked else "fresh")
        integrity.verify(config.model_directory, config.files)
        description = read_description(config.model_directory)
        lacking = Lacking(description.directory, description.code, partial(_tell, journal))
        lacking.watch()
        lay_out(description.directory, description.project)
        try:
            predictor = load(description, config.limits.rows, apart=forked)
        except StartError as error:
            raise StartError(error.code, lacking.sentence(error) or error.message) from error
        journal.event("loaded", seconds=round(perf_counter() - start, 3), flavor=predictor.flavor)
        _new_loop().run_until_complete(_serve(config, description, predictor, journal, lacking))
    except StartError as error:
        journal.event("failed", code=error.code, message=error.message)
        return FAILED
    except BaseException as error:  # noqa: BLE001 - whoever started us must learn of it, in a line without data
        journal.event("failed", code="failed_start", message=f"The runner could not start: {type(error).__name__}.")
        return FAILED
    return 0


async def _serve(
    config: Config, description: Description, predictor: Predictor, journal: Journal, lacking: Lacking
) -> None:
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _loop, context: _note(journal, context))
    discarded = discard_output(partial(_soon, loop, journal, "output", "text") if config.keep_output else None)
    lacking.tell = partial(_soon, loop, journal, "lacking", "message")
    joining = description.published.rows_independent and predictor.contract.joinable
    predict, seconds = _noting(predictor, lacking), config.limits.seconds
    line = Line(predict, joining=joining, on_loop=predictor.on_loop, seconds=seconds)
    labels = {"zone": config.zone, "model": config.model, "version": config.version, "runner": config.runner_id}
    service = Service(
        config=config,
        predictor=predictor,
        tokens=_tokens(config),
        metrics=Metrics(labels),
        journal=journal,
        discarded=discarded,
        line=line,
    )
    example = example_rows(predictor.contract, description.published)
    answers = await warm_up(service, example) if joining else None
    interface = describe(config, predictor, description, example, answers)
    application = Application(service, documents(interface))
    gc.freeze()  # what is loaded stays: to look through it for garbage would now and then hold up a call
    await serve(service, application, Control(service))


def _noting(predictor: Predictor, lacking: Lacking) -> Predict:
    """The model's call; what it fails for is told to the supervisor, where that can be told without data."""

    def predict(batch: Batch) -> Answers:
        try:
            return predictor.predict(batch)
        except CallError:
            raise  # rows that do not fit
        except BaseException as error:
            lacking.note(error)
            raise

    return predict


def _tell(journal: Journal, sentence: str) -> None:
    journal.event("lacking", message=sentence)


def _soon(loop: asyncio.AbstractEventLoop, journal: Journal, event: str, fact: str, words: str) -> None:
    """Tell it from the loop's own thread, whichever this is."""
    with contextlib.suppress(RuntimeError):  # the loop is closed: it ends
        loop.call_soon_threadsafe(partial(journal.event, event, **{fact: words}))


def _tokens(config: Config) -> Tokens | None:
    return Tokens(config.audience, config.public_keys, config.revoked_file) if config.access == "token" else None


def _note(journal: Journal, context: dict[str, Any]) -> None:
    """Keep asyncio's own reports, which may show the arguments of what failed, out of every log."""
    journal.event("internal_error", type=type(context.get("exception")).__name__)


def _new_loop() -> asyncio.AbstractEventLoop:
    loop = uvloop.new_event_loop() if uvloop else asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    return loop
