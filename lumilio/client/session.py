"""A conversation with the daemon over HTTP: bearer tokens that renew themselves, patience while it is away."""

import asyncio
import contextlib
import io
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import aiohttp

from lumilio.client.discovery import Address, Login, read_address
from lumilio.client.exchange import (
    ASKED_TO_WAIT,
    Answer,
    ConnectionLost,
    Notice,
    Patience,
    StreamEnded,
    read_answer,
    translated,
    waiting_reason,
)
from lumilio.errors import ClientError

PREFIX = "/api/v1"
CONNECT_SECONDS = 10.0
ANSWER_SECONDS = 60.0
_RENEWALS = 5
_RENEWAL_PAUSE = 0.5
_SAY_AGAIN_SECONDS = 60.0
_LONGEST_LINE = 1 << 20


class Session:
    """An authenticated conversation with one daemon, through ``daemon.json`` of a data directory or by a login.

    ``patience`` seconds is how long a daemon that is away or busy is waited for; ``notice`` gets a sentence when that
    happens, the same one at most once a minute.
    """

    def __init__(
        self,
        *,
        data: Path | None = None,
        url: str = "",
        login: Login | None = None,
        patience: float = 300,
        connections: int = 8,
        notice: Notice = lambda _text: None,
    ) -> None:
        self._data = data
        self._login = login
        self._address = Address(url=url)
        self._seconds = patience
        self._connections = connections
        self._notice = notice
        self._said: dict[str, float] = {}
        self._renewal = asyncio.Lock()
        self._stack = contextlib.AsyncExitStack()
        self._http: aiohttp.ClientSession

    async def __aenter__(self) -> Self:
        """Connect and authenticate at once, without patience. Raises ClientError."""
        self._http = await self._stack.enter_async_context(
            aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=self._connections),
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS, connect=None),
                headers={"User-Agent": "lumilio-cli"},
            )
        )
        try:
            await self._renew(self._address)
        except BaseException as exc:
            await self._stack.aclose()
            if isinstance(exc, ConnectionLost):
                raise away(exc) from exc
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    @property
    def url(self) -> str:
        """Base URL that is in use."""
        return self._address.url

    def patience(self) -> Patience:
        """A fresh clock for one request."""
        return Patience(self._seconds, self._say)

    async def probe(self, path: str, payload: Mapping[str, object]) -> None:
        """Post once, to learn that the daemon is there and lets us in. Raises ClientError."""
        try:
            answer = await self.call("POST", path, payload=payload)
        except ConnectionLost as exc:
            raise away(exc) from exc
        if answer.status >= 400:
            raise self.refusal(answer)

    def refusal(self, answer: Answer) -> ClientError:
        """What to raise for an answer that nothing can be made of."""
        return ClientError(f"the daemon at {self.url} refused: {answer.reason} ({answer.code})")

    async def request(
        self,
        method: str,
        path: str,
        *,
        payload: Mapping[str, object] | None = None,
        query: Sequence[tuple[str, str]] = (),
    ) -> Answer:
        """Exchange JSON, waiting with patience for a daemon that is away. Raises ClientError for every refusal."""
        patience = self.patience()
        while True:
            try:
                answer = await self.call(method, path, payload=payload, query=query)
            except ConnectionLost as exc:
                await patience.wait(str(exc))
                continue
            if answer.status in ASKED_TO_WAIT:
                await patience.wait(waiting_reason(answer), answer.retry_after)
            elif answer.status >= 400:
                raise self.refusal(answer)
            else:
                return answer

    async def call(
        self,
        method: str,
        path: str,
        *,
        payload: Mapping[str, object] | None = None,
        query: Sequence[tuple[str, str]] = (),
        seconds: float = ANSWER_SECONDS,
    ) -> Answer:
        """One exchange of JSON. Raises ConnectionLost, also after ``seconds``, or ClientError when nobody is let in."""

        async def exchange(address: Address) -> Answer:
            async with asyncio.timeout(seconds):
                return await self._send(address, method, path, params=query, json=payload)

        return await self.authenticated(exchange)

    async def authenticated(self, exchange: Callable[[Address], Awaitable[Answer]]) -> Answer:
        """Run one exchange; after a 401 renew the token and run it once more.

        Raises ConnectionLost when no answer came, after reading anew where the daemon is.
        """
        address = self._address
        try:
            answer = await translated(exchange, address)
            if answer.status == 401:
                await self._renew(address)
                answer = await translated(exchange, self._address)
        except ConnectionLost:
            self._find_again()
            raise
        if answer.status == 401:
            raise ClientError(f"the daemon at {self.url} does not accept a fresh token: {answer.reason}")
        if 300 <= answer.status < 400:
            raise ClientError(f"{self.url} redirects elsewhere; give the daemon's own address with --url")
        return answer

    @contextlib.asynccontextmanager
    async def stream(
        self, path: str, *, headers: Mapping[str, str], silence: float
    ) -> AsyncIterator[Callable[[], Awaitable[bytes]]]:
        """Open an answer without an end and get what reads its next line.

        Both raise ConnectionLost and ClientError, the reader also after ``silence`` seconds without a byte, and
        StreamEnded.
        """
        async with contextlib.AsyncExitStack() as stack:
            opened: list[aiohttp.StreamReader] = []

            async def exchange(address: Address) -> Answer:
                async with asyncio.timeout(ANSWER_SECONDS):
                    response = await stack.enter_async_context(
                        self._http.get(
                            f"{address.url}{PREFIX}{path}",
                            headers={**_authorization(address), **headers},
                            allow_redirects=False,
                            timeout=aiohttp.ClientTimeout(
                                total=None, connect=None, sock_connect=CONNECT_SECONDS, sock_read=silence
                            ),
                        )
                    )
                    if response.status != 200:
                        return await read_answer(response)
                opened.append(response.content)
                return Answer(status=200, body={})

            answer = await self.authenticated(exchange)
            if answer.status in ASKED_TO_WAIT:
                raise ConnectionLost(waiting_reason(answer))
            if answer.status != 200:
                raise self.refusal(answer)
            address, content = self._address, opened[0]

            async def read_line() -> bytes:
                line = await translated(lambda _: content.readline(max_line_length=_LONGEST_LINE), address)
                if not line.endswith(b"\n"):
                    raise StreamEnded(f"the connection to {address.url} ended")
                return line

            yield read_line

    async def post(self, address: Address, path: str, body: aiohttp.MultipartWriter, headers: dict[str, str]) -> Answer:
        """Send a body that was made for this one request, for use inside ``authenticated``."""
        return await self._send(address, "POST", path, data=body, headers=headers)

    async def put(self, path: str, body: bytes, query: Sequence[tuple[str, str]]) -> Answer:
        """Send bytes as they are, once. Raises ConnectionLost, or ClientError when nobody is let in."""

        async def exchange(address: Address) -> Answer:
            async with asyncio.timeout(ANSWER_SECONDS):
                kind = {"Content-Type": "application/octet-stream"}
                return await self._send(address, "PUT", path, params=query, data=io.BytesIO(body), headers=kind)

        return await self.authenticated(exchange)

    async def _send(
        self,
        address: Address,
        method: str,
        path: str,
        *,
        params: Sequence[tuple[str, str]] = (),
        json: Mapping[str, object] | None = None,
        data: aiohttp.MultipartWriter | io.BytesIO | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        async with self._http.request(
            method,
            f"{address.url}{PREFIX}{path}",
            params=params,
            json=json,
            data=data,
            headers={**_authorization(address), **(headers or {})},
            allow_redirects=False,
        ) as response:
            return await read_answer(response)

    async def _renew(self, refused: Address) -> None:
        """Get another token than the refused one. Raises ClientError, ConnectionLost."""
        async with self._renewal:
            if self._address != refused:
                return
            if self._login is not None:
                self._address = await self._log_in(self._login)
                return
            for attempt in range(_RENEWALS):
                if attempt:
                    await asyncio.sleep(_RENEWAL_PAUSE)  # a daemon that restarts writes its file anew
                self._find_again(strict=True)
                if self._address != refused:
                    return
        raise ClientError(f"the daemon at {self.url} does not accept its own token any more; restart it")

    async def _log_in(self, login: Login) -> Address:
        async def exchange(address: Address) -> Answer:
            credentials = {"username": login.username, "password": login.password}
            async with asyncio.timeout(ANSWER_SECONDS):
                return await self._send(address, "POST", "/auth/login", json=credentials)

        answer = await translated(exchange, Address(url=self.url))
        token = answer.body.get("access_token")
        if answer.status == 401:
            raise ClientError(f"user name {login.username!r} and password do not belong together at {self.url}")
        if answer.status in ASKED_TO_WAIT - {429}:
            raise ConnectionLost(waiting_reason(answer))
        if answer.status != 200 or not isinstance(token, str):
            raise ClientError(f"login at {self.url} was refused: {answer.reason} ({answer.code})")
        return Address(url=self.url, token=token)

    def _find_again(self, *, strict: bool = False) -> None:
        if self._data is None:
            return
        try:
            self._address = read_address(self._data)
        except ClientError:
            if strict and not self._address.token:
                raise

    def _say(self, text: str) -> None:
        now = asyncio.get_running_loop().time()
        if now - self._said.get(text, -_SAY_AGAIN_SECONDS) >= _SAY_AGAIN_SECONDS:
            self._said[text] = now
            self._notice(text)


def away(exc: ConnectionLost) -> ClientError:
    """For a daemon that does not answer at the first try."""
    return ClientError(
        f"{exc}; start the daemon with `make run` or `systemctl start lumilio`, or name another one with --url"
    )


def _authorization(address: Address) -> dict[str, str]:
    return {"Authorization": f"Bearer {address.token}"} if address.token else {}
