// The steps about what people do with messages and chats besides talking: pinning, passing on, muting, blocking. Each leaves anna and
// ben in their direct chat.

import { accessible } from "./a11y.mjs";
import { check, equal, eventually, Person } from "./driver.mjs";
import { act, bubble } from "./steps-after.mjs";
import { narrow } from "./steps-page.mjs";

const LINES = 120;
const CODE = "the code of the gate is 4711";

export async function pins({ anna, ben }) {
  await anna.startGroup("Pier", [ben.name]);
  await anna.say(CODE);
  await anna.say("bring a rope");
  await anna.sees([CODE, "bring a rope"]);
  await acked(anna);
  await act(anna, CODE, "[data-testid=pin-message]");
  await eventually(() => bubble(anna, CODE).locator("[data-testid=pinned]").count(), 1, "the mark at anna's");
  const chat = await anna.id("conversation").getAttribute("data-chat");
  for (let i = 1; i <= LINES; i++) {
    const message = { client_id: `pier-${chat}-${i}`, text: `wave ${i}` };
    const answer = await anna.call("POST", `/v1/chats/${chat}/messages`, message);
    check(answer.status === 201, `posting wave ${i} answers ${answer.status}`);
  }

  await ben.page.reload();
  await ben.online();
  await ben.row("Pier").click();
  await ben.sees([`wave ${LINES}`]);
  equal(await bubble(ben, CODE).count(), 0, "the pinned message is far back at ben's");
  await eventually(() => pinned(ben), 1, "pinned messages at ben's");
  await goToPin(ben, CODE);
  equal(await bubble(ben, CODE).locator("[data-testid=pinned]").count(), 1, "the mark at ben's");
  await ben.page.keyboard.press("Enter");
  const powers = bubble(ben, CODE).locator("[data-testid=pin-message]");
  await bubble(ben, CODE).locator("[data-testid=message-actions]").waitFor();
  equal(await powers.count(), 0, "a plain member's powers");
  await ben.page.keyboard.press("Escape");

  // What happens to pins while ben is away is so when he is back.
  const was = ben.page.url();
  await ben.page.goto("about:blank");
  await act(anna, "bring a rope", "[data-testid=pin-message]");
  await act(anna, `wave ${LINES}`, "[data-testid=pin-message]");
  await eventually(() => pinned(anna), 3, "pinned messages at anna's");
  await anna.id("pins").click();
  await accessible(anna.page, "the pinned messages");
  await eventually(() => pinTexts(anna), [`wave ${LINES}`, "bring a rope", CODE], "the list at anna's");
  const rope = anna.id("pin").filter({ hasText: "bring a rope" });
  await rope.locator("[data-testid=unpin]").click();
  await eventually(() => pinTexts(anna), [`wave ${LINES}`, CODE], "the list after unpinning");
  await anna.page.keyboard.press("Escape");
  await anna.id("pins-dialog").waitFor({ state: "detached" });
  await eventually(() => focus(anna), "pins", "the focus after the list");
  await ben.page.goto(was);
  await ben.online();
  await eventually(() => pinned(ben), 2, "pinned messages at ben's after his absence");

  // A pinned message that is deleted is pinned no more; on a phone the list covers no more than the screen.
  await act(anna, `wave ${LINES}`, "[data-testid=delete-all]");
  await anna.id("confirm-yes").click();
  await eventually(() => pinned(ben), 1, "pinned messages at ben's after a deletion");
  await ben.page.setViewportSize({ width: 390, height: 800 });
  await ben.id("pins").click();
  await narrow(ben, "the list of pinned messages");
  await accessible(ben.page, "the pinned messages on a phone");
  await ben.page.keyboard.press("Escape");
  await goToPin(ben, CODE);
  await ben.page.setViewportSize({ width: 1200, height: 760 });
  await together(anna, ben);
}

export async function passOn({ anna, ben }) {
  await anna.row("Pier").click();
  await act(anna, "bring a rope", "[data-testid=pass]");
  await anna.id("pass-dialog").waitFor();
  await accessible(anna.page, "the choice of a chat to pass on to");
  const titles = () => anna.id("pass-to").allInnerTexts();
  check(
    !(await titles()).some((title) => title.includes("Pier")),
    "a message can be passed on to its own chat",
  );
  await anna.page.keyboard.press("Escape");
  await anna.id("pass-dialog").waitFor({ state: "detached" });
  await eventually(() => focus(anna), "more", "the focus after nothing was passed on");

  // Ben is away meanwhile, and what is passed on has the text that it has now.
  const was = ben.page.url();
  await ben.page.goto("about:blank");
  await act(anna, "bring a rope", "[data-testid=edit]");
  await anna.say("bring two ropes");
  await anna.id("purpose").waitFor({ state: "detached" });
  await anna.page.setViewportSize({ width: 390, height: 800 });
  await act(anna, "bring two ropes", "[data-testid=pass]");
  await narrow(anna, "the choice of a chat");
  await accessible(anna.page, "the choice of a chat on a phone");
  await anna.id("pass-to").filter({ hasText: "Ben" }).click();
  await anna.page.setViewportSize({ width: 1200, height: 760 });
  await eventually(
    () => anna.id("conversation-title").innerText(),
    "Ben",
    "the chat that it was passed on to",
  );
  await anna.sees(["bring two ropes"]);
  await acked(anna);
  await ben.page.goto(was);
  await ben.online();
  await ben.sees(["bring two ropes"]);
  for (const person of [anna, ben]) {
    const mark = () => bubble(person, "bring two ropes").locator(".passed").allInnerTexts();
    await eventually(mark, ["Passed on"], `the mark at ${person.name}'s`);
  }
  const edits = bubble(anna, "bring two ropes").locator("[data-testid=edit]");
  await bubble(anna, "bring two ropes").locator("[data-testid=more]").click();
  await bubble(anna, "bring two ropes").locator("[data-testid=message-actions]").waitFor();
  equal(await edits.count(), 0, "what was passed on can be edited");
  await anna.page.keyboard.press("Escape");
}

export async function mute({ anna, ben, browser, base }) {
  await ben.id("chat-info").click();
  await accessible(ben.page, "the panel about a person");
  const says = () => ben.id("muted-until").innerText();
  equal(await says(), "off", "what the panel says of a chat that is not muted");
  await ben.page.locator("[data-testid=mute][data-span='1h']").focus();
  await ben.page.keyboard.press("Enter");
  await eventually(async () => (await says()).startsWith("until "), true, "the panel says until when");
  await eventually(() => focus(ben), "unmute", "the focus after muting");
  await ben.id("unmute").click();
  await eventually(says, "off", "unmuting");
  await ben.page.locator("[data-testid=mute][data-span='always']").click();
  await eventually(says, "always", "muting for ever");
  await ben.id("panel-close").click();
  const muted = (person) => person.row("Anna").getAttribute("data-muted");
  await eventually(() => muted(ben), "true", "the list shows what is muted");

  await ben.page.goto(`${ben.base}/#/`);
  await ben.id("conversation").waitFor({ state: "hidden" });
  await anna.say("psst");
  await eventually(() => ben.unread("Anna"), 1, "the list counts in a muted chat");
  equal(await ben.page.title(), "chatmesh", "the page's title while only a muted chat has news");
  await ben.page.emulateMedia({ colorScheme: "dark" });
  await accessible(ben.page, "a muted chat in the list, in the dark");
  await ben.page.emulateMedia({ colorScheme: "light" });
  await accessible(ben.page, "a muted chat in the list");

  // Another device unmutes it while this one is away.
  await ben.page.goto("about:blank");
  const second = await new Person(browser, base, ben.name).arrive({ viewport: { width: 390, height: 800 } });
  await second.logIn();
  await eventually(() => muted(second), "true", "a second device finds the chat muted");
  equal(await second.page.title(), "chatmesh", "the title on the second device");
  await second.page.goto(`${base}/#/c/${await second.row("Anna").getAttribute("data-chat")}`);
  await second.id("chat-info").click();
  await narrow(second, "the panel about a person");
  await accessible(second.page, "the panel about a person on a phone");
  await second.id("unmute").click();
  await eventually(() => second.id("muted-until").innerText(), "off", "unmuting on the second device");
  second.calm();
  await second.context.close();
  await ben.page.goto(`${ben.base}/#/`);
  await ben.online();
  await eventually(() => muted(ben), "false", "the first device finds the chat loud");
  await together(anna, ben);
}

export async function block({ anna, ben }) {
  anna.expected.push(/status of 403/);
  const chat = await ben.id("conversation").getAttribute("data-chat");
  const seen = await ben.texts();
  const was = anna.page.url();
  await anna.page.goto("about:blank");
  await ben.id("chat-info").click();
  await ben.id("block").click();
  await accessible(ben.page, "the question before blocking");
  await ben.id("confirm-yes").click();
  const says = (person) => person.id("blocked").locator("p").innerText();
  await eventually(() => says(ben), "You have blocked this conversation. Nobody can write here.", "at ben's");
  await accessible(ben.page, "a blocked chat");
  await ben.id("panel-close").click();

  await anna.page.goto(was);
  await anna.online();
  await eventually(
    () => says(anna),
    "Ben has blocked this conversation. Nobody can write here.",
    "at anna's",
  );
  equal(await anna.id("send-box").count(), 0, "the box to write in while the chat is blocked");
  equal(await anna.id("unblock-here").count(), 0, "the other one's power over a block");
  await eventually(() => anna.texts(), seen, "what was said before is still read");
  const dot = anna.row("Ben").locator("[data-testid=presence]");
  equal(await dot.getAttribute("data-online"), "false", "whether ben is online, for whom he has blocked");
  const refused = await anna.call("POST", `/v1/chats/${chat}/messages`, {
    client_id: `b${chat}`,
    text: "hey",
  });
  equal(refused.status, 403, "the server's word to who writes anyway");
  await bubble(anna, "psst").locator("[data-testid=more]").click();
  await anna.id("message-actions").waitFor();
  const offered = anna.id("message-actions").locator("button");
  const left = ["Pass on", "Delete for me", "Delete for everyone"];
  equal(await offered.allInnerTexts(), left, "what can be done with a message in a blocked chat");
  await anna.page.keyboard.press("Escape");
  await anna.page.setViewportSize({ width: 390, height: 800 });
  await narrow(anna, "a blocked chat");
  await accessible(anna.page, "a blocked chat on a phone");
  await anna.page.setViewportSize({ width: 1200, height: 760 });

  await ben.page.reload();
  await ben.online();
  await ben.id("unblock-here").click();
  await ben.id("send-box").waitFor();
  await anna.id("send-box").waitFor();
  await anna.say("friends again?");
  await ben.sees(["friends again?"]);
  await ben.say("friends again");
  await anna.sees(["friends again?", "friends again"]);
  await eventually(() => dot.getAttribute("data-online"), "true", "ben is online for anna again");
}

const pinned = async (person) => {
  const button = person.id("pins");
  return (await button.count()) === 0 ? 0 : Number(await button.getAttribute("data-count"));
};

const pinTexts = (person) => person.id("pin").locator(".pinned-text").allInnerTexts();

const focus = (person) => person.page.evaluate(() => document.activeElement?.getAttribute("data-testid"));

/** goToPin chooses a pinned message in the list, and waits until it is in view with the focus in it. */
async function goToPin(person, text) {
  await person.id("pins").click();
  await person.id("pin").filter({ hasText: text }).locator("[data-testid=pin-go]").click();
  const there = () =>
    person.page.evaluate(() => {
      const row = document.activeElement?.closest("[data-testid=message]");
      const box = document.querySelector("[data-testid=messages]")?.getBoundingClientRect();
      const place = row?.getBoundingClientRect();
      const inView = place && box && place.top >= box.top && place.bottom <= box.bottom;
      return inView ? row.querySelector("[data-testid=text]")?.innerText : "";
    });
  await eventually(there, text, `${person.name} gets to the pinned message`);
}

function acked(person) {
  return eventually(
    () => person.page.locator("[data-status=sending]").count(),
    0,
    `${person.name}'s messages are acked`,
  );
}

/** together brings both into their direct chat. */
async function together(anna, ben) {
  await anna.row("Ben").click();
  await ben.row("Anna").click();
  for (const [person, title] of [
    [anna, "Ben"],
    [ben, "Anna"],
  ]) {
    await eventually(
      () => person.id("conversation-title").innerText(),
      title,
      `${person.name} is in the chat`,
    );
    await person.id("messages").waitFor();
  }
}
