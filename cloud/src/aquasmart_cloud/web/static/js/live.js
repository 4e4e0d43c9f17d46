// Asks the cloud once a second and says in the bar whether the page is live. Slows down by itself where an
// answer is dear (a large fleet, a thin line), rests while nobody looks, and never shows old figures as new.

import { parse, clockTime } from "./format.js";

const EVERY_MS = 1000;
const AT_MOST_MS = 15_000;
const COST_FACTOR = 10;

function say(state, words) {
  const line = document.getElementById("live");
  line.dataset.live = state;
  const text = line.querySelector(".text");
  if (text.textContent !== words) text.textContent = words;
}

async function ask(address) {
  const answer = await fetch(address, { headers: { Accept: "application/json" }, signal: AbortSignal.timeout(AT_MOST_MS) });
  if (answer.status === 401) window.location.assign("/sign-in");
  if (!answer.ok) throw new Error(`the cloud answered ${answer.status}`);
  return parse(await answer.text());
}

function visible() {
  if (!document.hidden) return Promise.resolve();
  return new Promise((resume) => document.addEventListener("visibilitychange", resume, { once: true }));
}

/** Call `apply(answer)` for ever, about once a second. */
export async function live(address, apply) {
  document.documentElement.classList.add("js");
  let since = Date.now();
  for (;;) {
    await visible();
    const began = performance.now();
    try {
      apply(await ask(address));
      since = Date.now();
      say("on", "Live");
    } catch (error) {
      say("lost", `No connection; figures of ${clockTime(since, Date.now())}`);
      console.warn("AquaSmart:", error);
    }
    const cost = performance.now() - began;
    const pause = Math.min(AT_MOST_MS, Math.max(EVERY_MS - cost, cost * COST_FACTOR));
    await new Promise((resume) => setTimeout(resume, pause));
  }
}
