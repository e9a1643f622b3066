"""An example for backend teams: a bot that answers every message which begins with "!echo" with the rest of it.

It works off durable consumers that operators have made for the team, and sends through svc.chat.send as a person who has an account
and is a member of the chat. The client_id of an answer follows from chat and seq of the message that it answers: a message that comes
again is answered with the same client_id, and so once.
"""

import argparse
import asyncio
import contextlib
import hashlib
import json
import signal
import ssl
import sys

import nats
import nats.errors
import nats.js.errors

COMMAND = "!echo"
# Refusals that will never become an answer: not in this chat, nothing to say, or too much. Everything else is tried again.
FINAL = {"not_found", "bad_request", "too_long", "too_large", "forbidden"}
BATCH = 50
AGAIN_AFTER = 2.0  # seconds


def log(*words):
    print("bot:", *words, file=sys.stderr, flush=True)


def answer_id(chat, seq):
    """The client_id of the answer to a message: the same each time that the message comes."""
    return "echo-" + hashlib.sha256(f"{chat}.{seq}".encode()).hexdigest()[:32]


def wanted(event, me):
    """The text to answer an event with; None for one that is not for the bot."""
    text = event.get("text", "")
    if event.get("type") != "message" or event.get("sender") == me or not text.startswith(COMMAND):
        return None
    return text[len(COMMAND) :].strip() or "?"


async def handle(nc, msg, me):
    """Answers one event, and acks it when the answer stands in the chat."""
    try:
        event = json.loads(msg.data)
        text = wanted(event, me)
        if text is None:
            await msg.ack()
            return
        body = {"chat": event["chat"], "sender": me, "client_id": answer_id(event["chat"], event["seq"]), "text": text}
    except (ValueError, KeyError, AttributeError):
        await msg.term()  # no event: it will be none the next time either
        return
    try:
        reply = await nc.request("svc.chat.send", json.dumps(body).encode(), timeout=20)
    except (nats.errors.Error, TimeoutError) as e:
        log("not answered yet:", type(e).__name__)
        await msg.nak(delay=AGAIN_AFTER)
        return
    code = (reply.headers or {}).get("Nats-Service-Error-Code", "")
    if code and code not in FINAL:
        log("not answered yet:", code)
        await msg.nak(delay=AGAIN_AFTER)
        return
    await msg.ack()


async def work(nc, js, stream, consumer, me, stop):
    """Works off the events of one partition."""
    sub = await js.pull_subscribe_bind(consumer, stream)
    while not stop.is_set():
        try:
            msgs = await sub.fetch(BATCH, timeout=1)
        except TimeoutError:  # the library's own is one, too
            continue  # nothing happened
        except (nats.errors.Error, nats.js.errors.APIError) as e:
            log("will try again:", type(e).__name__)
            await asyncio.sleep(AGAIN_AFTER)
            continue
        for msg in msgs:
            try:
                await handle(nc, msg, me)
            except (nats.errors.Error, TimeoutError) as e:  # it was not acked: it comes again
                log("will come again:", type(e).__name__)


async def partitions(js, consumer):
    """The streams of all partitions. A team may not list them: it asks for one after the other."""
    found = []
    while True:
        stream = f"CHAT_{len(found)}"
        try:
            await js.consumer_info(stream, consumer)
        except nats.js.errors.NotFoundError as e:
            if e.err_code == 10059 and found:  # there is no such stream
                return found
            raise SystemExit(f"bot: there is no consumer {consumer} of {stream}: an operator has to make it")
        found.append(stream)


async def main():
    args = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    args.add_argument("--nats-url", default="nats://127.0.0.1:4222", help="the broker, or several with commas")
    args.add_argument("--nats-nkey", help="file with the team's NKey seed, on a broker with accounts")
    args.add_argument("--nats-tls-ca", help="PEM file of the authorities that the broker is believed by")
    args.add_argument("--consumer", default="team-bot", help="name of the team's durable consumers, and of its role")
    args.add_argument("--user", required=True, help="id of the person as whom the bot speaks")
    args = args.parse_args()
    options = {"servers": args.nats_url.split(","), "name": args.consumer, "max_reconnect_attempts": -1}
    if args.nats_tls_ca:
        options["tls"] = ssl.create_default_context(cafile=args.nats_tls_ca)
    if args.nats_nkey:
        options["nkeys_seed"] = args.nats_nkey
        options["inbox_prefix"] = f"_INBOX_{args.consumer}".encode()  # a team may listen to the inbox of its own role only
    stop = asyncio.Event()
    for s in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(s, stop.set)
    nc = await nats.connect(**options)
    js = nc.jetstream()
    streams = await partitions(js, args.consumer)
    log(f"answers in {len(streams)} partitions")
    async with asyncio.TaskGroup() as group:
        for stream in streams:
            group.create_task(work(nc, js, stream, args.consumer, args.user, stop))
    with contextlib.suppress(nats.errors.Error, TimeoutError):
        await nc.drain()


if __name__ == "__main__":
    asyncio.run(main())
