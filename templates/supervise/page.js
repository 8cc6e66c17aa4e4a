// The live part of the operator's page. The server renders all HTML; what is here fetches it again when something has
// changed, keeps what is being typed, and sends decisions.
"use strict";
(() => {
  // How long buttons are dead after something moved: nobody clicks what wasn't there when he aimed.
  const CALM = 900;
  const byId = (id) => document.getElementById(id);
  const port = location.host;

  // The key came in the fragment, which no server sees; it stays with this origin, port included.
  const given = /^#key=([0-9a-f]{64})$/.exec(location.hash);
  try {
    if (given) {
      localStorage.setItem("key-" + port, given[1]);
      history.replaceState(null, "", location.pathname + location.search);
    }
  } catch { /* Without storage the key lasts as long as this page. */ }
  let key = given ? given[1] : null;
  try { key = key || localStorage.getItem("key-" + port); } catch { /* As above. */ }
  byId("keyless").hidden = Boolean(key);
  byId("logout").hidden = !key;

  let told;
  const tell = (text) => {
    byId("told").textContent = text;
    clearTimeout(told);
    told = setTimeout(() => { byId("told").textContent = ""; }, 6000);
  };

  const send = async (path, body) => {
    const answer = await fetch(path, {
      method: "POST",
      headers: { "content-type": "application/json", "bottle-key": key || "" },
      body: JSON.stringify(body),
    });
    const value = await answer.json().catch(() => ({}));
    if (!answer.ok) {
      const error = value.error || { message: "the answer was " + answer.status, hint: "" };
      const failure = new Error(error.message + (error.hint ? "; " + error.hint : ""));
      failure.code = error.code;
      throw failure;
    }
    return value;
  };

  const hex = (bytes) => [...new Uint8Array(bytes)].map((byte) => byte.toString(16).padStart(2, "0")).join("");

  // Closes a secret so that only egress can open it, as src/sidecar/seal.rs does; without one it is to be forgotten.
  const seal = async (to, name, secret) => {
    const text = new TextEncoder();
    const curve = { name: "ECDH", namedCurve: "P-256" };
    const bytes = Uint8Array.from(to.match(/../g), (two) => parseInt(two, 16));
    const own = await crypto.subtle.generateKey(curve, false, ["deriveBits"]);
    const from = hex(await crypto.subtle.exportKey("raw", own.publicKey));
    const peer = await crypto.subtle.importKey("raw", bytes, curve, false, []);
    const shared = await crypto.subtle.deriveBits({ name: "ECDH", public: peer }, own.privateKey, 256);
    const derived = await crypto.subtle.importKey("raw", shared, "HKDF", false, ["deriveKey"]);
    const info = text.encode(["bottle credential 1", to, from, name].join("\n"));
    const sealing = await crypto.subtle.deriveKey({ name: "HKDF", hash: "SHA-256", salt: new Uint8Array(), info },
      derived, { name: "AES-GCM", length: 256 }, false, ["encrypt"]);
    const message = secret === null ? [0] : [1, ...text.encode(secret)];
    const sealed = await crypto.subtle.encrypt({ name: "AES-GCM", iv: new Uint8Array(12) }, sealing, Uint8Array.from(message));
    return { key: to, from, text: hex(sealed) };
  };

  const enter = async (button) => {
    const form = button.closest("form");
    const name = form.dataset.name;
    const remove = button.dataset.do === "forget";
    const field = form.querySelector("[name=secret]");
    const error = form.querySelector(".error");
    error.hidden = true;
    button.disabled = true;
    try {
      if (!remove && !field.value) throw new Error("nothing is entered");
      const answer = await fetch("/api/credentials");
      const { key: to } = answer.ok ? await answer.json() : {};
      if (!to) throw new Error("egress has not said that it takes credentials");
      await send(`/api/credentials/${encodeURIComponent(name)}`, { message: await seal(to, name, remove ? null : field.value), remove });
      field.value = "";
      field.blur();
      tell(remove ? `${name} is removed.` : `${name} is entered.`);
    } catch (failure) {
      error.textContent = failure.message;
      error.hidden = false;
    }
    button.disabled = false;
    await refresh();
  };

  // Buttons that decide are armed only while nothing moves.
  let calm;
  const buttons = () => document.querySelectorAll("[data-do=approve], [data-do=reject], [data-do=revoke]");
  const disarm = () => {
    buttons().forEach((button) => { button.disabled = true; });
    clearTimeout(calm);
    calm = setTimeout(() => buttons().forEach((button) => {
      button.disabled = !key || button.closest("[data-busy]") !== null;
    }), CALM);
  };

  const dirty = (card) => card.contains(document.activeElement) && document.activeElement.matches("input, textarea")
    || [...card.querySelectorAll("input, textarea")].some((field) => field.type === "checkbox" || field.type === "radio"
      ? field.checked !== field.defaultChecked : field.value !== field.defaultValue);

  // Takes over the cards one by one: one that is being worked on stays, and only its counts change.
  const takeCards = (fresh) => {
    const cards = byId("cards");
    const have = new Map([...cards.children].map((card) => [card.dataset.key, card]));
    let moved = false;
    let focusLost = false;
    const next = [...fresh.children].map((card) => {
      const old = have.get(card.dataset.key);
      have.delete(card.dataset.key);
      if (!old) { moved = true; return card; }
      if (old.dataset.version === card.dataset.version || dirty(old)) {
        card.querySelectorAll("[data-live]").forEach((part) => {
          const place = old.querySelector(`[data-live="${part.dataset.live}"]`);
          const open = place && place.querySelector("details[open]");
          if (open && part.querySelector("details")) part.querySelector("details").open = true;
          if (place && place.outerHTML !== part.outerHTML) place.replaceWith(part);
        });
        return old;
      }
      focusLost = focusLost || old.contains(document.activeElement);
      card.classList.add("changed");
      moved = true;
      return card;
    });
    for (const gone of have.values()) {
      focusLost = focusLost || gone.contains(document.activeElement);
      moved = true;
    }
    next.forEach((card, at) => { if (cards.children[at] !== card) cards.insertBefore(card, cards.children[at] || null); });
    while (cards.children.length > next.length) cards.lastElementChild.remove();
    if (focusLost) byId("pending").focus({ preventScroll: true });
    return moved;
  };

  // Takes over a section as a whole; the focus and what is unfolded stay.
  const takeSection = (fresh) => {
    const old = byId(fresh.id);
    if (old && old.isEqualNode(fresh)) return false;
    // What is being entered stays, and so does why it was refused.
    if (old && [...old.querySelectorAll("[type=password]")].some((field) => field.value || field === document.activeElement)) return false;
    if (!old || old.contains(document.activeElement) && document.activeElement.matches("select")) return false;
    const focus = old.contains(document.activeElement) ? document.activeElement.id : "";
    const scroll = old.querySelector(".scroll") ? old.querySelector(".scroll").scrollTop : 0;
    old.querySelectorAll("details[id]").forEach((details) => {
      const same = [...fresh.querySelectorAll("details[id]")].find((each) => each.id === details.id);
      if (same) same.open = details.open;
    });
    const before = [...old.querySelectorAll(".revoke")].map((button) => button.id).join();
    const after = [...fresh.querySelectorAll(".revoke")].map((button) => button.id).join();
    fresh.querySelectorAll(".revoke").forEach((button) => {
      const same = byId(button.id);
      button.disabled = !same || same.disabled;
    });
    old.replaceWith(fresh);
    if (scroll) fresh.querySelector(".scroll").scrollTop = scroll;
    if (focus && byId(focus)) byId(focus).focus({ preventScroll: true });
    return before !== after;
  };

  let ahead = 0;
  const tick = () => {
    const now = Math.floor(Date.now() / 1000) + ahead;
    const two = (much, left, unit) => much + (left ? " " + left + " " + unit : "");
    const words = (s) => s < 60 ? s + " s" : s < 3600 ? Math.floor(s / 60) + " min"
      : s < 86400 ? two(Math.floor(s / 3600) + " h", Math.floor(s % 3600 / 60), "min")
      : two(Math.floor(s / 86400) + " d", Math.floor(s % 86400 / 3600), "h");
    document.querySelectorAll("[data-at]").forEach((time) => {
      const ago = now - Number(time.dataset.at);
      time.textContent = ago > 0 ? words(ago) + " ago" : "now";
    });
    document.querySelectorAll("[data-until]").forEach((left) => {
      left.textContent = words(Math.max(0, Number(left.dataset.until) - now)) + " left";
    });
  };

  let fetching = false;
  let again = false;
  const refresh = async () => {
    if (fetching) { again = true; return; }
    fetching = true;
    try {
      do {
        again = false;
        const answer = await fetch("/parts?code=" + encodeURIComponent(byId("code").value));
        if (answer.status === 401) { location.reload(); return; }
        if (!answer.ok) throw new Error("the answer was " + answer.status);
        const fresh = new DOMParser().parseFromString(await answer.text(), "text/html").getElementById("parts");
        ahead = Number(fresh.dataset.now) - Math.floor(Date.now() / 1000);
        const count = fresh.querySelector("#pending-title").textContent;
        const waiting = fresh.querySelectorAll(".card").length;
        let moved = takeCards(document.adoptNode(fresh.querySelector("#cards")));
        if (byId("pending-title").textContent !== count) {
          byId("pending-title").replaceWith(document.adoptNode(fresh.querySelector("#pending-title")));
        }
        document.title = (waiting ? "(" + waiting + ") " : "") + "bottle: requests";
        for (const id of ["health", "credentials", "grants", "decided", "traffic"]) {
          const changed = takeSection(document.adoptNode(fresh.querySelector("#" + id)));
          moved = moved || changed;
        }
        tick();
        if (moved) disarm();
      } while (again);
    } catch (error) {
      tell("The page could not be brought up to date: " + error.message);
    } finally {
      fetching = false;
    }
  };

  // The rule with what the operator took out of it.
  const narrowed = (card) => {
    const rule = JSON.parse(card.dataset.rule);
    const checked = (name) => [...card.querySelectorAll(`input[name=${name}]:checked`)].map((box) => box.value);
    if (rule.route) {
      rule.route.methods = checked("method");
      rule.route.paths = card.querySelector("[name=paths]").value.split("\n").map((path) => path.trim()).filter(Boolean);
      if (!rule.route.methods.length || !rule.route.paths.length) throw new Error("leave at least one method and one path");
    }
    if (rule.push) {
      rule.push.rule.allow = checked("operation");
      rule.push.rule.refs = card.querySelector("[name=refs]").value.trim();
      if (!rule.push.rule.allow.length || !rule.push.rule.refs) throw new Error("leave at least one operation, and name the refs");
    }
    return rule;
  };

  const decide = async (button, card) => {
    const error = card.querySelector(".error");
    const words = card.querySelector("[name=words]").value;
    const id = card.dataset.key;
    error.hidden = true;
    card.dataset.busy = "";
    disarm();
    try {
      if (button.dataset.do === "reject") {
        await send(`/api/requests/${id}/reject`, { words });
        tell(`${id} is rejected.`);
      } else {
        const chosen = card.querySelector("[type=radio]:checked").value;
        const scope = /^\d+$/.test(chosen) ? { seconds: Number(chosen) } : chosen;
        const answer = await send(`/api/requests/${id}/approve`, { scope, rule: narrowed(card), review: card.dataset.review, words });
        tell(`${id} is approved.` + (chosen === "always" && answer.grant ? " The lines for bottle.yaml stand beside it." : ""));
      }
      card.remove();
      byId("pending").focus({ preventScroll: true });
    } catch (failure) {
      delete card.dataset.busy;
      if (failure.code === "review-stale") {
        // What was seen is not what would be decided on: the card as it is now, and the decision anew.
        card.dataset.version = "";
        card.querySelector("form").reset();
        document.activeElement.blur();
        tell("Something else has changed meanwhile: look at " + id + " again.");
      } else {
        error.textContent = failure.message;
        error.hidden = false;
      }
    }
    await refresh();
    disarm();
  };

  const copy = async (button) => {
    const of = byId(button.dataset.of);
    try {
      await navigator.clipboard.writeText(of.textContent + "\n");
      tell("Copied.");
    } catch {
      getSelection().selectAllChildren(of);
      tell("Selected: copy it with the keyboard.");
    }
  };

  document.addEventListener("click", async (event) => {
    const button = event.target.closest("[data-do]");
    if (!button || button.disabled) return;
    if (button.dataset.do === "enter" || button.dataset.do === "forget") { enter(button); return; }
    if (button.dataset.do === "copy") { copy(button); return; }
    if (button.dataset.do === "revoke") {
      button.disabled = true;
      try {
        await send(`/api/grants/${button.dataset.id}/revoke`, {});
        tell(`${button.dataset.id} is revoked.`);
      } catch (failure) { tell(failure.message); }
      await refresh();
      disarm();
      return;
    }
    decide(button, button.closest(".card"));
  });
  document.addEventListener("submit", (event) => {
    // Enter in a field decides nothing.
    event.preventDefault();
    if (event.target.matches(".filter")) filter();
  });
  const filter = () => {
    const code = byId("code").value;
    history.replaceState(null, "", code ? "/?code=" + encodeURIComponent(code) : "/");
    byId("code").blur();
    refresh();
  };
  document.addEventListener("change", (event) => { if (event.target.id === "code") filter(); });
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.matches("input, textarea, select")) return;
    if (event.key !== "j" && event.key !== "k") return;
    const cards = [...document.querySelectorAll(".card")];
    const at = cards.findIndex((card) => card.contains(document.activeElement));
    const next = cards[event.key === "j" ? at + 1 : at < 0 ? cards.length - 1 : at - 1];
    if (next) { next.focus(); next.scrollIntoView({ block: "nearest" }); }
  });
  byId("logout").addEventListener("click", async () => {
    try {
      await send("/api/logout", {});
      localStorage.removeItem("key-" + port);
    } catch { /* The page that comes says whether it worked. */ }
    location.reload();
  });

  // A hidden page lets its stream go: a browser has few connections to one host.
  let stream;
  let soon;
  let later = 0;
  const state = (on) => {
    byId("link").dataset.state = on ? "on" : "off";
    byId("link").textContent = on ? "live" : "not live";
  };
  const open = () => {
    if (stream) return;
    stream = new EventSource("/api/events");
    const changed = () => { clearTimeout(soon); soon = setTimeout(refresh, 60); };
    stream.addEventListener("desk", changed);
    stream.addEventListener("report", changed);
    // Traffic may never stop; once a second is enough to read it.
    stream.addEventListener("traffic", () => {
      later = later || setTimeout(() => { later = 0; refresh(); }, 1000);
    });
    stream.onopen = () => state(true);
    stream.onerror = () => {
      state(false);
      // A browser gives up where the answer was no stream.
      if (stream && stream.readyState === EventSource.CLOSED) { close(); setTimeout(open, 3000); }
    };
  };
  const close = () => { if (stream) stream.close(); stream = null; state(false); };
  document.addEventListener("visibilitychange", () => document.hidden ? close() : open());
  addEventListener("pagehide", close);
  setInterval(tick, 1000);
  disarm();
  open();
})();
