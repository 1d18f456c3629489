"""The faults that strike what a worker stands on: its twin, the brokers, the store, and the network between them."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Sequence
from typing import Final

from tools.servers.process import Child
from tools.servers.proxy import Direction, Proxy

from .faults_embedded import DAY_MS, STORAGE
from .faults_streams import OVERTAKEN, StreamWorld
from .faults_strike import Fault

HOUR_MS: Final = 3_600_000
ENDS_WITHIN_S: Final = 120.0  # two cores may be shared by ten that work
DONE: Final = frozenset({0, 4})  # ended in order; 4: some messages are in quarantine
KILLED: Final = frozenset({-signal.SIGKILL})
HALVES: Final[Sequence[tuple[Direction, ...]]] = (("up",), ("down",), ("up", "down"))


def flow_for(world: StreamWorld, seconds: float) -> None:
    """Let messages flow for a while, whatever becomes of the workers."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        world.send(world.fresh(world.chance.randrange(1, 9)))
        time.sleep(world.chance.random() * 0.05)


def a_moment(world: StreamWorld) -> None:
    """Let some messages flow; the next thing happens at any moment behind them, to two workers."""
    world.flow(world.chance.randrange(10, 60))
    time.sleep(world.chance.random() * 0.05)
    world.replace_overtaken()


def another_leads(world: StreamWorld, than: int) -> bool:
    """Whether the lead has gone over. One that lost it in a fault before may end only now; another comes then."""
    world.replace_overtaken()
    return world.leading() != than


# ---- the workers


def leader_killed(world: StreamWorld) -> None:
    a_moment(world)
    world.signal_to(world.leading(), signal.SIGKILL)


def standby_killed(world: StreamWorld) -> None:
    a_moment(world)
    world.signal_to(1 - world.leading(), signal.SIGKILL)


def both_killed(world: StreamWorld) -> None:
    a_moment(world)
    for way in (0, 1):
        world.signal_to(way, signal.SIGKILL)


def leader_ended(world: StreamWorld) -> None:
    """In order: what it polled it finishes, and the other one takes over at once."""
    a_moment(world)
    world.signal_to(world.leading(), world.chance.choice([signal.SIGTERM, signal.SIGINT]))


def leader_frozen(world: StreamWorld, within_s: float = ENDS_WITHIN_S) -> None:
    """It wakes when another one leads: its next commit is refused, and it ends with words."""
    a_moment(world)
    frozen = world.leading()
    world.signal_to(frozen, signal.SIGSTOP)
    flow_for(world, 0.2)
    world.until(lambda: another_leads(world, frozen), "another one to lead than the frozen one")
    flow_for(world, 0.2)
    world.signal_to(frozen, signal.SIGCONT)
    flow_for(world, 0.5)
    zombie = world.workers[frozen]
    assert zombie is not None
    assert zombie.wait(within_s) == OVERTAKEN, "a worker that lost the lead went on"
    world.hears("taken over", within_s)


def leaders_by_turns(world: StreamWorld) -> None:
    """A storm: whoever leads is killed, over and over, and new ones come."""
    for _ in range(3):
        world.flow(20)
        world.signal_to(world.leading(), world.chance.choice([signal.SIGKILL, signal.SIGTERM]))
        world.begin()


# ---- the input


def delivered_again(world: StreamWorld) -> None:
    given = world.fresh(60)
    world.send(given)
    world.send(world.chance.sample(given, len(given)))
    world.send(world.chance.sample(list(world.sent.lines.values()), 60))


def delivered_out_of_order(world: StreamWorld) -> None:
    given = world.fresh(80)
    world.chance.shuffle(given)
    world.send(given)


def delivered_late(world: StreamWorld) -> None:
    held = world.fresh(30)
    world.flow(200)
    world.settle()
    world.send(held)


# ---- the brokers


def broker_killed(world: StreamWorld) -> None:
    """The one that leads a partition of the input."""
    a_moment(world)
    _partition_leader(world).kill()
    flow_for(world, 0.5 + world.chance.random())


def broker_frozen(world: StreamWorld) -> None:
    a_moment(world)
    broker = _partition_leader(world)
    broker.pause()
    flow_for(world, 0.5 + world.chance.random() * 2)
    broker.resume()


def broker_full(world: StreamWorld) -> None:
    """A broker whose disk is full leaves; the others have what it had."""
    felt = world.servers.of_brokers[world.servers.leader(world.name, world.chance.randrange(3))]
    felt.full(world.chance.randrange(20_000))
    flow_for(world, 1.0)
    world.until(lambda: bool(felt.n_refused) or bool(world.send(world.fresh(40))), "the broker's disk to be full")


def brokers_slow(world: StreamWorld) -> None:
    for felt in world.servers.of_brokers:
        felt.slow(sync_ms=50, write_ms=5)
    flow_for(world, 1.0)
    assert any(felt.n_slowed for felt in world.servers.of_brokers), "no broker's disk was slow"


def _partition_leader(world: StreamWorld) -> Child:
    return world.servers.kafka.brokers[world.servers.leader(world.name, world.chance.randrange(3))]


# ---- the store


def store_killed(world: StreamWorld) -> None:
    a_moment(world)
    for child in world.servers.database.children():
        child.kill()
    flow_for(world, 0.2 + world.chance.random())


def store_frozen(world: StreamWorld) -> None:
    a_moment(world)
    (store,) = world.servers.database.children()
    store.pause()
    flow_for(world, 0.5 + world.chance.random() * 2)
    store.resume()


def store_slow(world: StreamWorld) -> None:
    felt = world.servers.of_store
    felt.slow(sync_ms=30 + world.chance.random() * 50)
    flow_for(world, 1.5)
    world.settle()
    assert felt.n_slowed, "the store's disk was not slow"


def store_full(world: StreamWorld) -> None:
    felt = world.servers.of_store
    felt.full(world.chance.randrange(200_000))
    world.until(lambda: bool(felt.n_refused) or bool(world.send(world.fresh(40))), "the store's disk to be full")
    flow_for(world, 0.5)


def store_clock(world: StreamWorld) -> None:
    """The lease is by the store's clock."""
    world.flow(20)
    world.servers.of_store.shift_clock(world.chance.choice([-HOUR_MS, -5_000, 5_000, HOUR_MS]))
    flow_for(world, 1.5)


# ---- the network


def cut(world: StreamWorld) -> None:
    """All connections, again and again; each can be made anew at once."""
    for _ in range(world.chance.randrange(1, 4)):
        a_moment(world)
        for proxy in world.servers.proxies:
            proxy.cut()


def brokers_away(world: StreamWorld) -> None:
    _away(world, world.servers.to_brokers)


def store_away(world: StreamWorld) -> None:
    _away(world, world.servers.to_store)


def _away(world: StreamWorld, proxies: Sequence[Proxy]) -> None:
    a_moment(world)
    for proxy in proxies:
        proxy.refuse()
        proxy.cut()
    flow_for(world, 0.3 + world.chance.random() * 2)


def brokers_half_open(world: StreamWorld) -> None:
    a_moment(world)
    for proxy in world.servers.to_brokers:
        proxy.swallow(*world.chance.choice(HALVES))
    flow_for(world, 0.5 + world.chance.random() * 2)


def leader_half_open(world: StreamWorld) -> None:
    """The leader's way to the store is silent: the other one leads by the time that the silence is over."""
    _leader_silent(world, lambda proxy: proxy.swallow(*world.chance.choice(HALVES)))


def leader_held(world: StreamWorld) -> None:
    """What the leader says reaches the store when another one leads: a commit that comes late is refused."""
    _leader_silent(world, lambda proxy: proxy.hold("up"))


def _leader_silent(world: StreamWorld, silence: Callable[[Proxy], None]) -> None:
    a_moment(world)
    leader = world.leading()
    silence(world.servers.to_store[leader])
    flow_for(world, 0.2)
    world.until(lambda: another_leads(world, leader), "another one to lead than the one that is cut off")
    flow_for(world, 0.3)


def registry_away(world: StreamWorld) -> None:
    """Messages come by a schema that no worker has seen, and nobody can be asked for it; or one is asked in vain."""
    a_moment(world)
    assert world.encoder is not None
    world.encoder.renew()
    proxy = world.servers.to["registry"]
    if world.chance.random() < 0.5:
        proxy.refuse()
        proxy.cut()
    else:
        proxy.swallow(*world.chance.choice(HALVES))
    world.send(world.fresh(30))
    if world.chance.random() < 0.5:
        world.signal_to(world.leading(), signal.SIGKILL)
    flow_for(world, 0.5 + world.chance.random())
    assert not world.is_settled(), "the registry was not asked"


def lake_away(world: StreamWorld) -> None:
    """The way to the lake breaks while it is written, in one way or another."""
    world.flow(60)
    writing = world.write_lake()
    time.sleep(world.chance.random() * 0.4)
    proxy = world.servers.to["s3"]
    world.chance.choice([proxy.cut, proxy.swallow, proxy.hold, lambda: proxy.delay(0.1)])()
    flow_for(world, 0.3)
    proxy.heal()
    assert writing.wait() in {0, STORAGE}, "a lake that cannot be had has a word of its own"


def lake_writer_killed(world: StreamWorld) -> None:
    """And another one beside it, which is not."""
    world.flow(60)
    writers = [world.write_lake() for _ in range(2)]
    time.sleep(0.1 + world.chance.random() * 0.4)
    writers[0].kill()
    assert writers[1].wait() == 0, "one writer of two was kept from its work"


def network_slow(world: StreamWorld) -> None:
    for proxy in world.servers.proxies:
        proxy.delay(world.chance.random() * 0.05)
        proxy.throttle(world.chance.choice([0, 100_000]))
    flow_for(world, 1.5)


# ---- where the workers are


def worker_disk_full(world: StreamWorld) -> None:
    """State cannot be saved: the worker says so, and goes on."""
    world.surroundings.full(100)
    flow_for(world, 3.5)
    assert world.surroundings.n_refused, "no state was to be saved"


def worker_clock(world: StreamWorld) -> None:
    world.flow(20)
    world.surroundings.shift_clock(world.chance.choice([-400, -1, 1, 400]) * DAY_MS)
    flow_for(world, 0.7)
    if world.chance.random() < 0.5:
        world.signal_to(world.leading(), signal.SIGKILL)


FAULTS: Final[Sequence[Fault]] = (
    Fault("leader killed", leader_killed, KILLED, kind="worker killed"),
    Fault("standby killed", standby_killed, KILLED, kind="worker killed"),
    Fault("both workers killed", both_killed, KILLED, kind="worker killed"),
    Fault("leader ended in order", leader_ended, DONE),
    Fault("leader frozen, and awake again", leader_frozen, kind="zombie"),
    Fault("leaders by turns", leaders_by_turns, KILLED | DONE, may_go_on=True, kind="storm"),
    Fault("messages again", delivered_again, kind="doubled"),
    Fault("messages out of order", delivered_out_of_order, kind="out of order"),
    Fault("messages late", delivered_late, kind="late"),
    Fault("broker killed", broker_killed, kind="broker killed"),
    Fault("broker frozen", broker_frozen),
    Fault("broker's disk full", broker_full, kind="disk full"),
    Fault("brokers' disks slow", brokers_slow, kind="disk slow"),
    Fault("store killed", store_killed, kind="store killed"),
    Fault("store frozen", store_frozen),
    Fault("store's disk slow", store_slow, kind="disk slow"),
    Fault("store's disk full", store_full, kind="disk full"),
    Fault("store's clock jumps", store_clock, kind="clock"),
    Fault("all connections cut", cut, kind="cut"),
    Fault("brokers away", brokers_away),
    Fault("store away", store_away),
    Fault("brokers half-open", brokers_half_open, kind="half-open"),
    Fault("leader's store half-open", leader_half_open, kind="half-open"),
    Fault("leader's commit late", leader_held),
    Fault("registry away", registry_away, KILLED, may_go_on=True, kind="registry away"),
    Fault("lake away", lake_away),
    Fault("lake's writer killed", lake_writer_killed),
    Fault("network slow", network_slow),
    Fault("worker's disk full", worker_disk_full, kind="disk full"),
    Fault("worker's clock jumps", worker_clock, KILLED, may_go_on=True, kind="clock"),
)
