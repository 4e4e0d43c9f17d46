// Sends the form's text to the real POST /api/events, with the header for a fault where one is chosen, and shows the answer.

const form = document.getElementById("try");
const status = document.getElementById("status");
const answer = document.getElementById("answer");
const WORDS = { 200: "known already, nothing counted", 201: "processed", 207: "some failed", 409: "its id is another event's", 422: "failed, and kept", 500: "a fault", 503: "nothing is certain: send it again" };

document.documentElement.classList.add("js");

async function send(event) {
  event.preventDefault();
  const fault = document.getElementById("fault")?.value;
  const headers = { "Content-Type": "application/json", ...(fault ? { "X-Fault": fault } : {}) };
  const client = encodeURIComponent(document.getElementById("client").value);
  status.textContent = "sending …";
  answer.textContent = "";
  try {
    const body = document.getElementById("body").value;
    const got = await fetch(`/api/events?client=${client}`, { method: "POST", headers, body });
    const text = await got.text();
    status.textContent = `${got.status}: ${WORDS[got.status] ?? "refused"}`;
    answer.textContent = text;
  } catch {
    status.textContent = "no answer came: nobody knows whether it was stored. Send it again: it counts once";
  }
}

form?.addEventListener("submit", send);
