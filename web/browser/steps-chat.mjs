// The steps about two people and one chat: getting in, finding each other, talking.

import { accessible } from "./a11y.mjs";
import { check, equal, eventually } from "./driver.mjs";

export async function signUp({ anna, ben }) {
  await accessible(anna.page, "the log-in page");
  anna.expected.push(/status of (401|409)/);
  await anna.fillIn(anna.name, "wrong password");
  await eventually(
    () => anna.id("auth-error").innerText(),
    "The user name or the password is not right.",
    "wrong log-in",
  );
  await anna.id("auth-switch").click();
  await accessible(anna.page, "the sign-up page");
  await anna.fillIn("A!", anna.password);
  const explains = (words) => async () => (await anna.id("auth-error").innerText()).startsWith(words);
  await eventually(explains("A user name has"), true, "a bad user name is explained");
  await anna.fillIn(anna.name, "short");
  await eventually(explains("A password has"), true, "a short password is explained");
  await anna.fillIn(anna.name, anna.password, "Anna");
  await anna.online();
  equal(await anna.id("me").innerText(), "Anna", "the own name");
  await anna.id("no-chats").waitFor();
  await accessible(anna.page, "the empty list");

  ben.expected.push(/status of 409/);
  await ben.id("auth-switch").click();
  await ben.fillIn(anna.name, ben.password);
  const taken = "This user name is already taken. Please choose another one.";
  await eventually(() => ben.id("auth-error").innerText(), taken, "a taken name");
  await ben.fillIn(ben.name, ben.password, "Ben");
  await ben.online();
}

export async function direct({ anna, ben }) {
  anna.expected.push(/status of 404/);
  await anna.startDirect("nobody_at_all_here");
  const nobody = "Nobody has the user name “nobody_at_all_here”.";
  await eventually(() => anna.id("new-chat-error").innerText(), nobody, "an unknown name");
  await accessible(anna.page, "the new chat dialog");
  await anna.id("direct-name").fill(ben.name);
  await anna.id("create-chat").click();
  await eventually(
    () => anna.id("conversation-title").innerText(),
    "Ben",
    "the other one's name as the title",
  );
  await ben.row("Anna").waitFor();
}

export async function order({ anna, ben }) {
  await ben.row("Anna").click();
  await ben.id("conversation").waitFor();
  const said = [];
  for (let i = 1; i <= 4; i++) {
    for (const person of [anna, ben]) {
      said.push(`${person.name} ${i}`);
      await person.say(said.at(-1));
      await Promise.all([anna.sees(said), ben.sees(said)]);
    }
  }
  // And without waiting for each other.
  for (let i = 1; i <= 5; i++) await Promise.all([anna.say(`a${i}`), ben.say(`b${i}`)]);
  await eventually(
    async () => (await anna.texts()).length,
    said.length + 10,
    "all of anna's and ben's messages",
  );
  await eventually(() => anna.page.locator("[data-status=sending]").count(), 0, "anna's messages are acked");
  await eventually(() => ben.texts(), await anna.texts(), "ben has anna's order");
  const seqs = await ben.seqs();
  equal(await anna.seqs(), seqs, "both see the same seqs");
  const first = seqs[0];
  equal(
    seqs,
    [...seqs.keys()].map((at) => at + first),
    "seqs are contiguous",
  );
  const own = anna.page.locator("[data-testid=message][data-own=true]").last();
  await eventually(() => own.getAttribute("data-status"), "read", "anna's last message is shown as read");
}

export async function unread({ anna, ben }) {
  await ben.page.goto(`${ben.base}/#/`);
  await ben.id("conversation").waitFor({ state: "hidden" });
  for (let i = 1; i <= 3; i++) {
    await anna.say(`knock ${i}`);
    await eventually(() => ben.unread("Anna"), i, "ben's unread count");
  }
  const preview = () => ben.row("Anna").locator("[data-testid=chat-preview]").innerText();
  await eventually(preview, "knock 3", "the preview");
  await eventually(() => ben.page.title(), "(3) chatmesh", "the page's title counts");
  await ben.row("Anna").click();
  await ben.sees(["knock 1", "knock 2", "knock 3"]);
  await ben.id("new-mark").waitFor();
  await eventually(() => ben.unread("Anna"), 0, "ben's unread count after looking");
  await eventually(() => ben.page.title(), "chatmesh", "the page's title after looking");
  await ben.page.reload();
  await ben.online();
  await eventually(() => ben.unread("Anna"), 0, "ben's unread count after a reload");
}

export async function typing({ anna, ben }) {
  // The server passes it on once in 2 s, and ben has written much just now: he goes on until it is seen.
  const seen = async () => {
    await ben.id("send-box").pressSequentially("m");
    return anna.id("typing").innerText();
  };
  await eventually(seen, "Ben is typing…", "anna sees ben typing");
  await ben.id("send-box").press("Enter");
  await eventually(
    () => anna.page.locator("[data-testid=typing]").innerText(),
    "",
    "the sign goes with the message",
  );
}

export async function presence({ anna, ben }) {
  const dot = anna.row("Ben").locator("[data-testid=presence]");
  await eventually(() => dot.getAttribute("data-online"), "true", "ben is online for anna");
  await eventually(() => anna.id("subtitle").innerText(), "online", "the line under ben's name");
  const was = ben.page.url();
  await ben.page.goto("about:blank");
  await eventually(() => dot.getAttribute("data-online"), "false", "ben is offline for anna");
  await ben.page.goto(was);
  await ben.online();
  await eventually(() => dot.getAttribute("data-online"), "true", "ben is back for anna");
}

export async function text({ anna, ben }) {
  const hostile = `<img src=x onerror="document.title='owned'"> & <script>1</script> "quotes" 👩‍👩‍👧`;
  await anna.say(hostile);
  await ben.sees([hostile]);
  equal(await ben.page.locator("[data-testid=text] img").count(), 0, "pictures made from text");
  await anna.say("two\nlines, see https://example.com/a?b=c.");
  await ben.sees(["two\nlines, see https://example.com/a?b=c."]);
  const link = ben.page.locator("[data-testid=text] a").last();
  equal(await link.getAttribute("href"), "https://example.com/a?b=c", "the link");
  equal(await link.getAttribute("rel"), "noopener noreferrer nofollow", "the link's manners");
}

export async function limit({ anna, ben }) {
  await anna.id("send-box").fill("😀".repeat(100_000));
  await eventually(() => anna.id("counter").getAttribute("data-count"), "100000", "the counter");
  check(await anna.id("send").isDisabled(), "a text that is too long can be sent");
  await accessible(anna.page, "a text that is too long");
  const before = (await anna.texts()).length;
  await anna.id("send-box").press("Enter");
  await anna.id("send-box").fill("😀".repeat(99_999));
  await eventually(() => anna.id("counter").getAttribute("data-count"), "99999", "the counter at the limit");
  await anna.id("send-box").press("Enter");
  const whole = ben.page.getByText("Show all of it").last();
  await whole.click();
  const length = async () => [...((await ben.texts()).at(-1) ?? "")].length;
  await eventually(length, 99_999, "ben gets the longest text whole");
  await eventually(async () => (await anna.texts()).length, before + 1, "only the allowed text was sent");
}
