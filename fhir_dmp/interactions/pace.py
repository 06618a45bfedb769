"""Requests that are equally far go on one after the other: what one of them has just done is then done by a warm processor.

https://www.usenix.org/legacy/publications/library/proceedings/usenix02/full_papers/larus/larus_html/ (cohort scheduling)

A request runs through more code than the caches of a processor hold. Done from end to end, each finds them full of what the one before did
last; step by step, a step is found as the neighbour left it. A step that takes 50 to 300 µs is worth its pause of 2 µs.
"""

import asyncio


async def in_step(transaction: object = None) -> None:
    """Let those who wait come as far as this first. transaction: of MongoDB, within which nobody is waited for: others wait for it."""
    if transaction is None:
        await asyncio.sleep(0)
