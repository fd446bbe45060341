"use strict";
document.documentElement.classList.add("scripts");
const find = id => document.getElementById(id), main = document.querySelector("main");
const cards = [...document.querySelectorAll(".card")];
const keys = new Map(cards.map(card => [card, JSON.parse(card.dataset.keys)]));
const texts = new Map(cards.map(card => [card, `${card.dataset.find} ${card.textContent}`.toLowerCase()]));
const sort = find("sort"), down = find("down"), group = find("group"), filter = find("filter");
const state = new URLSearchParams(location.hash.slice(1));

function keep(name, value) {  // store in the address, so that a reload restores it
  value === null ? state.delete(name) : state.set(name, value);
  history.replaceState(null, "", "#" + state);
}

// --- Size: it is kept for all pages of this browser, which may forbid it
for (const choice of document.querySelectorAll("[name=size]")) {
  try {
    if (localStorage.getItem("nst-size") === choice.value) choice.checked = true;
  } catch {}
  choice.addEventListener("change", () => { try { localStorage.setItem("nst-size", choice.value); } catch {} });
}

// --- Sort and group: numbers by value, words by the alphabet, empty ones last; a group stands where its first card does
function compare(a, b) {
  return a !== "" && b !== "" && !isNaN(a) && !isNaN(b) ? a - b : a.localeCompare(b, "en", {numeric: true});
}

function section(card, names) {
  const [made, heading, list] = ["section", "h2", "ul"].map(name => document.createElement(name));
  list.className = "cards";
  heading.append(...chips(card).filter(chip => names.includes(chip.dataset.name)));
  made.append(...(names.length ? [heading] : []), list);
  return made;
}

function arrange() {
  const name = sort.value, turn = down.getAttribute("aria-pressed") === "true" ? -1 : 1;
  const names = group?.value ? group.value.split(",") : [], sections = new Map();
  const key = card => keys.get(card)[name];
  for (const card of [...cards].sort((a, b) => !key(a) - !key(b) || turn * compare(key(a), key(b)))) {
    const same = JSON.stringify(names.map(name => keys.get(card)[name]));
    if (!sections.has(same)) sections.set(same, section(card, names));
    sections.get(same).lastChild.append(card);
    for (const chip of card.querySelectorAll(".chip")) chip.hidden = names.includes(chip.dataset.name);
    for (const fact of card.querySelectorAll("dl div + div"))
      fact.classList.toggle("sorted", fact.dataset.name === name);
  }
  main.replaceChildren(...sections.values());
  show();
}

// --- Filter: show the cards that contain every word
function show() {
  const words = filter.value.toLowerCase().split(/\s+/).filter(Boolean);
  for (const card of cards) card.hidden = !words.every(word => texts.get(card).includes(word));
  for (const part of main.children) part.hidden = !part.querySelector(".card:not([hidden])");
  find("shown").value = words.length ? `${cards.filter(card => !card.hidden).length} of ${cards.length}` : "";
}

sort.addEventListener("change", () => { keep("sort", sort.value); arrange(); });
down.addEventListener("click", () => {
  const pressed = down.getAttribute("aria-pressed") !== "true";
  down.setAttribute("aria-pressed", pressed);
  keep("down", pressed || null);
  arrange();
});
group?.addEventListener("change", () => { keep("group", group.value); arrange(); });
filter.addEventListener("input", () => { keep("filter", filter.value || null); show(); });
find("controls").addEventListener("submit", event => event.preventDefault());

// --- What is said of a result in a dialog: all that varies, or else its folder
function chips(card) {
  const copies = [...card.querySelectorAll(".chip")].map(chip => chip.cloneNode(true));
  for (const chip of copies) chip.hidden = false;
  return copies;
}

function say(place, card) {
  const said = chips(card);
  place.replaceChildren(...(said.length ? said : [card.querySelector(".folder").textContent]));
}

function small(painted) {
  return painted.querySelector("img")?.src ?? "";
}

for (const close of document.querySelectorAll("dialog .close"))
  close.addEventListener("click", () => close.closest("dialog").close());

// --- A result at full size: the arrow keys go to the one before and after it, of those that are shown
const viewer = find("viewer"), stage = find("stage"), zoom = find("zoom");
let viewed = null;

function results() {
  return [...main.querySelectorAll(".card:not([hidden]) .painted")];
}

function view(painted) {
  const isFilm = /\.mp4$/i.test(painted.pathname), all = results(), place = all.indexOf(painted);
  const shown = document.createElement(isFilm ? "video" : "img"), {scrollLeft, scrollTop} = stage;
  viewed = painted;
  if (isFilm) Object.assign(shown, {controls: true, loop: true, poster: small(painted)});
  else shown.alt = painted.querySelector("img")?.alt ?? "";
  shown.onload = () => stage.scrollTo(scrollLeft, scrollTop);  // to look at the same place in each
  shown.onerror = () => {
    const told = document.createElement("p");
    told.textContent = "This browser cannot show the file. This is its thumbnail.";
    shown.onerror = null;
    shown.src = small(painted);
    stage.append(told);
  };
  shown.src = painted.href;
  stage.replaceChildren(shown);
  say(find("caption"), painted.closest(".card"));
  zoom.hidden = isFilm;
  find("place").textContent = `${place + 1} of ${all.length}`;
  find("file").href = painted.href;
  for (const step of [1, -1]) {  // so that the next one is there at once
    const near = all[place + step];
    if (near && !/\.mp4$/i.test(near.pathname)) new Image().src = near.href;
  }
}

function step(by) {
  const all = results();
  view(all[(all.indexOf(viewed) + by + all.length) % all.length]);
}

function toggle() {
  zoom.setAttribute("aria-pressed", stage.classList.toggle("actual"));
}

main.addEventListener("click", event => {
  const painted = event.target.closest(".painted");
  if (!painted || event.ctrlKey || event.metaKey || event.shiftKey) return;  // which ask for another tab
  event.preventDefault();
  viewer.showModal();
  view(painted);
});
viewer.addEventListener("keydown", event => {
  const by = {ArrowLeft: -1, ArrowRight: 1}[event.key];
  if (!by || event.altKey || event.ctrlKey || event.metaKey || event.target.localName === "video") return;
  event.preventDefault();
  step(by);
});
find("previous").addEventListener("click", () => step(-1));
find("next").addEventListener("click", () => step(1));
zoom.addEventListener("click", toggle);
stage.addEventListener("click", event => event.target.localName === "img" && toggle());
viewer.addEventListener("close", () => {
  stage.replaceChildren();  // which ends a film
  viewed.focus({preventScroll: true});
  viewed.closest(".card").scrollIntoView({block: "nearest"});
});

// --- Compare: lay one result over another; the slider moves the boundary between them
const both = find("compare"), chosen = [];

function place(image, card) {
  const painted = card.querySelector(".painted");
  // A film, or a format that the browser cannot show, is seen as its thumbnail.
  image.onerror = () => { image.onerror = null; image.src = small(painted); };
  image.alt = painted.querySelector("img")?.alt ?? "";
  image.src = painted.href;
}

main.addEventListener("change", event => {
  const card = event.target.closest(".card"), before = chosen.indexOf(card);
  before < 0 ? chosen.push(card) : chosen.splice(before, 1);
  if (chosen.length < 2) return;
  const images = both.querySelectorAll("img"), sides = both.querySelectorAll(".side");
  const {width = 4, height = 3} = chosen[0].querySelector(".painted img") ?? {};
  both.style.setProperty("--ratio", width / height);
  chosen.forEach((card, i) => { place(images[i], card); say(sides[i], card); });
  both.showModal();
});
const at = find("at"), slide = () => both.style.setProperty("--at", at.value + "%");
at.addEventListener("input", slide);
slide();
both.addEventListener("close", () => {
  for (const card of chosen.splice(0)) card.querySelector("input").checked = false;
});

// --- As the address says
for (const choice of [sort, group].filter(Boolean)) {
  const value = state.get(choice.id);
  if ([...choice.options].some(option => option.value === value)) choice.value = value;
}
down.setAttribute("aria-pressed", state.get("down") === "true");
filter.value = state.get("filter") ?? "";
if (location.hash) arrange();
