"""A bare HTTP client that shares no code with the library, for tests of the emulator."""

import io
import json
from contextlib import asynccontextmanager

import aiohttp
from PIL import Image

from akool_async.emulator import Emulator

V3 = "/api/open/v3"
BUTTON = f"{V3}/content/image/createbybutton"
PROMPT = f"{V3}/content/image/createbyprompt"
SOURCE_PROMPT = "/api/open/v4/content/image/createBySourcePrompt"
RESULT = f"{V3}/content/image/infobymodelid"
CREDIT = f"{V3}/faceswap/quota/info"
TOKEN = f"{V3}/getToken"


class Bare:
    """A client without any logic."""

    def __init__(self, emulator, http):
        self.emulator = emulator
        self.http = http
        self.headers = {"x-api-key": emulator.api_key}

    async def post(self, path, **body):
        async with self.http.post(self.emulator.base_url + path, json=body, headers=self.headers) as response:
            return json.loads(await response.read())

    async def get(self, path, **query):
        async with self.http.get(self.emulator.base_url + path, params=query, headers=self.headers) as response:
            return json.loads(await response.read())

    async def get_result(self, image_id):
        return (await self.get(RESULT, image_model_id=image_id))["data"]

    async def picture(self, url):
        async with self.http.get(url) as response:
            assert response.status == 200
            return Image.open(io.BytesIO(await response.read())).convert("RGB")

    async def press(self, source, button):
        return await self.post(BUTTON, _id=source, button=button)

    async def finished(self, reply):
        """Return the result of a job that was just accepted."""
        self.emulator.advance(60)
        return await self.get_result(reply["data"]["_id"])


@asynccontextmanager
async def emulated(**options):
    """A bare client of a new emulator. Durations are the medians unless ``options`` set others."""
    async with Emulator(**{"sigma": 0, "queue_sigma": 0, **options}) as emulator, aiohttp.ClientSession() as http:
        yield Bare(emulator, http)
