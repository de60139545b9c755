"use strict";
// The contents of a long page, from its headings.

(() => {
  const FEWEST = 3;
  const main = document.querySelector("main");
  const frame = document.querySelector(".frame");
  const headings = [...main.querySelectorAll("h2")];
  if (headings.length < FEWEST) return;

  const box = document.createElement("details");
  box.className = "contents";
  const title = document.createElement("summary");
  title.textContent = "On this page";
  const list = document.createElement("ol");
  const links = headings.map((heading, number) => {
    const place = heading.closest("section[id]") ?? heading;
    if (!place.id) place.id = `h-${number + 1}`;
    const item = document.createElement("li");
    const link = document.createElement("a");
    link.href = `#${encodeURIComponent(place.id)}`;
    link.textContent = heading.textContent;
    item.append(link);
    list.append(item);
    return link;
  });
  const navigation = document.createElement("nav");
  navigation.setAttribute("aria-label", "On this page");
  navigation.append(list);
  box.append(title, navigation);

  const beside = matchMedia("(min-width: 108rem)");
  function place() {
    box.open = beside.matches;
    if (beside.matches) frame.append(box);
    else (main.querySelector("h1") ?? main.firstElementChild).after(box);
  }
  beside.addEventListener("change", place);
  place();

  // The part that is being read: the last heading above the upper third of the window.
  let waiting = false;
  function follow() {
    waiting = false;
    const limit = innerHeight / 3;
    const above = headings.filter((heading) => heading.getBoundingClientRect().top < limit).length;
    links.forEach((link, number) => {
      if (number === Math.max(above - 1, 0)) link.setAttribute("aria-current", "true");
      else link.removeAttribute("aria-current");
    });
  }
  addEventListener("scroll", () => {
    if (waiting) return;
    waiting = true;
    requestAnimationFrame(follow);
  }, { passive: true });
  follow();
})();
