// Polls the part of a page that changes, and moves through the slices of a job. Without it every page still works.
"use strict";

const EVERY_MS = 2000;
const pulse = document.getElementById("pulse");

function say(text) {
  if (pulse.textContent !== text) pulse.textContent = text;
}

function swap(region, text) {
  const focused = region.contains(document.activeElement) ? document.activeElement.id : "";
  const open = new Set([...region.querySelectorAll("details[open]")].map((details) => details.id));
  region.innerHTML = text;
  for (const id of open) {
    const details = document.getElementById(id);
    if (details) details.open = true;
  }
  const again = focused && document.getElementById(focused);
  if (again) again.focus({ preventScroll: true });
}

function follow(region) {
  let shown = null;
  let failed = false;
  async function look() {
    if (!document.hidden) {
      try {
        const answer = await fetch(region.dataset.live, { credentials: "same-origin" });
        if (answer.status === 401) return location.reload();
        if (!answer.ok || answer.redirected) throw new Error(answer.status);
        const text = await answer.text();
        if (text !== shown) {
          swap(region, text);
          shown = text;
        }
        const key = region.querySelector(".page-key");
        if (key && key.dataset.page !== region.dataset.page) return location.reload();
        if (failed) say("The console answers again.");
        failed = false;
      } catch {
        failed = true;
        say("The console does not answer: what is shown may be old.");
      }
    }
    setTimeout(look, EVERY_MS);
  }
  setTimeout(look, EVERY_MS);
}

function browse(slices) {
  const chooser = document.getElementById("slice");
  const text = document.getElementById("slice-text");
  const pictures = [...slices.querySelectorAll("img")];
  chooser.addEventListener("input", () => {
    text.textContent = `${chooser.value} of ${chooser.max}`;
    for (const picture of pictures) {
      picture.src = `${slices.dataset.at}${picture.dataset.kind}/${chooser.value}.png`;
      picture.alt = picture.alt.replace(/\d+$/, chooser.value);
    }
  });
  const opacity = document.getElementById("opacity");
  if (!opacity) return;
  const activation = document.getElementById("activation");
  const percent = document.getElementById("opacity-text");
  opacity.addEventListener("input", () => {
    activation.style.opacity = opacity.value / 100;
    percent.textContent = `${opacity.value} %`;
  });
}

document.documentElement.classList.add("scripted");
document.querySelectorAll("[data-live]").forEach(follow);
const slices = document.getElementById("slices");
if (slices) browse(slices);
