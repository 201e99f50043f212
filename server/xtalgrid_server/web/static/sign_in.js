// Signing in without leaving the page: the viewer's own sign-in page in a dialog that leaves the keys alone.

import { changes, signedIn } from "./waiting.js";

const dialog = document.getElementById("sign-in");
const signInPage = new URL("sign-in", document.querySelector(".brand").href);
const me = document.body.dataset.visitor;

async function read(answer) {
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  const { visitor, formToken } = page.body.dataset;
  if (visitor === me) {
    dialog.close();
    signedIn(formToken);
    dialog.dispatchEvent(new Event("signed-in"));
    return;
  }
  const content = document.importNode(page.querySelector(".message"), true);
  content.querySelector("[autofocus]")?.removeAttribute("autofocus");  // what is being typed is a score
  const name = content.querySelector("#name");
  if (name) {
    name.value = me;
    content.querySelector("[name=then]").value = "/sign-in";  // below the viewer's path, as in all forms
  }
  const why = document.createElement("p");
  why.setAttribute("role", "alert");
  why.textContent = visitor
    ? `This browser is now signed in as ${visitor}. The scores of ${me} are kept here and are not sent under another name: sign in as ${me} to save them.`
    : `You are no longer signed in. Your scores are kept here: sign in as ${me} to save them.`;
  content.querySelector("h1").after(why);
  const later = document.createElement("form");
  later.method = "dialog";
  const button = document.createElement("button");
  button.textContent = visitor ? `Go on as ${visitor}` : "Later";
  later.append(button);
  if (visitor) later.addEventListener("submit", () => location.reload());
  dialog.replaceChildren(content, later);
}

async function ask() {
  if (dialog.open) return;
  const focused = document.activeElement;
  dialog.show();
  focused?.focus({ preventScroll: true });
  if (document.activeElement && dialog.contains(document.activeElement)) document.activeElement.blur();
  try {
    await read(await fetch(signInPage));
  } catch {
    dialog.close();
    setTimeout(ask, 2000);
  }
}

dialog.addEventListener("submit", async (event) => {
  if (event.target.method === "dialog") return;
  event.preventDefault();
  const form = event.target;
  try {  // its own address is relative to the sign-in page, not to this one
    await read(await fetch(signInPage, { method: "POST", body: new URLSearchParams(new FormData(form)) }));
  } catch {
    form.querySelector("button").insertAdjacentText("beforebegin", "The viewer does not answer; try again.");
  }
});

changes.addEventListener("sign-in", ask);
changes.addEventListener("settled", () => dialog.close());  // signed in on another page
