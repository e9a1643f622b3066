// A picture of a lively conversation, for the front page of the project.

import { check, eventually, Person } from "./driver.mjs";

const WHO = [
  ["anna", "Anna Lindqvist"],
  ["ben", "Ben Okafor"],
  ["mei", "Mei Tanaka"],
  ["luca", "Luca Moretti"],
];

/** paint makes four people talk and writes what the first of them sees, 1200 by 760, as PNG. */
export async function paint(browser, base, file, options = {}) {
  const people = [];
  for (const [name, displayName] of WHO) people.push(await enrol(browser, base, name, displayName));
  const [anna, ben, mei, luca] = people;
  await talk(anna, ben, mei, luca);
  await ben.id("send-box").pressSequentially("On");
  await eventually(
    () => anna.id("typing").innerText(),
    "Ben Okafor is typing…",
    "the typing line in the picture",
  );
  await eventually(
    () => anna.page.locator("[data-testid=presence][data-online=true]").count(),
    2,
    "people online",
  );
  if (options.panel) await anna.id("group-info").click();
  if (options.viewport) await anna.page.setViewportSize(options.viewport);
  if (options.dark) await anna.page.emulateMedia({ colorScheme: "dark" });
  await anna.page.mouse.move(700, 5);
  await anna.page.screenshot({ path: file, animations: "disabled" });
  for (const person of people) await person.context.close();
}

/** enrol takes the plain name where it is free, else one with a few more letters. */
async function enrol(browser, base, name, displayName) {
  const person = await new Person(browser, base, name).arrive();
  await person.id("auth-switch").click();
  await person.fillIn(name, person.password, displayName);
  const taken = person.page.getByText("already taken");
  await person.id("app").or(taken).first().waitFor();
  if (await taken.isVisible()) {
    person.name = `${name}_${Math.random().toString(36).slice(2, 6)}`;
    await person.fillIn(person.name, person.password, displayName);
  }
  await person.online();
  return person;
}

async function talk(anna, ben, mei, luca) {
  const tell = async (from, title, text) => {
    if (
      (await from.id("conversation-title").count()) === 0 ||
      (await from.id("conversation-title").innerText()) !== title
    ) {
      await from.row(title).click();
    }
    await from.say(text);
    const last = from.page.locator("[data-testid=message]").last();
    await eventually(() => last.locator("[data-testid=text]").innerText(), text, "a line of the picture");
    await eventually(
      () => from.page.locator("[data-status=sending]").count(),
      0,
      "a line of the picture is acked",
    );
  };
  await anna.startDirect(luca.name);
  await anna.id("conversation").waitFor();
  await luca.row("Anna Lindqvist").waitFor();
  await tell(luca, "Anna Lindqvist", "The photos from last week are up, have a look 📷");
  await anna.startDirect(mei.name);
  await eventually(() => anna.id("conversation-title").innerText(), "Mei Tanaka", "the chat with Mei");
  await tell(anna, "Mei Tanaka", "Do you still have the tide tables?");
  await tell(mei, "Anna Lindqvist", "Yes! I will bring them on Saturday");
  await luca.id("new-chat").waitFor();
  await luca.startGroup("Book club", [anna.name, mei.name]);
  await tell(luca, "Book club", "Chapter nine by Thursday, no excuses");
  await anna.startGroup("Harbour crew", [ben.name, mei.name, luca.name]);
  const crew = "Harbour crew";
  for (const person of [ben, mei, luca]) await person.row(crew).waitFor();
  await tell(anna, crew, "Morning all. The wind looks kind on Saturday: 12 knots from the south-west.");
  await tell(ben, crew, "Count me in!");
  await tell(ben, crew, "Shall I book the slip for nine, or is that cruel?");
  await tell(mei, crew, "Nine is fine. I have the tide tables and far too much coffee ☕️");
  await tell(anna, crew, "Perfect. High water is at 10:42, so we leave with the ebb.");
  await tell(luca, "Anna Lindqvist", "Also: whose hat is this?");
  await tell(luca, crew, "I can only come at ten, sorry. Pick me up at the pier?");
  await tell(anna, crew, "Pier at ten it is. Bring a jumper, it will be fresh out there ⛵️");
  await ben.row(crew).click();
  const mates = [ben, mei, luca];
  for (const mate of mates) check(await mate.row(crew).isVisible(), `${mate.name} has lost the crew`);
}
