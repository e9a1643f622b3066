"""Who makes the calls: a person who is registered before. Logging out gets a session of its own, so that it ends no other's."""

import json
import os
import secrets
import urllib.error
import urllib.request

import schemathesis

BASE = os.environ["CHATMESH_URL"]
# The account of the document's own examples, so that its log-in is tried as well.
ACCOUNT = {"username": "ada", "password": "correct horse"}


def call(path, body):
    request = urllib.request.Request(BASE + path, json.dumps(body).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=10) as answer:
        return json.load(answer)


class Session:
    """A token for each case, from a log-in."""

    def get(self, case, context):
        try:
            return call("/v1/users", ACCOUNT)["access_token"]
        except urllib.error.HTTPError as e:
            if e.code != 409:  # otherwise the account is there
                raise
        return call("/v1/sessions", ACCOUNT)["access_token"]

    def set(self, case, data, context):
        case.headers = case.headers or {}
        case.headers["Authorization"] = f"Bearer {data}"


@schemathesis.auth(refresh_interval=None).apply_to(method="DELETE", path="/v1/sessions/current")
class OneUse(Session):
    """Logging out: a new session each time."""


ENDS_ALL = {"method": ["DELETE", "PUT"], "path": ["/v1/users/me", "/v1/users/me/password", "/v1/sessions/{id}"]}


@schemathesis.auth(refresh_interval=None).apply_to(**ENDS_ALL)
class OnePerson(Session):
    """What ends sessions of others, or the account: a new person each time, with the password of the document's examples."""

    def get(self, case, context):
        return call("/v1/users", ACCOUNT | {"username": "one_" + secrets.token_hex(8)})["access_token"]


@schemathesis.auth(refresh_interval=1800).skip_for(method="DELETE", path="/v1/sessions/current").skip_for(**ENDS_ALL)
class Shared(Session):
    """Everything else: one session for all."""
