"use strict";
const at = (id) => document.getElementById(id);
const answer = at("answer"), state = at("state"), token = at("token"), who = at("who");
const PROTOCOL = "graphql-transport-ws";
const INTROSPECTION = `query Schema { __schema { queryType { name } mutationType { name } subscriptionType { name }
  types { kind name description fields(includeDeprecated: true) { name description args { name type { ...T } }
  type { ...T } } inputFields { name description type { ...T } } enumValues { name description } } } }
  fragment T on __Type { kind name ofType { kind name ofType { kind name ofType { kind name } } } }`;
let socket = null;

function say(where, words, wrong = false) {
  where.textContent = words;
  where.classList.toggle("wrong", wrong);
}

function show(value) {
  answer.textContent = typeof value === "string" ? value : JSON.stringify(value, null, 2);
}

async function post(path, body, bearer) {
  const headers = { "content-type": "application/json" };
  if (bearer) headers.authorization = `Bearer ${bearer}`;
  const reply = await fetch(path, { method: "POST", headers, body: JSON.stringify(body), credentials: "omit" });
  return { status: reply.status, body: await reply.json() };
}

function readVariables() {
  const text = at("variables").value.trim();
  return text ? JSON.parse(text) : {};
}

async function signIn(event) {
  event.preventDefault();
  const given = { username: at("username").value, password: at("password").value };
  const reply = await post("graphql/token", given);
  if (reply.status !== 200) return say(who, reply.body.title || "Signing in failed.", true);
  token.value = reply.body.access_token;
  at("password").value = "";
  say(who, `Signed in as ${given.username}, for ${Math.floor(reply.body.expires_in / 60)} minutes.`);
}

async function run() {
  stop();
  let variables;
  try {
    variables = readVariables();
  } catch {
    return say(state, "The variables are no valid JSON.", true);
  }
  const query = at("document").value;
  if (/^\s*(#[^\n]*\n\s*)*subscription\b/.test(query)) return listen(query, variables);
  const began = performance.now();
  say(state, "Asking…");
  try {
    const reply = await post("graphql", { query, variables }, token.value);
    const failed = reply.status !== 200 || Boolean(reply.body.errors);
    say(state, `${failed ? "Answered with errors" : "Answered"} in ${Math.round(performance.now() - began)} ms.`, failed);
    show(reply.body);
  } catch {
    say(state, "No answer: is the platform running?", true);
  }
}

function listen(query, variables) {
  const address = new URL("graphql", location.href);
  address.protocol = address.protocol === "https:" ? "wss:" : "ws:";
  const mine = (socket = new WebSocket(address, PROTOCOL));
  const seen = [];
  at("stop").disabled = false;
  show("");
  say(state, "Connecting…");
  mine.onopen = () => mine.send(JSON.stringify({ type: "connection_init", payload: { Authorization: `Bearer ${token.value}` } }));
  mine.onmessage = (event) => {
    const message = JSON.parse(event.data);
    if (message.type === "connection_ack") {
      mine.send(JSON.stringify({ id: "1", type: "subscribe", payload: { query, variables } }));
      say(state, "Listening…");
    } else if (message.type === "ping") mine.send(JSON.stringify({ type: "pong" }));
    else if (message.type === "next") {
      seen.unshift(message.payload);
      seen.length = Math.min(seen.length, 50);
      say(state, "Listening; newest first.");
      show(seen);
    } else if (message.type === "error") {
      show(message.payload);
      stop("The subscription was refused.", true);
    } else if (message.type === "complete") stop("The subscription ended.");
  };
  mine.onclose = (event) => {
    if (socket === mine) stop(`Closed${event.reason ? `: ${event.reason}` : ""} (${event.code}).`, event.code !== 1000);
  };
}

function stop(words, wrong = false) {
  const old = socket;
  socket = null;
  if (old) old.close(1000);
  at("stop").disabled = true;
  if (words) say(state, words, wrong);
}

function typeName(type) {
  if (type.kind === "NON_NULL") return `${typeName(type.ofType)}!`;
  return type.kind === "LIST" ? `[${typeName(type.ofType)}]` : type.name;
}

function element(name, text) {
  const made = document.createElement(name);
  if (text) made.textContent = text;
  return made;
}

function entryOf(field) {
  const item = element("li");
  const given = (field.args || []).map((one) => `${one.name}: ${typeName(one.type)}`).join(", ");
  item.append(element("code", `${field.name}${given ? `(${given})` : ""}${field.type ? `: ${typeName(field.type)}` : ""}`));
  if (field.description) item.append(` ${field.description}`);
  return item;
}

function cardOf(type) {
  const card = element("details"), list = element("ul");
  card.append(element("summary", type.name));
  if (type.description) card.append(element("p", type.description));
  list.append(...[...(type.fields || []), ...(type.inputFields || []), ...(type.enumValues || [])].map(entryOf));
  card.append(list);
  return card;
}

async function loadSchema() {
  const where = at("schema-state");
  say(where, "Loading…");
  const reply = await post("graphql", { query: INTROSPECTION }, token.value);
  const schema = reply.body.data && reply.body.data.__schema;
  if (!schema) {
    const why = (reply.body.errors || [{ message: reply.body.title }])[0].message;
    return say(where, why || "The schema could not be loaded.", true);
  }
  const roots = [schema.queryType, schema.mutationType, schema.subscriptionType].filter(Boolean).map((one) => one.name);
  const rank = (type) => (roots.includes(type.name) ? roots.indexOf(type.name) : roots.length);
  const types = schema.types.filter((type) => !type.name.startsWith("__"));
  types.sort((a, b) => rank(a) - rank(b) || a.name.localeCompare(b.name));
  at("types").replaceChildren(...types.map(cardOf));
  at("find").hidden = at("find-label").hidden = false;
  say(where, `${types.length} types.`);
}

function find() {
  const wanted = at("find").value.trim().toLowerCase();
  for (const card of at("types").children) card.hidden = !card.textContent.toLowerCase().includes(wanted);
}

if (at("sign-in")) at("sign-in").addEventListener("submit", signIn);
at("run").addEventListener("click", run);
at("stop").addEventListener("click", () => stop("Stopped."));
at("load").addEventListener("click", loadSchema);
at("find").addEventListener("input", find);
token.addEventListener("input", () => say(who, token.value ? "A token is set." : "No token yet: every question needs one."));
at("document").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
    event.preventDefault();
    run();
  }
});
