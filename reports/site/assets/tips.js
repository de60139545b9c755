"use strict";
// Explanations of headings and marks: shown on hover and on focus, near what they explain, and named to screen readers.

(() => {
  const tip = document.createElement("div");
  tip.className = "tip";
  tip.id = "tip";
  tip.setAttribute("role", "tooltip");
  tip.hidden = true;
  let shown = null;

  function show(target) {
    hide();
    if (target.hasAttribute("title")) {
      // The browser would show a title of its own as well, and never on focus.
      target.dataset.tip = target.title;
      target.removeAttribute("title");
    }
    shown = target;
    tip.textContent = target.dataset.tip;
    tip.hidden = false;
    focusable(target).setAttribute("aria-describedby", "tip");
    place();
  }

  function place() {
    const around = shown.getBoundingClientRect();
    const own = tip.getBoundingClientRect();
    const left = Math.min(Math.max(8, around.left), document.documentElement.clientWidth - own.width - 8);
    const above = around.top - own.height - 6;
    tip.style.left = `${Math.max(8, left)}px`;
    tip.style.top = `${above > 4 ? above : around.bottom + 6}px`;
  }

  function hide() {
    if (shown) focusable(shown).removeAttribute("aria-describedby");
    shown = null;
    tip.hidden = true;
  }

  // The heading of a column that can be sorted holds a button, which is what has the focus.
  function focusable(target) {
    return target.querySelector("[tabindex]") ?? target;
  }

  function explained(event) {
    return event.target instanceof Element ? event.target.closest("th[title], th[data-tip], abbr[title], abbr[data-tip]") : null;
  }

  function enter(event) {
    const target = explained(event);
    if (target && target !== shown) show(target);
    else if (!target) hide();
  }

  document.addEventListener("DOMContentLoaded", () => document.body.append(tip));
  document.addEventListener("mouseover", enter);
  document.addEventListener("focusin", enter);
  document.addEventListener("focusout", hide);
  // The focus may scroll what it comes to into sight.
  document.addEventListener("scroll", () => shown && place(), { capture: true, passive: true });
  document.addEventListener("keydown", (event) => event.key === "Escape" && hide());
})();
