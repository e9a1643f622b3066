// Drives Chromium for the story: people in browser contexts of their own, and checks that name what they saw.

import { chromium } from "playwright-core";

const FLAGS = [
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];

/** WITHIN_MS is how long anything on the page may take to become true. */
export const WITHIN_MS = 60_000;

export function launch() {
  const executablePath = process.env.CHROMIUM ?? "/usr/bin/chromium";
  return chromium.launch({ executablePath, headless: true, args: FLAGS });
}

/** check fails the story with a sentence. */
export function check(condition, sentence) {
  if (!condition) throw new Error(sentence);
}

export function equal(got, want, what) {
  const [a, b] = [JSON.stringify(got), JSON.stringify(want)];
  check(a === b, `${what}: got ${a}; want ${b}`);
}

/** eventually asks again until probe returns what is wanted, and fails with the last answer. */
export async function eventually(probe, want, what) {
  const wanted = JSON.stringify(want);
  const deadline = Date.now() + WITHIN_MS;
  for (;;) {
    const got = JSON.stringify(await probe());
    if (got === wanted) return;
    check(Date.now() < deadline, `${what}: got ${got}; want ${wanted}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

/** Person is one user at one browser. */
export class Person {
  constructor(browser, base, name) {
    this.browser = browser;
    this.base = base;
    this.name = name;
    this.password = `correct horse ${name}`;
    this.faults = [];
    /** expected holds patterns of console errors that the story provokes. */
    this.expected = [];
  }

  /** arrive opens the page; prepare may change the page before it is loaded. */
  async arrive(options = {}, prepare = async () => {}) {
    const view = {
      viewport: { width: 1200, height: 760 },
      colorScheme: "light",
      locale: "en-GB",
      ...options,
    };
    this.context = await this.browser.newContext(view);
    this.page = await this.context.newPage();
    this.page.setDefaultTimeout(WITHIN_MS);
    this.page.on("console", (message) => {
      if (message.type() === "error") this.faults.push(`${message.text()} (${message.location().url})`);
    });
    this.page.on("pageerror", (error) => this.faults.push(String(error)));
    await prepare(this.page);
    await this.page.goto(this.base);
    return this;
  }

  id(testid) {
    return this.page.locator(`[data-testid="${testid}"]:visible`);
  }

  async signUp(displayName = "") {
    await this.id("auth-switch").click();
    await this.fillIn(this.name, this.password, displayName);
    await this.id("app").waitFor();
    await this.online();
  }

  async logIn() {
    await this.fillIn(this.name, this.password);
    await this.id("app").waitFor();
    await this.online();
  }

  async fillIn(name, password, displayName = "") {
    await this.id("username").fill(name);
    if (displayName) await this.id("display-name").fill(displayName);
    await this.id("password").fill(password);
    await this.id("auth-submit").click();
  }

  online() {
    return eventually(
      () => this.id("connection").getAttribute("data-phase"),
      "online",
      `${this.name} connects`,
    );
  }

  async say(text) {
    await this.id("send-box").fill(text);
    await this.id("send-box").press("Enter");
  }

  /** texts are the messages on the page, in their order. */
  texts() {
    return this.id("text").allInnerTexts();
  }

  async seqs() {
    const seqs = await this.page
      .locator("[data-seq]")
      .evaluateAll((rows) => rows.map((row) => Number(row.dataset.seq)));
    return seqs;
  }

  /** sees waits until these are the last messages on the page. */
  sees(texts) {
    const tail = async () => (await this.texts()).slice(-texts.length);
    return eventually(tail, texts, `${this.name} sees the messages`);
  }

  /** row is the chat of that title in the list. */
  row(title) {
    return this.id("chat-item").filter({
      has: this.page.locator("[data-testid=chat-title]", { hasText: title }),
    });
  }

  unread(title) {
    return this.row(title)
      .getAttribute("data-unread")
      .then((count) => Number(count));
  }

  async startDirect(name) {
    await this.id("new-chat").click();
    await this.id("direct-name").fill(name);
    await this.id("create-chat").click();
  }

  async startGroup(title, names) {
    await this.id("new-chat").click();
    await this.id("kind-group").check();
    await this.id("group-title").fill(title);
    for (const [at, name] of names.entries()) {
      await this.id("member-name").fill(name);
      await this.id("member-name").press("Enter");
      await eventually(
        () => this.id("member-chip").count(),
        at + 1,
        `${this.name} adds ${name} to the new group`,
      );
    }
    await this.id("create-chat").click();
    await eventually(
      () => this.id("conversation-title").innerText(),
      title,
      `${this.name} gets into the new group`,
    );
  }

  /** call uses the API from the page, as its user. */
  call(method, path, body) {
    return this.page.evaluate(
      async ([verb, where, what]) => {
        const { access_token } = JSON.parse(localStorage.getItem("chatmesh.session"));
        const response = await fetch(where, {
          method: verb,
          headers: { Authorization: `Bearer ${access_token}`, "Content-Type": "application/json" },
          body: what === undefined ? undefined : JSON.stringify(what),
        });
        return { status: response.status, body: await response.json() };
      },
      [method, path, body],
    );
  }

  /** calm fails if the page has logged an error that the story did not provoke. */
  calm() {
    const left = this.faults.filter((fault) => !this.expected.some((pattern) => pattern.test(fault)));
    check(left.length === 0, `${this.name}'s console has errors: ${left.join(" | ")}`);
  }
}
