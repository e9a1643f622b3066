// A story with two people, told in a real browser against a running chatmesh.
//
//   node browser/story.mjs http://127.0.0.1:PORT [--screenshot FILE]
//
// It ends with 0 when every step went well, else with 1 and one line that says what did not. The server must run with
// its rate limits off.

import { stripVTControlCharacters } from "node:util";
import { launch, Person } from "./driver.mjs";
import { paint } from "./picture.mjs";
import { steps } from "./steps.mjs";

const USAGE = "usage: node browser/story.mjs http://HOST:PORT [--screenshot FILE]";

async function main(args) {
  const at = args.indexOf("--screenshot");
  const file = at < 0 ? "" : (args[at + 1] ?? "");
  const rest = at < 0 ? args : args.toSpliced(at, 2);
  if (rest.length !== 1 || (at >= 0 && file === "")) throw new Error(USAGE);
  const base = new URL(rest[0]).origin;
  const browser = await launch();
  try {
    await tell(browser, base);
    if (file !== "") await paint(browser, base, file);
  } finally {
    await browser.close();
  }
}

async function tell(browser, base) {
  const run = Math.random().toString(36).slice(2, 8);
  const person = (name) => new Person(browser, base, `${name}_${run}`).arrive();
  const people = { anna: await person("anna"), ben: await person("ben"), carl: await person("carl") };
  await people.carl.signUp("Carl");
  for (const [name, step] of steps) {
    const begun = Date.now();
    try {
      await step({ ...people, browser, base });
      for (const one of Object.values(people)) one.calm();
    } catch (error) {
      throw new Error(`step "${name}": ${error.message}`);
    }
    console.log(`ok  ${name} (${Date.now() - begun} ms)`);
  }
}

main(process.argv.slice(2)).catch((error) => {
  const words = stripVTControlCharacters(String(error.message)).replace(/\s+/g, " ");
  console.error(`FAILED  ${words.slice(0, 600)}`);
  process.exitCode = 1;
});
