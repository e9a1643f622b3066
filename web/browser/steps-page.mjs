// The steps about groups, history, and the ways in which a page is used: reloads, tunnels, phones, keyboards.

import { accessible } from "./a11y.mjs";
import { check, equal, eventually, Person } from "./driver.mjs";

export async function group({ anna, ben, carl }) {
  await anna.startGroup("Sailing", [ben.name]);
  await anna.say("welcome aboard");
  await ben.row("Sailing").waitFor();
  await eventually(() => ben.unread("Sailing"), 1, "ben's unread count of the new group");
  await ben.row("Sailing").click();
  await ben.sees(["welcome aboard"]);
  await eventually(() => ben.id("sender").allInnerTexts(), ["Anna"], "senders are named in groups");
  const events = (person) => () => person.id("system-event").locator("span").allInnerTexts();
  await eventually(events(ben), ["Anna created the group"], "the group's first event");

  await anna.id("group-info").click();
  await accessible(anna.page, "the group panel");
  await eventually(() => anna.id("member").count(), 2, "members in the panel");
  await anna.id("rename").click();
  await anna.id("rename-title").fill("Sailing on Sunday");
  await anna.id("rename-save").click();
  await eventually(
    () => ben.id("conversation-title").innerText(),
    "Sailing on Sunday",
    "the new title at ben's",
  );
  await anna.id("add-name").fill(carl.name);
  await anna.id("add-member").click();
  await eventually(() => anna.id("member").count(), 3, "members after carl was added");
  const three = [
    "Anna created the group",
    "Anna changed the title to “Sailing on Sunday”",
    "Anna added Carl",
  ];
  await eventually(events(ben), three, "the group's events");
  await carl.row("Sailing on Sunday").waitFor();

  await ben.id("group-info").click();
  equal(
    await ben.page.locator("[data-testid=member-remove], [data-testid=rename]").count(),
    0,
    "a plain member's powers",
  );
  await ben.id("panel-close").click();
  await anna.id("member").filter({ hasText: "Carl" }).locator("[data-testid=member-remove]").click();
  await accessible(anna.page, "the question before removing");
  await anna.id("confirm-yes").click();
  await eventually(() => anna.id("member").count(), 2, "members after carl was removed");
  await carl.row("Sailing on Sunday").waitFor({ state: "detached" });
  await eventually(events(ben), [...three, "Anna removed Carl"], "the group's events after the removal");

  await anna.startGroup("Short", [ben.name]);
  await ben.row("Short").click();
  await ben.id("group-info").click();
  await ben.id("leave-group").click();
  await ben.id("confirm-yes").click();
  await ben.row("Short").waitFor({ state: "detached" });
  await eventually(events(anna), ["You created the group", "Ben left"], "anna's view of ben's leaving");
  await joinByLink({ anna, carl }, events(anna));
  await ben.row("Sailing on Sunday").click();
  await anna.row("Sailing on Sunday").click();
}

/** joinByLink lets carl come by the link of the group that anna has open. */
async function joinByLink({ anna, carl }, events) {
  await anna.id("group-info").click();
  await anna.id("invite-make").click();
  const link = await anna.id("invite-link").inputValue();
  await accessible(anna.page, "the group panel with a link");
  await carl.page.goto(link);
  await carl.id("confirm-yes").click();
  await eventually(() => carl.id("conversation-title").innerText(), "Short", "the group that carl joined");
  await anna.id("invite-revoke").click();
  const last = ["You made a link to join by", "Carl joined", "You revoked the link to join by"];
  await eventually(async () => (await events()).slice(-3), last, "anna's view of the link");
  await anna.id("panel-close").click();
}

export async function reload({ anna, ben }) {
  await ben.row("Anna").click();
  const own = ben.page.locator("[data-testid=message][data-own=true]").last();
  await anna.row("Ben").click();
  await eventually(() => own.getAttribute("data-status"), "read", "ben's last message to anna");
  await ben.page.reload();
  await ben.online();
  await eventually(() => own.getAttribute("data-status"), "read", "the same after a reload");
  await anna.row("Sailing on Sunday").click();
  await ben.row("Sailing on Sunday").click();
  await eventually(
    () => ben.id("conversation-title").innerText(),
    "Sailing on Sunday",
    "the group is open again",
  );
  await ben.id("text").first().waitFor();

  const [texts, seqs] = [await ben.texts(), await ben.seqs()];
  await ben.page.reload();
  await ben.online();
  await eventually(() => ben.texts(), texts, "the texts after a reload");
  equal(await ben.seqs(), seqs, "the seqs after a reload");
}

const MANY = 160;

export async function scrollBack({ anna, ben }) {
  await ben.page.goto(`${ben.base}/#/`);
  const chat = await anna.id("conversation").getAttribute("data-chat");
  for (let i = 1; i <= MANY; i++) {
    const message = { client_id: `story-${Date.now()}-${i}`, text: `line ${i}` };
    const answer = await anna.call("POST", `/v1/chats/${chat}/messages`, message);
    check(answer.status === 201, `posting line ${i} answers ${answer.status}`);
  }
  await anna.sees([`line ${MANY - 1}`, `line ${MANY}`]);
  await eventually(() => ben.unread("Sailing on Sunday"), MANY, "ben's unread count after many");

  await ben.page.reload();
  await ben.online();
  await eventually(() => ben.unread("Sailing on Sunday"), MANY, "the same after a reload");
  await ben.row("Sailing on Sunday").click();
  await ben.id("messages").waitFor();
  await eventually(() => ben.unread("Sailing on Sunday"), 0, "ben's unread count at the newest line");
  const shown = await ben.seqs();
  check(shown.length < MANY, `the page loads everything at once: ${shown.length} rows`);
  await scrollUp(ben);
  await ben.id("beginning").waitFor();
  const seqs = await ben.seqs();
  equal(
    seqs,
    [...seqs.keys()].map((at) => at + 1),
    "all seqs from the first",
  );
  equal(
    (await ben.texts()).slice(-MANY),
    Array.from({ length: MANY }, (_, at) => `line ${at + 1}`),
    "all lines",
  );
  await anna.say("one more line");
  await ben.id("to-end").filter({ hasText: "1 new" }).click();
  await ben.sees(["one more line"]);
  await eventually(() => ben.unread("Sailing on Sunday"), 0, "unread at the end");
}

/** scrollUp goes to the top page by page, and looks whether the row in view stays where it is while pages come. */
async function scrollUp(person) {
  for (let i = 0; i < 40; i++) {
    if ((await person.page.locator("[data-testid=beginning]").count()) > 0) return;
    const moved = await person.page.evaluate(async () => {
      const box = document.querySelector("[data-testid=messages]");
      const frame = () => new Promise((resolve) => requestAnimationFrame(resolve));
      const rows = box.querySelectorAll("[data-seq]").length;
      box.scrollTop = Math.min(box.scrollTop, 300);
      await frame();
      const top = box.getBoundingClientRect().top;
      const row = [...box.querySelectorAll("[data-seq]")].find(
        (item) => item.getBoundingClientRect().top > top,
      );
      const before = row.getBoundingClientRect().top;
      for (let n = 0; n < 300 && box.querySelectorAll("[data-seq]").length === rows; n++) await frame();
      await frame();
      return row.getBoundingClientRect().top - before;
    });
    check(Math.abs(moved) <= 2, `the view moved by ${moved} pixels while an older page came`);
  }
  check(false, "the beginning of the conversation was never reached");
}

export async function offline({ anna, ben, browser, base }) {
  const phone = new Person(browser, base, anna.name);
  const sockets = [];
  let down = false;
  const tunnel = (page) =>
    page.routeWebSocket(/\/v1\/ws/, (socket) => {
      if (down) socket.close({ code: 3001 });
      else sockets.push({ socket, server: socket.connectToServer() });
    });
  await phone.arrive({}, tunnel);
  await phone.logIn();
  await phone.row("Ben").click();
  await anna.row("Ben").click();
  await ben.row("Anna").click();
  await eventually(
    async () => (await phone.seqs()).at(-1),
    (await anna.seqs()).at(-1),
    "the second device's newest seq",
  );

  down = true;
  for (const { socket, server } of sockets) await Promise.all([socket.close({ code: 3001 }), server.close()]);
  await eventually(
    () => phone.id("connection").getAttribute("data-phase"),
    "waiting",
    "the lost connection is shown",
  );
  await accessible(phone.page, "the page without a connection");
  await phone.say("written in the tunnel");
  await phone.say("and one more");
  await ben.say("are you there?");
  const waiting = () => phone.page.locator("[data-status=sending]").count();
  await eventually(waiting, 2, "messages that wait");
  await phone.page.reload();
  await eventually(waiting, 2, "messages that wait, after a reload");
  await anna.sees(["are you there?"]); // it is in the chat before what waits
  down = false;
  await phone.page.evaluate(() => document.querySelector("[data-testid=retry-now]")?.click());
  await phone.online();
  const all = ["are you there?", "written in the tunnel", "and one more"];
  await Promise.all([ben.sees(all), anna.sees(all), phone.sees(all)]);
  await eventually(waiting, 0, "messages that wait, in the end");
  await eventually(() => ben.seqs(), await phone.seqs(), "both devices and ben agree");
  phone.calm();
  await phone.context.close();
}

export async function phone({ ben }) {
  await ben.page.setViewportSize({ width: 390, height: 800 });
  check(await ben.id("conversation").isVisible(), "the conversation is not shown on a phone");
  check(
    !(await ben.page.locator("[data-testid=chat-list]").isVisible()),
    "the list covers the conversation on a phone",
  );
  await narrow(ben, "the conversation");
  await accessible(ben.page, "the conversation on a phone");
  await ben.id("back").click();
  await ben.id("chat-list").waitFor();
  check(
    !(await ben.page.locator("[data-testid=conversation]").isVisible()),
    "the conversation stays after going back",
  );
  await narrow(ben, "the list");
  await accessible(ben.page, "the list on a phone");
  await ben.row("Sailing on Sunday").click();
  await ben.id("group-info").click();
  await ben.id("group-panel").waitFor();
  await narrow(ben, "the group panel");
  await ben.id("panel-close").click();
  await ben.say("from my phone");
  await ben.sees(["from my phone"]);
  await ben.page.emulateMedia({ colorScheme: "dark" });
  await accessible(ben.page, "the conversation in the dark");
  await ben.page.emulateMedia({ colorScheme: "light" });
  await ben.page.setViewportSize({ width: 1200, height: 760 });
}

export async function narrow(person, where) {
  const wide = await person.page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
  check(wide <= 0, `${where} is ${wide} pixels too wide for a phone`);
}

export async function keyboard({ anna, ben }) {
  await anna.id("new-chat").focus();
  await anna.page.keyboard.press("Enter");
  await anna.id("new-chat-dialog").waitFor();
  const inField = () => anna.page.evaluate(() => document.activeElement?.getAttribute("data-testid"));
  await eventually(inField, "direct-name", "the focus in the new dialog");
  await anna.page.keyboard.press("Escape");
  await anna.id("new-chat-dialog").waitFor({ state: "detached" });
  await eventually(inField, "new-chat", "the focus after the dialog");
  await anna.row("Sailing on Sunday").focus();
  await anna.page.keyboard.press("Enter");
  await eventually(
    () => anna.id("conversation-title").innerText(),
    "Sailing on Sunday",
    "the chat by keyboard",
  );
  await eventually(inField, "send-box", "the focus in the opened chat");
  await anna.page.keyboard.type("first line");
  await anna.page.keyboard.press("Shift+Enter");
  await anna.page.keyboard.type("second line");
  await anna.page.keyboard.press("Enter");
  await ben.sees(["first line\nsecond line"]);
}

export async function logOut({ anna }) {
  await anna.id("log-out").click();
  await anna.id("confirm-yes").click();
  await anna.id("auth-form").waitFor();
  const kept = () => anna.page.evaluate(() => Object.keys(localStorage));
  await eventually(kept, [], "what the browser keeps after the log-out");
  await anna.page.reload();
  await anna.id("auth-form").waitFor();
  await anna.logIn();
  await anna.row("Sailing on Sunday").waitFor();
}
