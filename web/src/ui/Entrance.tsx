// Log-in and sign-up: one form, two ways in.

import { useEffect, useRef, useState } from "preact/hooks";
import { faultSentence } from "../app/sentences";
import { farewell, logIn, signUp } from "../app/session";
import { codeOf, isPassword, isUsername } from "../chatmesh";
import { Logo } from "./Icon";

type Way = "log-in" | "sign-up";

export function Entrance() {
  const [way, setWay] = useState<Way>("log-in");
  const [username, setUsername] = useState("");
  const [password, setPassword] = useState("");
  const [displayName, setDisplayName] = useState("");
  const [visible, setVisible] = useState(false);
  const [busy, setBusy] = useState(false);
  const [fault, setFault] = useState("");
  const first = useRef<HTMLInputElement>(null);
  const isNew = way === "sign-up";

  useEffect(() => first.current?.focus(), []);

  const turn = (to: Way) => {
    setWay(to);
    setFault("");
    farewell.value = "";
    first.current?.focus();
  };

  const submit = async (event: Event) => {
    event.preventDefault();
    if (busy) return;
    const name = username.trim().toLowerCase();
    const wrong = isNew ? complaint(name, password) : name === "" || password === "" ? EMPTY : "";
    setFault(wrong);
    if (wrong !== "") return;
    setBusy(true);
    try {
      if (isNew) await signUp(name, password, displayName.trim());
      else await logIn(name, password);
    } catch (error) {
      setFault(faultSentence(codeOf(error)));
      setBusy(false);
    }
  };

  const said = fault || (farewell.value ? faultSentence(farewell.value) : "");
  return (
    <main class="entrance">
      <div class="entrance-card">
        <div class="brand">
          <Logo />
          <span>chatmesh</span>
        </div>
        <h1>{isNew ? "Create your account" : "Welcome back"}</h1>
        <form onSubmit={submit} data-testid="auth-form" noValidate>
          <label class="field">
            <span>User name</span>
            <input
              ref={first}
              name="username"
              data-testid="username"
              autocomplete="username"
              autocapitalize="none"
              spellcheck={false}
              maxLength={32}
              value={username}
              onInput={(event) => setUsername(event.currentTarget.value)}
              aria-describedby={isNew ? "username-hint" : undefined}
            />
            {isNew && (
              <small id="username-hint">
                3 to 32 small letters, digits and underscores. Others find you by it.
              </small>
            )}
          </label>
          {isNew && (
            <label class="field">
              <span>
                Display name <em>(optional)</em>
              </span>
              <input
                name="display-name"
                data-testid="display-name"
                autocomplete="name"
                maxLength={64}
                value={displayName}
                onInput={(event) => setDisplayName(event.currentTarget.value)}
              />
            </label>
          )}
          <div class="field">
            <label for="password">Password</label>
            <span class="reveal">
              <input
                id="password"
                name="password"
                data-testid="password"
                {...(visible ? ({ type: "text" } as const) : ({ type: "password" } as const))}
                autocomplete={isNew ? "new-password" : "current-password"}
                value={password}
                onInput={(event) => setPassword(event.currentTarget.value)}
                aria-describedby={isNew ? "password-hint" : undefined}
              />
              <button
                type="button"
                aria-pressed={visible}
                aria-label="Show password"
                onClick={() => setVisible(!visible)}
              >
                {visible ? "Hide" : "Show"}
              </button>
            </span>
            {isNew && <small id="password-hint">At least 8 characters.</small>}
          </div>
          <p class="fault" role="alert" data-testid="auth-error">
            {said}
          </p>
          <button class="primary wide" type="submit" data-testid="auth-submit" aria-disabled={busy}>
            {busy ? "One moment…" : isNew ? "Sign up" : "Log in"}
          </button>
        </form>
        <p class="aside">
          {isNew ? "You have an account already?" : "New here?"}{" "}
          <button
            type="button"
            class="link"
            data-testid="auth-switch"
            onClick={() => turn(isNew ? "log-in" : "sign-up")}
          >
            {isNew ? "Log in" : "Create an account"}
          </button>
        </p>
      </div>
    </main>
  );
}

const EMPTY = "Please enter your user name and your password.";

function complaint(name: string, password: string): string {
  if (!isUsername(name)) return "A user name has 3 to 32 small letters, digits and underscores.";
  if (!isPassword(password)) return "A password has 8 to 256 characters.";
  return "";
}
