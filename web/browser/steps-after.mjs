// The steps about what becomes of messages: answered, edited, reacted to, deleted, also while one of the two is away.

import { accessible } from "./a11y.mjs";
import { check, equal, eventually } from "./driver.mjs";

/** bubble is the last message of that text; what it quotes does not count. */
export const bubble = (person, text) => {
  const own = person.page.locator("[data-testid=text]", { hasText: text });
  return person.id("message").filter({ has: own }).last();
};

/** act opens what can be done with a message, by keyboard, and does it. */
export async function act(person, text, what) {
  const row = bubble(person, text);
  await row.locator("[data-testid=more]").focus();
  await person.page.keyboard.press("Enter");
  await row.locator("[data-testid=message-actions]").waitFor();
  await row.locator(what).click();
}

export async function after({ anna, ben }) {
  await ben.say("the boat leaves at six");
  await anna.sees(["the boat leaves at six"]);
  await act(anna, "leaves at six", "[data-testid=reply]");
  await accessible(anna.page, "an answer being written");
  await anna.say("so early?");
  const quote = () => bubble(ben, "so early?").locator("[data-testid=quote] span").innerText();
  await eventually(quote, "the boat leaves at six", "what anna's answer quotes, at ben's");

  await act(ben, "so early?", "[data-testid=react][data-emoji='👍']");
  const chip = (person, text) => bubble(person, text).locator("[data-testid=reaction]");
  await eventually(() => chip(anna, "so early?").allInnerTexts(), ["👍 1"], "ben's reaction at anna's");
  await chip(anna, "so early?").click();
  await eventually(() => chip(ben, "so early?").allInnerTexts(), ["👍 2"], "both reactions at ben's");
  await accessible(anna.page, "reactions");
  await chip(anna, "so early?").click();
  await eventually(() => chip(ben, "so early?").allInnerTexts(), ["👍 1"], "anna takes hers back");

  await ben.id("send-box").fill("half a thought");
  const row = bubble(ben, "leaves at six");
  await act(ben, "leaves at six", "[data-testid=edit]");
  await eventually(() => ben.id("send-box").inputValue(), "the boat leaves at six", "the text to edit");
  await ben.say("the boat leaves at eight");
  await anna.sees(["the boat leaves at eight", "so early?"]);
  await eventually(quote, "the boat leaves at eight", "the quote follows the edit");
  await eventually(() => ben.id("send-box").inputValue(), "half a thought", "the draft comes back");
  await ben.id("send-box").fill("");
  equal(await bubble(anna, "at eight").locator("[data-testid=edited]").innerText(), "edited", "the mark");
  check(await row.count().then((count) => count === 0), "the old text is still shown at ben's");
  await whileAway({ anna, ben });
}

/** whileAway: what anna does while ben's page is somewhere else is there when he comes back, the text is not. */
async function whileAway({ anna, ben }) {
  const secret = `a secret ${Math.random().toString(36).slice(2)}`;
  await anna.say(secret);
  await anna.say("the last word");
  await ben.sees([secret, "the last word"]);
  const was = ben.page.url();
  await ben.page.goto("about:blank");
  await act(anna, secret, "[data-testid=delete-all]");
  await accessible(anna.page, "the question before deleting");
  await anna.id("confirm-yes").click();
  await eventually(() => anna.page.getByText(secret).count(), 0, "the deleted text at anna's");
  await act(anna, "the last word", "[data-testid=edit]");
  await anna.say("the very last word");
  await anna.sees(["the very last word"]);
  await ben.page.goto(was);
  await ben.online();
  await ben.sees(["so early?", "the very last word"]);
  for (const person of [anna, ben]) {
    await eventually(() => person.id("deleted").count(), 1, `what is deleted, at ${person.name}'s`);
    equal(await person.page.getByText(secret).count(), 0, `the secret on ${person.name}'s page`);
    const kept = await person.page.evaluate(() =>
      JSON.stringify([{ ...localStorage }, { ...sessionStorage }]),
    );
    check(!kept.includes(secret), `${person.name}'s browser keeps the deleted text`);
  }
  await eventually(() => ben.texts(), await anna.texts(), "both see the same texts");
  equal(await ben.seqs(), await anna.seqs(), "both see the same places");

  await act(ben, "so early?", "[data-testid=delete-me]");
  await ben.id("confirm-yes").click();
  await eventually(() => ben.page.getByText("so early?").count(), 0, "what ben deleted for himself");
  equal(await anna.page.getByText("so early?").count(), 1, "what ben deleted for himself, at anna's");
  await ben.page.reload();
  await ben.online();
  await ben.sees(["the very last word"]);
  equal(await ben.page.getByText("so early?").count(), 0, "what ben deleted for himself, after a reload");

  // Later steps compare both pages.
  await act(anna, "so early?", "[data-testid=delete-me]");
  await anna.id("confirm-yes").click();
  await eventually(() => anna.page.getByText("so early?").count(), 0, "what anna deleted for herself");
}
