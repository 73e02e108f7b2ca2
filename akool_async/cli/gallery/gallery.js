(() => {
  "use strict";
  const all = (selector, within = document) => [...within.querySelectorAll(selector)];
  const STORE = "akool gallery " + location.pathname;

  // Filter by state: a section stays if it, or something within it, has one of the chosen states.
  const filters = all(".filters button");
  const choose = () => {
    const chosen = new Set(filters.filter(on).map(button => button.dataset.state));
    const isChosen = element => !chosen.size || chosen.has(element.dataset.state);
    all("figure[data-state]").forEach(card => { card.hidden = !isChosen(card); });
    all(".unpressed").forEach(line => { line.hidden = chosen.size > 0; });
    all(".image").reverse().forEach(section => {
      section.hidden = !isChosen(section) && !section.querySelector("figure[data-state]:not([hidden])");
    });
    all(".jump li").forEach(item => {
      item.hidden = document.getElementById(item.firstElementChild.hash.slice(1)).hidden;
    });
  };
  const on = button => button.getAttribute("aria-pressed") === "true";
  const press = (button, wanted) => button.setAttribute("aria-pressed", String(wanted));
  filters.forEach(button => button.addEventListener("click", () => { press(button, !on(button)); choose(); }));
  all(".filters").forEach(bar => { bar.hidden = false; });

  // The list of sections closes after use, and the chosen section opens.
  const jump = document.querySelector(".jump");
  const open = target => {
    for (let part = target; part; part = part.parentElement) if (part.matches("details")) part.open = true;
  };
  const goTo = () => { const target = document.getElementById(location.hash.slice(1)); if (target) open(target); };
  addEventListener("hashchange", goTo);
  jump?.addEventListener("click", event => { if (event.target.closest("a")) jump.open = false; });
  document.addEventListener("click", event => { if (jump && !jump.contains(event.target)) jump.open = false; });

  // Enlarge a picture in place: the file on disk, or the small picture if there is none.
  const dialog = document.querySelector("dialog");
  const large = new Image();
  dialog.firstElementChild.prepend(large);
  const link = dialog.querySelector("a");
  const pictures = all("a.picture, span.picture").filter(picture => picture.querySelector("img"));
  let shown = null;
  const enlarge = picture => {
    const small = picture.querySelector("img");
    shown = picture;
    large.alt = small.alt;
    large.src = small.src;
    dialog.querySelector(".title").textContent = small.alt;
    link.hidden = !picture.hasAttribute("href");
    link.href = picture.getAttribute("href") || "";
    if (picture.hasAttribute("data-file")) {
      const file = new Image();
      file.onload = () => { if (shown === picture) large.src = file.src; };
      file.src = picture.href;
    }
    if (!dialog.open) dialog.showModal();
  };
  const move = step => {
    const visible = pictures.filter(picture => picture.offsetParent);
    const next = visible[visible.indexOf(shown) + step];
    if (next) enlarge(next);
  };
  pictures.forEach(picture => {
    picture.classList.add("can-enlarge");
    if (!picture.hasAttribute("href")) {
      picture.tabIndex = 0;
      picture.setAttribute("role", "button");
    }
    picture.addEventListener("click", event => {
      if (event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) return;
      event.preventDefault();
      enlarge(picture);
    });
    picture.addEventListener("keydown", event => {
      if (event.key !== "Enter" && event.key !== " ") return;
      event.preventDefault();
      enlarge(picture);
    });
  });
  dialog.addEventListener("click", event => { if (!event.target.closest("a")) dialog.close(); });
  dialog.addEventListener("close", () => { shown = null; });
  dialog.addEventListener("keydown", event => {
    if (event.key === "ArrowRight") move(1);
    if (event.key === "ArrowLeft") move(-1);
  });

  // A page that reloads itself keeps the scroll position.
  const { live, reload } = document.body.dataset;
  const isLive = live !== undefined;
  const topmost = () => all("[id]", document.querySelector("main")).find(
    part => part.offsetParent && part.getBoundingClientRect().bottom > 80);
  addEventListener("pagehide", () => {
    if (!isLive) return;
    const part = scrollY > 0 ? topmost() : null;
    const place = {
      at: Date.now(),
      part: part?.id,
      top: part?.getBoundingClientRect().top,
      chosen: filters.filter(on).map(button => button.dataset.state),
      closed: all(".below:not([open])").map(section => section.id),
      jump: jump?.open,
      focus: document.activeElement?.id,
      shown: shown?.id,
    };
    try { sessionStorage.setItem(STORE, JSON.stringify(place)); } catch { /* only the scroll position is lost */ }
  });
  const restore = () => {
    let place = null;
    try {
      place = JSON.parse(sessionStorage.getItem(STORE));
      sessionStorage.removeItem(STORE);
    } catch { /* no position was kept */ }
    if (!place || Date.now() - place.at > 60000) return false;
    history.scrollRestoration = "manual";
    filters.forEach(button => press(button, place.chosen.includes(button.dataset.state)));
    choose();
    place.closed.map(id => document.getElementById(id)).forEach(section => { if (section) section.open = false; });
    if (jump) jump.open = place.jump;
    const part = place.part && document.getElementById(place.part);
    if (part) scrollBy(0, part.getBoundingClientRect().top - place.top);
    document.getElementById(place.focus)?.focus({ preventScroll: true });
    const picture = place.shown && document.getElementById(place.shown);
    if (picture) enlarge(picture);
    return true;
  };
  if (!restore()) goTo();

  // A live run rewrites its page at least once a minute. An older page belongs to a run that was killed.
  if (isLive && Date.now() - Date.parse(live) > (120 + 3 * reload) * 1000) {
    document.querySelector(".live").textContent = `The run was cut off: this page was last written at ${live}.`;
    addEventListener("load", () => stop());
  }
})();
