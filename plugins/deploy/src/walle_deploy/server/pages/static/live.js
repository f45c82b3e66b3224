// Pages work without this file. With it, parts marked data-live follow the server, and forms marked data-inline answer in place.
"use strict";
(() => {
  const page = () => location.pathname + location.search;
  let shown = page();

  // Replaces what is marked by what the server now says of it; what has not changed keeps its place, focus and voice.
  const swap = (html) => {
    const fresh = new DOMParser().parseFromString(html, "text/html");
    for (const part of document.querySelectorAll("[data-live][id]")) {
      const other = fresh.getElementById(part.id);
      if (!other || other.innerHTML === part.innerHTML) continue;
      const focused = part.contains(document.activeElement) ? document.activeElement.id : "";
      const opened = [...part.querySelectorAll("details[open][id]")].map((one) => one.id);
      part.replaceChildren(...other.childNodes);
      for (const id of opened) document.getElementById(id)?.setAttribute("open", "");
      if (focused) (document.getElementById(focused) || document.getElementById("main")).focus();
    }
  };

  const load = async (url, options) => {
    const answer = await fetch(url, { credentials: "same-origin", ...options });
    return { answer, html: await answer.text() };
  };

  let wanted = false, busy = false;
  const refresh = async () => {
    wanted = true;
    if (busy) return;
    busy = true;
    try {
      while (wanted) {
        wanted = false;
        const { answer, html } = await load(page());
        if (answer.redirected) return location.reload(); // logged out
        if (answer.ok) swap(html);
        await new Promise((done) => setTimeout(done, 500)); // many changes at once are one
      }
    } catch { /* the connection is down: the stream tells when it is back */ } finally { busy = false; }
  };

  let stream = null;
  const follow = () => {
    const url = document.body.dataset.events;
    if (!url) return;
    const state = document.getElementById("live-state");
    const tell = (text) => { if (state && state.textContent !== text) state.textContent = text; };
    stream?.close();
    stream = document.hidden ? null : new EventSource(url); // a browser allows few connections: only what is seen has one
    if (!stream) return;
    stream.addEventListener("open", () => { tell("Live"); refresh(); });
    stream.addEventListener("message", refresh);
    stream.addEventListener("time", refresh);
    stream.addEventListener("error", () => tell("Connection lost, trying again"));
  };

  // A form whose answer is another state of the same page changes only <main>; everything else is an ordinary request.
  document.addEventListener("submit", async (event) => {
    const form = event.target;
    if (!form.matches("form[data-inline]") || form.method !== "get") return;
    event.preventDefault();
    const url = form.action.split("?")[0] + "?" + new URLSearchParams(new FormData(form, event.submitter));
    try {
      const { answer, html } = await load(url);
      const main = new DOMParser().parseFromString(html, "text/html").getElementById("main");
      if (!answer.ok || answer.redirected || !main) return location.assign(url);
      history.pushState(null, "", url);
      shown = page();
      document.getElementById("main").replaceChildren(...main.childNodes);
      (document.getElementById("answer") || document.getElementById("main")).focus();
    } catch { location.assign(url); }
  });
  addEventListener("popstate", () => { if (page() !== shown) location.reload(); }); // not for a place within the page
  document.addEventListener("visibilitychange", follow);
  addEventListener("pagehide", () => stream?.close());
  follow();
})();
