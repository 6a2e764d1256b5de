// The API reference: one block for each route of openapi.json, with its parameters, the fields of its body and its
// answers. It shows what the server declares and knows no route by name.

const METHODS = ["get", "post", "put", "patch", "delete"];

function element(name, content = [], attributes = {}) {
  const made = Object.assign(document.createElement(name), attributes);
  made.append(...[content].flat());
  return made;
}

// A JSON schema in one line: type, choices, range, default.
function describe(schema = {}) {
  if (schema.anyOf) return schema.anyOf.map(describe).join(" or ");
  const parts = [schema.enum ? schema.enum.join(", ") : (schema.const ?? schema.type ?? "any")];
  if (schema.type === "array") parts.push(`of ${describe(schema.items)}`);
  const least = schema.minimum ?? schema.exclusiveMinimum;
  const most = schema.maximum ?? schema.exclusiveMaximum;
  if (least !== undefined || most !== undefined) parts.push(`${least ?? ""} to ${most ?? ""}`);
  if (schema.maxLength !== undefined) parts.push(`at most ${schema.maxLength} characters`);
  if (schema.default !== undefined && schema.default !== null) parts.push(`default ${JSON.stringify(schema.default)}`);
  return parts.join(" ");
}

function table(caption, rows) {
  if (rows.length === 0) return [];
  const cells = rows.map((row) => element("tr", row.map((text, place) => element("td", place ? text : element("code", text)))));
  return [element("table", [element("caption", caption), element("tbody", cells)])];
}

function fields(schema, required = schema?.required ?? []) {
  return Object.entries(schema?.properties ?? {}).map(([name, field]) => [
    name,
    describe(field) + (required.includes(name) ? ", required" : ""),
  ]);
}

function route(path, method, operation) {
  const parameters = (operation.parameters ?? []).map((one) => [
    one.name,
    `${one.in}, ${describe(one.schema)}${one.required ? ", required" : ""}`,
  ]);
  const bodies = Object.entries(operation.requestBody?.content ?? {});
  const answers = Object.entries(operation.responses ?? {}).map(([status, { description, content = {} }]) => {
    const types = Object.keys(content).join(", ");
    return [status, types && status === "200" ? `${description}: ${types}` : description];
  });
  const heading = element("summary", [element("b", method.toUpperCase()), " ", element("code", path), " ", element("span", operation.summary ?? "")]);
  return element("details", [
    heading,
    ...(operation.description ? [element("p", operation.description)] : []),
    ...table("Parameters", parameters),
    ...bodies.flatMap(([type, { schema }]) => table(`Body: ${type}`, fields(schema))),
    ...table("Answers", answers),
  ], { className: "card route" });
}

async function show() {
  const place = document.querySelector("#routes");
  try {
    const answer = await fetch("openapi.json");
    if (!answer.ok) throw new Error(`openapi.json answered ${answer.status}`);
    const { paths } = await answer.json();
    const routes = Object.entries(paths).flatMap(([path, methods]) =>
      METHODS.filter((method) => methods[method]).map((method) => route(path, method, methods[method])),
    );
    place.replaceChildren(...routes);
  } catch (error) {
    place.replaceChildren(element("p", `The reference could not be loaded: ${error.message}`, { className: "card problem" }));
  }
}

show();
