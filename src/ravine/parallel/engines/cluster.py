"""A Ray cluster: that of RAY_ADDRESS, or one that is started here, for this machine alone, and ended."""

from __future__ import annotations

import logging
import os
from typing import Any

# before Ray is imported, which reports to its makers, and on Linux listens to the whole network
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
if not os.environ.get("RAY_ADDRESS"):
    os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")  # as on those: on 127.0.0.1 alone

try:
    import ray.exceptions
    from ray import cloudpickle
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy
except ModuleNotFoundError as error:
    if str(error.name).split(".")[0] != "ray":
        raise
    raise ModuleNotFoundError('engine="ray" needs Ray: pip install "ravine[ray]"', name="ray") from None


def join(cpus: int | None = None) -> bool:
    """Join the cluster that is there, of this process or of RAY_ADDRESS, or start one; True if it was joined here.

    cpus: what a cluster that is started here counts as its CPUs; None: as many as there are.
    """
    if ray.is_initialized():
        return False
    own: dict[str, Any] = {"address": "local", "num_cpus": cpus, "include_dashboard": False}
    try:
        ray.init(log_to_driver=False, logging_level=logging.ERROR, **({} if os.environ.get("RAY_ADDRESS") else own))
    except ConnectionError as error:
        raise ConnectionError(
            f"RAY_ADDRESS is {os.environ.get('RAY_ADDRESS')!r}, and no Ray cluster answers there: {error}"
        ) from None
    return True


def nodes() -> list[Any]:
    """Of each node of the cluster how an actor is put there, or elsewhere where it has died."""
    return [NodeAffinitySchedulingStrategy(node["NodeID"], soft=True) for node in ray.nodes() if node["Alive"]]


def parcel(x: Any) -> bytes:
    """For another process of the cluster: what is of this script by value, all else by name."""
    return cloudpickle.dumps(x)  # pyright: ignore[reportPrivateImportUsage]
