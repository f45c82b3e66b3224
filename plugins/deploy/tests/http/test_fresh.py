"""A device that is to go back waits for the next look at the database, and holds up nobody else."""

import asyncio

from http_world import ask
from walle_deploy.profile import Profile
from walle_deploy.server.auth import device_token
from walle_deploy.trust.answer import Director, open_answer


def test_other_devices_are_answered_while_one_waits(world, monkeypatch):
    watch, looked = world.platform._watch, asyncio.Event()
    real = watch.fresh

    def fresh():
        looked.set()
        return real()

    monkeypatch.setattr(watch, "fresh", fresh)
    gone = Profile("phone-1", {}, {}, {"gone": "v1"})
    quiet = Profile("phone-2")

    def check(profile):
        token = device_token(world.services.secret, profile.id)
        headers = [(b"authorization", f"Bearer {token}".encode())]
        return ask(world.app, "POST", "/walle/check", profile.canonical, headers)

    async def both():
        with watch._lock:  # no look ends meanwhile
            waiting = asyncio.create_task(check(gone))
            await looked.wait()
            other = await check(quiet)
            assert not waiting.done()
        return other, await asyncio.wait_for(waiting, 30)

    other, answer = world.runner.run(both())
    assert other.status == 204
    assert answer.status == 200
    key = world.keys["director"].public
    assert open_answer(answer.body, Director((key,))).tasks == ()
