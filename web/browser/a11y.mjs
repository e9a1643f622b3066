// What can be told of accessibility without eyes: names, labels, landmarks, one heading of the first rank.

import { check } from "./driver.mjs";

export async function accessible(page, where) {
  const faults = await page.evaluate(inspect);
  check(faults.length === 0, `${where}: ${faults.join("; ")}`);
}

/** inspect runs in the page and returns a sentence for each thing that is wrong. */
function inspect() {
  const faults = [];
  const shown = (element) => element.checkVisibility({ visibilityProperty: true });
  const describe = (element) => element.outerHTML.slice(0, 90);
  const words = (element) => {
    const by = element.getAttribute("aria-labelledby");
    if (by) return document.getElementById(by)?.textContent?.trim() ?? "";
    return element.getAttribute("aria-label") ?? element.textContent?.trim() ?? "";
  };
  for (const element of document.querySelectorAll("button, a[href]")) {
    if (shown(element) && words(element) === "") faults.push(`no name: ${describe(element)}`);
  }
  for (const element of document.querySelectorAll("input, textarea, select")) {
    const label = element.getAttribute("aria-label") || [...(element.labels ?? [])].map(words).join("");
    if (shown(element) && !label) faults.push(`no label: ${describe(element)}`);
  }
  for (const element of document.querySelectorAll("img, svg")) {
    const named = element.getAttribute("alt") !== null || element.getAttribute("aria-hidden") === "true";
    if (shown(element) && !named) faults.push(`a picture without words: ${describe(element)}`);
  }
  for (const element of document.querySelectorAll("dialog, nav, aside, section")) {
    const named = element.hasAttribute("aria-label") || element.hasAttribute("aria-labelledby");
    if (shown(element) && !named) faults.push(`a region without a name: ${describe(element)}`);
  }
  const ids = [...document.querySelectorAll("[id]")].map((element) => element.id);
  for (const id of new Set(ids)) {
    if (ids.filter((other) => other === id).length > 1) faults.push(`the id ${id} is used twice`);
  }
  const count = (selector) => [...document.querySelectorAll(selector)].filter(shown).length;
  if (count("main") > 1) faults.push("more than one main region");
  if (count("h1") > 1) faults.push("more than one h1");
  if (!document.documentElement.lang) faults.push("no language");
  if (!document.title) faults.push("no title");
  return [...faults, ...contrast()];

  /** contrast looks at the colours of visible text against what is behind it. */
  function contrast() {
    const found = [];
    const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    while (walker.nextNode()) {
      const element = walker.currentNode.parentElement;
      if (!element || !walker.currentNode.textContent.trim() || !shown(element)) continue;
      if (element.closest(".unseen, [aria-hidden=true], [aria-disabled=true], :disabled")) continue;
      const style = getComputedStyle(element);
      const ratio = ratioOf(rgb(style.color), behind(element));
      const large = Number.parseFloat(style.fontSize) >= 24;
      if (ratio < (large ? 3 : 4.5)) found.push(`contrast ${ratio.toFixed(2)}: ${describe(element)}`);
    }
    return found;
  }

  function behind(element) {
    for (let at = element; at; at = at.parentElement) {
      const colour = rgb(getComputedStyle(at).backgroundColor);
      if (colour[3] > 0.99) return colour;
    }
    return [255, 255, 255, 1];
  }

  function rgb(text) {
    const [r = 0, g = 0, b = 0, a = 1] = (text.match(/[\d.]+/g) ?? []).map(Number);
    return [r, g, b, a];
  }

  function ratioOf(a, b) {
    const [x, y] = [light(a), light(b)];
    return (Math.max(x, y) + 0.05) / (Math.min(x, y) + 0.05);
  }

  function light(colour) {
    const [r, g, b] = colour.map((part) => {
      const value = part / 255;
      return value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  }
}
