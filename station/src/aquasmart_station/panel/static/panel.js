// Renews the live part of the page while somebody looks. The page is whole without it.
"use strict";
(() => {
  const live = document.getElementById("live");
  const every = Number(live.dataset.every);
  const lost = document.createElement("p");
  lost.className = "lost";
  lost.setAttribute("role", "status");
  async function renew() {
    if (!document.hidden) {
      try {
        const answer = await fetch(live.dataset.from, { cache: "no-store", signal: AbortSignal.timeout(8000) });
        if (!answer.ok) throw new Error(String(answer.status));
        live.innerHTML = await answer.text();
        lost.remove();
      } catch {
        lost.textContent = live.dataset.lost;
        live.before(lost);
      }
    }
    setTimeout(renew, every);
  }
  setTimeout(renew, every);
})();
