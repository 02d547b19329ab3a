"use strict";
/* Without this script the page is complete: a plain table, pairs of pictures side by side. */
(() => {
  const $ = (query, root = document) => root.querySelector(query);
  const $$ = (query, root = document) => [...root.querySelectorAll(query)];
  const make = (tag, properties = {}, ...children) => {
    const element = Object.assign(document.createElement(tag), properties);
    element.append(...children);
    return element;
  };

  /* --- the table of every number: sorting, filters, a row's details --- */
  const table = $("table.numbers");
  if (table) {
    const heads = $$(":scope > thead th", table);
    const records = $$(":scope > tbody", table).map((body, order) => {
      const cells = [...body.rows[0].cells];
      return { body, order, cells, text: body.rows[0].textContent.toLowerCase() };
    });
    const of = (cell) => cell.dataset.v ?? cell.dataset.f ?? cell.textContent.trim();

    heads.forEach((head, column) => {
      const button = make("button", { type: "button" }, ...head.childNodes);
      head.replaceChildren(button);
      head.setAttribute("aria-sort", "none");
      button.addEventListener("click", () => {
        const rising = head.getAttribute("aria-sort") !== "ascending";
        sort(column, rising);
      });
    });

    function sort(column, rising) {
      const numeric = column >= 0 && heads[column].classList.contains("numeric");
      const key = (record) => (column < 0 ? record.order : of(record.cells[column]));
      const ordered = [...records].sort((a, b) => {
        const [x, y] = [key(a), key(b)];
        if (column < 0) return x - y;
        if (numeric && (x === "" || y === "")) return (x === "") - (y === "") || a.order - b.order; // none: last
        const by = numeric ? x - y : x.localeCompare(y, "en", { numeric: true });
        return (rising ? by : -by) || a.order - b.order;
      });
      table.append(...ordered.map((record) => record.body));
      heads.forEach((head, at) => {
        head.setAttribute("aria-sort", at !== column ? "none" : rising ? "ascending" : "descending");
      });
    }

    const form = $("#filters");
    const count = $("#count");
    const search = make("input", { type: "search", size: 18, autocomplete: "off" });
    form.append(make("label", {}, "Search", search));
    const selects = heads.flatMap((head, column) => {
      if (!head.dataset.filter) return [];
      const values = [...new Set(records.map((record) => record.cells[column].dataset.f))];
      if (values.length < 2) return [];
      const select = make("select", {}, make("option", { value: "\0", textContent: "all" }));
      values.forEach((value) => select.append(make("option", { value, textContent: value || "none" })));
      form.append(make("label", {}, head.dataset.filter, select));
      return [{ column, select, first: head.dataset.first ?? "\0" }];
    });
    const reset = make("button", { type: "button", textContent: "Reset" });
    form.append(reset);
    form.hidden = false;

    function filter() {
      const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
      let shown = 0;
      for (const { body, cells, text } of records) {
        const kept =
          words.every((word) => text.includes(word)) &&
          selects.every(({ column, select }) => select.value === "\0" || cells[column].dataset.f === select.value);
        body.hidden = !kept;
        shown += kept;
      }
      count.textContent = `${shown} of ${records.length} rows`;
    }

    function clear(everything) {
      search.value = "";
      selects.forEach(({ select, first }) => (select.value = everything ? "\0" : first));
      filter();
    }

    form.addEventListener("input", filter);
    form.addEventListener("submit", (event) => event.preventDefault());
    reset.addEventListener("click", () => {
      sort(-1, true);
      clear(false);
    });
    clear(false);

    const link = (body) => $("a[href^='#']", body.rows[0]);
    function open(body, wanted) {
      body.classList.toggle("open", wanted);
      link(body).setAttribute("aria-expanded", wanted);
    }
    records.forEach(({ body }) => open(body, false));
    table.addEventListener("click", (event) => {
      const chosen = event.target.closest("tbody > tr:first-child a[href^='#']");
      if (!chosen) return;
      event.preventDefault();
      const body = chosen.closest("tbody");
      const wanted = !body.classList.contains("open");
      open(body, wanted);
      history.replaceState(null, "", wanted ? `#${body.id}` : location.pathname + location.search);
    });

    function follow() {
      const body = document.getElementById(decodeURIComponent(location.hash.slice(1)));
      if (body?.parentElement !== table) return;
      if (body.hidden) clear(true);
      open(body, true);
      body.scrollIntoView({ block: "start" });
      link(body).focus({ preventScroll: true });
    }
    addEventListener("hashchange", follow);
    follow();
  }

  /* --- before and after --- */
  for (const figure of $$(".compare")) {
    const slider = $("input", figure);
    const move = () => {
      figure.style.setProperty("--at", `${slider.value}%`);
      slider.setAttribute("aria-valuetext", `${slider.value} % original`);
    };
    slider.addEventListener("input", move);
    move();
    const pair = $(".pair", figure);
    const drag = (event) => {
      if (event.type !== "pointerdown" && !event.buttons) return;
      const box = pair.getBoundingClientRect();
      slider.value = Math.round((100 * (event.clientX - box.left)) / box.width);
      move();
    };
    pair.addEventListener("pointerdown", drag);
    pair.addEventListener("pointermove", drag);
    $$("img", pair).forEach((image) => (image.draggable = false));
  }
  for (const chooser of $$(".chooser")) {
    const groups = $$(".compares", chooser.parentElement);
    if (groups.length < 2) continue;
    const select = make("select");
    groups.forEach((group, at) => {
      select.append(make("option", { value: at, textContent: group.dataset.variant }));
      group.previousElementSibling.hidden = true; // its heading, which the menu replaces
    });
    select.value = groups.findIndex((group) => !("control" in group.dataset));
    if (select.selectedIndex < 0) select.value = 0;
    const show = () => groups.forEach((group, at) => (group.hidden = at !== Number(select.value)));
    select.addEventListener("change", show);
    chooser.append(make("label", {}, "Variant", select));
    chooser.hidden = false;
    show();
  }

  /* --- clips: a button that stops them, beside what the system asks for --- */
  for (const clips of $$(".clips")) {
    const stills = $$("source", clips);
    const asked = stills[0]?.media;
    if (!asked || matchMedia(asked).matches) continue;
    const button = make("button", { type: "button", textContent: "Stop the clips" });
    button.addEventListener("click", () => {
      const stopped = stills[0].media !== asked;
      stills.forEach((still) => (still.media = stopped ? asked : "all"));
      button.textContent = stopped ? "Stop the clips" : "Play the clips";
    });
    clips.before(make("p", {}, button));
  }

  /* --- copying --- */
  for (const text of $$("pre[data-copy]")) {
    const button = make("button", { type: "button", textContent: text.dataset.copy });
    const said = make("span", { className: "soft" });
    said.setAttribute("role", "status");
    button.addEventListener("click", async () => {
      try {
        await navigator.clipboard.writeText(text.textContent);
        said.textContent = " Copied.";
      } catch {
        getSelection().selectAllChildren(text); // a browser that allows no clipboard here: one more key does it
        said.textContent = " Selected: press Ctrl+C.";
      }
    });
    text.after(make("p", {}, button, said));
  }
})();
