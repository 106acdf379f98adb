"""The docs page: one HTML document that draws /openapi.json, without anything from another host."""

DOCS_PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>llmrec-ray: HTTP interface</title>
<style>
  body { font: 16px/1.5 system-ui, sans-serif; max-width: 56rem; margin: 2rem auto }
  body { padding: 0 1rem; color: #222 }
  summary { cursor: pointer; padding: .4rem 0 }
  code, pre, textarea { font: 13px/1.45 ui-monospace, monospace }
  details { border-bottom: 1px solid #ddd }
  .method { display: inline-block; min-width: 4.5rem; font-weight: 600 }
  pre, textarea { background: #f6f6f4; padding: .7rem; overflow: auto; max-height: 24rem }
  textarea { width: 100%; min-height: 9rem; box-sizing: border-box; border: 1px solid #ccc }
  input { font: inherit; margin: 0 .5rem .5rem 0 } button { font: inherit; padding: .2rem 1rem }
  .POST { color: #07617d } .GET { color: #2a6b2a } .DELETE { color: #9a2a2a }
</style>
<h1 id="title"></h1><p id="about"></p><p><a href="openapi.json">openapi.json</a></p>
<p><input id="key" type="password" placeholder="API key" autocomplete="off"></p><main></main>
<script>
const el = (name, properties = {}, ...children) => {
  const node = Object.assign(document.createElement(name), properties);
  node.append(...children);
  return node;
};
const draw = (path, method, operation) => {
  const verb = method.toUpperCase();
  const box = el("details", {}, el("summary", {},
    el("span", { className: "method " + verb, textContent: verb }),
    el("code", { textContent: path }), " " + (operation.summary || "")));
  const inputs = (operation.parameters || []).map(parameter => {
    const title = JSON.stringify(parameter.schema);
    const input = el("input", { placeholder: parameter.name, title });
    box.append(input);
    return { parameter, input };
  });
  const schema = operation.requestBody && operation.requestBody.content["application/json"].schema;
  const body = schema && el("textarea", { value: "{}", spellcheck: false });
  if (body) box.append(el("div", {}, "Body: ", el("a", { href: "#" + schema.$ref.split("/").pop(),
    textContent: schema.$ref.split("/").pop() })), body);
  const out = el("pre");
  const send = el("button", { textContent: "Send", onclick: async () => {
    let url = path;
    const query = new URLSearchParams();
    for (const { parameter, input } of inputs) {
      const value = encodeURIComponent(input.value);
      if (parameter.in === "path") url = url.replace(`{${parameter.name}}`, value);
      else if (input.value) query.set(parameter.name, input.value);
    }
    if (query.size) url += "?" + query;
    const headers = key.value ? { "X-API-Key": key.value } : {};
    if (body) headers["Content-Type"] = "application/json";
    const answer = await fetch(url, { method: verb, headers, body: body ? body.value : null });
    const text = await answer.text();
    try { out.textContent = answer.status + "\\n" + JSON.stringify(JSON.parse(text), null, 2); }
    catch { out.textContent = answer.status + "\\n" + text; }
  } });
  box.append(send, out);
  for (const [status, told] of Object.entries(operation.responses || {}))
    box.append(el("div", {}, el("code", { textContent: status }), " " + told.description));
  return box;
};
fetch("openapi.json").then(answer => answer.json()).then(spec => {
  title.textContent = spec.info.title;
  about.textContent = spec.info.description;
  const main = document.querySelector("main");
  for (const [path, methods] of Object.entries(spec.paths))
    for (const [method, operation] of Object.entries(methods))
      main.append(draw(path, method, operation));
  main.append(el("h2", { textContent: "Messages" }));
  for (const [name, schema] of Object.entries(spec.components.schemas))
    main.append(el("details", { id: name }, el("summary", {}, el("code", { textContent: name }),
      " " + (schema.description || "")),
      el("pre", { textContent: JSON.stringify(schema, null, 2) })));
});
</script>
</html>
"""
