"""Under torchft a replica may die and come back: the example, with one of two killed and started again."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).parents[3] / "examples" / "fault_tolerant.py"
ROUND = re.compile(r"round (\d+) of (\d+): (kept|left out), (\S+)")


class Replica:
    """A process of the example, read line by line: waiting for a line is waiting for the process."""

    def __init__(self, number: int, name: str, address: str, folder: Path):
        env = os.environ | {
            "TORCHFT_LIGHTHOUSE": address,
            "GLOO_SOCKET_IFNAME": "lo",
            "PYTHONPATH": os.pathsep.join(x for x in sys.path if x),
        }
        command = [sys.executable, str(EXAMPLE), str(number), name, "100000"]
        self.log = (folder / f"{number}.log").open("a")
        self.process = subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=self.log, text=True)
        self.rounds = list[tuple[int, int, str, str]]()

    def until(self, members: int, more: int = 1) -> list[tuple[int, int, str, str]]:
        """Read on until so many rounds of so many members are kept; what was read on the way."""
        assert self.process.stdout is not None
        seen, left = list[tuple[int, int, str, str]](), more
        for line in self.process.stdout:
            if found := ROUND.match(line):
                at, of, how, total = found.groups()
                seen.append((int(at), int(of), how, total))
                left -= int(of) == members and how == "kept"
                if not left:
                    break
        assert not left, f"the replica ended after {seen[-3:]}: {Path(self.log.name).read_text()[-2000:]}"
        self.rounds += seen
        return seen

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        self.log.close()
        if self.process.stdout is not None:
            self.process.stdout.close()


@pytest.mark.faults
@pytest.mark.parametrize("name", ["diloco", "local_sgd"])
def test_a_replica_dies_and_comes_back(name: str, tmp_path: Path):
    pytest.importorskip("torchft", reason="torchft is not installed: pip install torchft")
    from torchft.coordination import LighthouseServer

    lighthouse = LighthouseServer(
        bind="127.0.0.1:0", min_replicas=1, join_timeout_ms=2000, heartbeat_timeout_ms=1000, quorum_tick_ms=50
    )
    address = f"http://127.0.0.1:{lighthouse.address().rsplit(':', 1)[1]}"
    one, other = Replica(0, name, address, tmp_path), Replica(1, name, address, tmp_path)
    try:
        one.until(2, 3)
        other.until(2, 3)
        other.kill()
        last = one.rounds[-1][0]
        seen = one.until(1, 3)
        rounds = [at for at, *_ in seen]
        lost = [how for _, _, how, _ in seen].count("left out")
        assert lost <= 1, seen  # a round at most
        assert rounds[-1] - last == len(rounds) - lost, seen  # and none was made twice or passed over
        other = Replica(1, name, address, tmp_path)
        one.until(2, 4)
        healed = other.until(2, 4)
        assert healed[0][0] > last  # it did not begin anew
        totals = {at: total for at, _, how, total in one.rounds if how == "kept"}
        both = [at for at, of, how, total in healed if of == 2 and how == "kept" and totals.get(at) == total]
        assert len(both) >= 3, (healed, one.rounds[-6:])
    finally:
        one.kill()
        other.kill()
        lighthouse.shutdown()
