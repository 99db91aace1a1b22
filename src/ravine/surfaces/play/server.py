"""The page and its answers, for this machine only: who may ask, how much, and in what words a mistake is told."""

import asyncio
import json
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from pathlib import Path
from threading import Thread
from typing import Any

import torch
from starlette.applications import Starlette
from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ravine.surfaces.play import answers, asked, maps
from ravine.surfaces.play.expression import ExpressionError
from ravine.surfaces.play.turns import LEVELS, Left, Turns, Work

PAGE = Path(__file__).parent / "page"
COMPUTING = "ravine play"  # the name of a thread that computes an answer
BODY = 32_768  # bytes of a question
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
                               "img-src 'self' data: blob:; media-src blob:; base-uri 'none'; form-action 'none'; "
                               "frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
}  # fmt: skip
LOOK = 0.1  # seconds between two looks whether somebody still waits for an answer
Answer = Callable[[dict[str, Any], Work], Response]


def application(port: int) -> Starlette:
    """The server at this port of 127.0.0.1."""
    turns, working = Turns(), dict[str, Work]()
    lanes = [asyncio.Lock() for _ in range(LEVELS)]

    def route(name: str, answer: Answer) -> Route:
        async def endpoint(request: Request) -> Response:
            try:
                body = await question(request)
            except ClientDisconnect:
                return Response(status_code=499)  # in the middle of its question
            work, called = Work(turns, LEVEL.get(name, 0)), str(body.get("id", ""))[:64]
            working[called] = work
            try:
                async with lanes[work.level]:
                    return await apart(lambda: answered(answer, body, work), work, request)
            except asyncio.CancelledError:  # Ctrl-C
                work.left = True
                return Response(status_code=503)
            finally:
                if working.get(called) is work:
                    del working[called]

        return Route(f"/api/{name}", endpoint, methods=["POST"])

    async def choices(_: Request) -> Response:
        return told(answers.choices())

    async def alive(_: Request) -> Response:
        return PlainTextResponse("yes")

    async def progress(request: Request) -> Response:
        work = working.get(request.query_params.get("id", "")[:64])
        return told({"part": work and work.part})

    routes = [
        Route("/api/choices", choices),
        Route("/api/alive", alive),
        Route("/api/progress", progress),
        *(route(name, answer) for name, answer in ANSWERS.items()),
        Mount("/", StaticFiles(directory=PAGE, html=True)),
    ]
    app = Starlette(routes=routes, exception_handlers={asked.Refused: refused, Exception: broken})  # pyright: ignore[reportArgumentType]
    app.add_middleware(Guard, port=port)  # pyright: ignore[reportArgumentType]
    return app


def told(content: Mapping[str, Any], status: int = 200) -> Response:
    """As JSON in ASCII: what somebody asked comes back in a mistake, and half of a character has no UTF-8."""
    return Response(json.dumps(content, allow_nan=False), status, media_type="application/json")


class Guard:
    """Lets in who came by our own address: no other site's page, and no name that somebody points at this machine."""

    def __init__(self, app: ASGIApp, port: int):
        self.app = app
        names = ("127.0.0.1", "localhost")
        self.hosts = {f"{name}:{port}" for name in names} | (set(names) if port == 80 else set())
        self.origins = {f"http://{host}" for host in self.hosts}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self.app(scope, receive, send)
            return

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] += [(k.lower().encode(), v.encode()) for k, v in HEADERS.items()]
            await send(message)

        headers = Headers(scope=scope)
        if reason := self.stranger(headers):
            await told({"error": reason}, 403)(scope, receive, guarded)
            return
        await self.app(scope, receive, guarded)

    def stranger(self, headers: Headers) -> str | None:
        """Why this request is not answered; None where it is."""
        if headers.get("host") not in self.hosts:
            return f"this server answers at {min(self.hosts)} only"
        if headers.get("origin", min(self.origins)) not in self.origins:
            return "this server answers its own page only"
        followed = headers.get("sec-fetch-mode") == "navigate" and headers.get("sec-fetch-dest") == "document"
        if headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none") and not followed:
            return "this server answers its own page only"  # a link to it may be anywhere
        return None


async def apart(answer: Callable[[], Response], work: Work, request: Request) -> Response:
    """What this gives, computed in a thread of its own that keeps nobody from ending the program.

    It ends between two steps where its client leaves.
    """
    if await request.is_disconnected():
        return Response(status_code=499)
    found = Future[Response]()
    found.set_running_or_notify_cancel()

    def run() -> None:
        try:
            found.set_result(answer())
        except BaseException as error:
            found.set_exception(error)

    Thread(target=run, name=COMPUTING, daemon=True).start()
    waiting = asyncio.wrap_future(found)
    while not (await asyncio.wait([waiting], timeout=LOOK))[0]:
        work.left = work.left or await request.is_disconnected()
    return waiting.result()


async def question(request: Request) -> dict[str, Any]:
    """The body as an object, if it is JSON of a bearable size."""
    if request.headers.get("content-type", "").split(";")[0].strip() != "application/json":
        raise asked.Refused("a question is JSON: Content-Type: application/json")
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > BODY:
            raise asked.Refused(f"a question has at most {BODY} bytes")
    try:
        read = json.loads(body)
    except (ValueError, RecursionError):
        raise asked.Refused("this is no JSON") from None
    if not isinstance(read, dict):
        raise asked.Refused("a question is a JSON object")
    return read


def answered(answer: Answer, body: dict[str, Any], work: Work) -> Response:
    """The answer, or what is wrong with the question."""
    torch.set_num_threads(1)  # of this thread: the tensors are small
    try:
        with work.turn():
            return answer(body, work)
    except ExpressionError as error:
        return told({"error": str(error), "at": error.at, "field": "formula"}, 400)
    except asked.Refused as error:
        return told({"error": str(error), "field": error.field}, 400)
    except Left:
        return Response(status_code=499)


async def refused(_: Request, error: asked.Refused) -> Response:
    """A question that could not be read."""
    return told({"error": str(error), "field": error.field}, 400)


async def broken(_: Request, error: Exception) -> Response:
    """Our own fault; the terminal has the rest."""
    return told({"error": f"ravine failed at this: {type(error).__name__}. The terminal says more."}, 500)


def numbers(content: bytes) -> Response:
    return Response(content, media_type="application/octet-stream")


def ground(body: dict[str, Any], work: Work) -> Response:
    surface = asked.surface_of(body)
    columns = asked.whole(body, "columns", 2, asked.COLUMNS)
    return numbers(answers.ground(surface, asked.view(body, surface), asked.aspect(body), columns))


def race(body: dict[str, Any], work: Work) -> Response:
    return numbers(answers.race(asked.race(body), body.get("momentum") is True, work))


def tune(body: dict[str, Any], work: Work) -> Response:
    race = asked.race(body, alone=True)
    if race.steps > (most := answers.tunable(race.racers[0])):
        raise asked.Refused(f"tuning {race.racers[0].name} over {race.steps} steps takes minutes; take at most {most}, "
                            "or choose its rate by hand", "runs")  # fmt: skip
    return told({"rate": answers.tuned(race.surface, race.racers[0], race.steps, work)})


def rates(body: dict[str, Any], work: Work) -> Response:
    each, losses = maps.rates(asked.race(body, alone=True), work)
    return numbers(answers.packed({"rates": each}, {"losses": losses}))


def basins(body: dict[str, Any], work: Work) -> Response:
    race = asked.race(body, alone=True)
    if not race.surface.minima:
        raise asked.Refused("no minimum of this surface is known, so nobody can say who arrives at it", "basins")
    seen, found = maps.basins(race, asked.view(body, race.surface), asked.aspect(body), work)
    return numbers(answers.packed({"view": seen, "minima": race.surface.minima}, found))


ANSWERS: dict[str, Answer] = {"ground": ground, "race": race, "tune": tune, "rates": rates, "basins": basins}
LEVEL = {"rates": 1, "basins": 1, "tune": 2}  # seconds, and tens of them: shorter ones pass
