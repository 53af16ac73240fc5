"""The first calls of a model, before anybody waits for one: on rows made from its signature."""

import asyncio
from typing import Any

from model_platform_runner.answers import Answers
from model_platform_runner.batching import JOINED_ROWS, ModelError
from model_platform_runner.errors import CallError
from model_platform_runner.service import Service

_QUICK_ENOUGH_SECONDS = 0.02  # a model that is slower for one row is not asked for a whole batch


async def warm_up(service: Service, rows: list[Any]) -> Answers | None:
    """Let the model answer the example a few times, so that the line learns how quick it is.

    Returns the answers to the example, or None if the model did not take it: rows made from a signature may mean
    nothing to it, and that is no failure.
    """
    loop = asyncio.get_running_loop()
    contract, line = service.predictor.contract, service.line
    try:
        batch = contract.read_rows(rows)
        await _answered(service, batch)
        start = loop.time()
        answers: Answers = await _answered(service, batch)
        if loop.time() - start < _QUICK_ENOUGH_SECONDS:
            await _answered(service, contract.read_rows((rows * JOINED_ROWS)[:JOINED_ROWS]))
    except (ModelError, CallError, asyncio.TimeoutError) as error:
        service.journal.event(
            "warm_up_failed", type=str(error) if isinstance(error, ModelError) else type(error).__name__
        )
        return None
    service.journal.event("warmed_up", calls=line.calls)
    return answers


async def _answered(service: Service, batch: Any) -> Answers:
    return await asyncio.wait_for(service.line.answer(batch), service.config.limits.seconds)
