"""A Serve application that does nothing: what HTTP, the proxy and a replica cost by themselves.

`loadtest.run` deploys it beside the service, under /noop; it is the one module here that knows Ray.
"""

from fastapi import FastAPI
from ray import serve

http = FastAPI()


@serve.deployment(name="noop", max_ongoing_requests=256, ray_actor_options={"num_cpus": 0})
@serve.ingress(http)
class Noop:
    """Answers at once."""

    @http.get("/")
    async def nothing(self) -> dict[str, bool]:
        return {"ok": True}


app = Noop.bind()
