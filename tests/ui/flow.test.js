import { test } from "node:test";
import assert from "node:assert/strict";
import * as flow from "./assets/flow.js";
import { formatRoute, parseRoute } from "./assets/views.js";
import { EVIL, complaintsAbout, hostile, stateOf, totals } from "./states.js";

const { page } = flow;
const pages = { flow: page };
const GATEWAY = { status: "connected", text: "connected", version: "2026.9.6", nodes: [] };

function sums(calls, more = {}) {
  return { model_calls: calls, total_tokens: calls * 1000, cost_nano_usd: calls * 1e7, plan_cost_nano_usd: 0, unpriced_calls: 0, messages: null, tool_calls: null, errors: 0, latency_ms: 1200, ...more };
}

const node = (kind, key, calls, more = {}) => ({ id: `${kind}:${key}`, kind, key, label: key.split("/").pop(), running: 0, ...sums(calls, more) });

/** So many channels, agents, models and tools, each with a ribbon to every one of the next. */
function answer({ channels = 2, agents = 3, models = 2, tools = 4 } = {}, more = {}) {
  const of = (kind, count, name = (i) => `${kind}-${i}`) => Array.from({ length: count }, (_, i) => node(kind, name(i), 100 * (count - i)));
  const layers = [of("channel", channels), [node("gateway", "", 9999)], of("agent", agents), of("model", models, (i) => `acme/m${i}`), [...of("tool", tools), node("tool", "(none)", 5000)]];
  const edges = layers.slice(1).flatMap((layer, i) => layers[i].flatMap((a) => layer.map((b) => ({ from: a.id, to: b.id, ...sums(10) }))));
  return { from_ms: 0, to_ms: 1, tz: "UTC", as_of_ms: 1, totals: totals(5e9), nodes: layers.flat(), edges, gateway: GATEWAY, coverage: null, ...more };
}

const state = (data, { hash = "#/flow", width = 1200, ...more } = {}) => stateOf({ route: parseRoute(hash, pages), widths: { flow: width }, answers: { flow: { data, error: null } }, ...more });
const draw = (...given) => String(page.view(state(...given)));
const many = { channels: 20, agents: 30, models: 20, tools: 60 };

test("the address holds what the width stands for", () => {
  for (const hash of ["#/flow", "#/flow?range=7d&agent=main&show=cost"]) assert.equal(formatRoute(parseRoute(hash, pages), pages), hash);
  assert.equal(parseRoute("#/flow?show=<b>", pages).shown, "calls");
  assert.deepEqual(page.asks(state(answer(), { hash: "#/flow?range=7d&channel=(none)" }))[0].params, { from: "7d", channel: "(none)" });
});

test("only what exists is drawn, and calls without a tool end at their model", () => {
  const { layers } = flow.graphOf(answer(), "calls", 10);
  assert.deepEqual(layers.map(({ kind, nodes }) => [kind, nodes.length]), [["channel", 2], ["gateway", 1], ["agent", 3], ["model", 2], ["tool", 4]]);
  assert.doesNotMatch(draw(answer()), /tool:\(none\)/);
  assert.match(draw({ ...answer(), nodes: [], edges: [] }), /Nothing went through in this range/);
});

test("the largest of many are cards, the others one card with their sums", () => {
  const data = answer(many);
  const { layers, edges, drawn } = flow.graphOf(data, "calls", 10);
  const tools = layers.find(({ kind }) => kind === "tool");
  assert.deepEqual([tools.nodes.length, tools.count], [11, 60]);
  const more = tools.nodes[10];
  assert.deepEqual([more.id, more.members, more.label], ["more:tool", 50, "and 50 more"]);
  assert.equal(more.model_calls, Array.from({ length: 50 }, (_, i) => 100 * (i + 1)).reduce((a, b) => a + b));
  assert.equal(more.latency_ms, 1200);
  const total = (list) => list.filter((edge) => /^m(odel|ore:model)/.test(edge.from)).reduce((sum, edge) => sum + edge.model_calls, 0);
  assert.equal(total(edges), total(data.edges.filter((edge) => edge.to !== "tool:(none)")));
  assert.equal(drawn.get("tool:tool-59"), "more:tool");
  assert.ok(edges.every(({ from, to }) => [from, to].every((id) => layers.some(({ nodes }) => nodes.some((one) => one.id === id)))));
  assert.match(draw(data), /Show all/);
});

test("twelve are drawn rather than ten and two more hidden behind one", () => {
  const drawn = (tools) => flow.graphOf(answer({ tools }), "calls", 10).layers.at(-1).nodes.length;
  assert.deepEqual([drawn(10), drawn(11), drawn(12)], [10, 11, 11]);
});

for (const width of [340, 639, 640, 900, 1200, 1640]) {
  test(`cards of a window of ${width} px lie inside it and apart from each other`, () => {
    for (const data of [answer(), answer(many)]) {
      for (const most of [3, 10, Infinity]) {
        const graph = flow.graphOf(data, "calls", most);
        const { places, ribbons, height } = flow.layoutOf(graph, "calls", width);
        const all = [...places.values()];
        assert.deepEqual(all.filter((one) => one.x < 0 || one.x + one.width > width + 1 || one.y < 0 || one.y + one.height > height + 1), []);
        const apart = (a, b) => a.x + a.width <= b.x || b.x + b.width <= a.x || a.y + a.height <= b.y || b.y + b.height <= a.y;
        assert.deepEqual(all.flatMap((a, i) => all.slice(i + 1).filter((b) => !apart(a, b)).map((b) => [a, b])), []);
        for (const { path, thick } of ribbons) assert.ok(/^[MC\d. -]+$/.test(path) && thick > 0 && thick <= 26, path);
      }
    }
  });
}

test("a wider ribbon carries more", () => {
  const data = answer({ channels: 2, agents: 1, models: 1, tools: 1 });
  Object.assign(data.edges[0], sums(900));
  const { ribbons } = flow.layoutOf(flow.graphOf(data, "calls", 10), "calls", 1200);
  assert.ok(ribbons[0].thick > 5 * ribbons[1].thick);
});

test("a card leads to the numbers of just that, with range and filters kept", () => {
  const text = draw(answer(), { hash: "#/flow?range=7d&cause=user" });
  const href = (id) => new RegExp(`href="([^"]*)"[^>]*data-key="${id.replace(">", "&gt;")}"`).exec(text)?.[1].replaceAll("&amp;", "&");
  assert.equal(href("channel:channel-0"), "#/cost?range=7d&channel=channel-0&cause=user");
  assert.equal(href("model:acme/m1"), "#/cost?range=7d&model=acme/m1&cause=user");
  assert.equal(href("tool:tool-0"), "#/cost?range=7d&cause=user&by=tool");
  assert.equal(href("agent:agent-1>model:acme/m0"), "#/cost?range=7d&agent=agent-1&model=acme/m0&cause=user");
  assert.match(draw(answer(), { isTable: true }), /href="#\/sessions\?agent=agent-2"/);
});

test("errors are counted on the card in words, and shown on a ribbon where many calls fail", () => {
  const data = answer();
  Object.assign(data.nodes[0], { errors: 3 });
  Object.assign(data.edges[0], { errors: 5 });
  const text = draw(data);
  assert.match(text, /aria-label="Channel channel-0, 200 calls, 3 errors"/);
  assert.match(text, /flow-errors"[^>]*>✕3</);
  assert.equal(text.match(/flow-failed/g).length, 1);
});

test("what is not known is a dash, in the tooltip and in the table", () => {
  const data = answer();
  Object.assign(data.nodes.find(({ id }) => id === "tool:tool-0"), { errors: null, latency_ms: null });
  assert.match(draw(data, { lit: "tool:tool-0" }), /Errors<\/th><td class="num">—<.*Mean time<\/th><td class="num">—</s);
  const row = /<tr data-key="tool:tool-0">.*?<\/tr>/s.exec(draw(data, { isTable: true }))[0];
  assert.equal(row.match(/>—</g).length, 4);
});

test("what is lit brings its ribbons and their other ends with it", () => {
  const graph = flow.graphOf(answer(), "calls", 10);
  assert.equal(flow.litOf(graph, null), null);
  assert.equal(flow.litOf(graph, "something of another page"), null);
  assert.deepEqual([...flow.litOf(graph, "channel:channel-0")].sort(), ["channel:channel-0", "channel:channel-0>gateway:", "gateway:"]);
  assert.equal(flow.litOf(graph, "agent:agent-0>model:acme/m0").size, 3);
});

test("nodes of the gateway hang on the tool that uses them, by a line without a number", () => {
  const gateway = { ...GATEWAY, nodes: [{ id: "d1", name: "Phone", platform: "ios" }] };
  const alone = flow.graphOf(answer({}, { gateway }), "calls", 10);
  assert.deepEqual([alone.layers.at(-1).kind, alone.edges.filter((edge) => edge.isUncounted).length], ["node", 0]);
  const data = answer({}, { gateway });
  data.nodes.push(node("tool", "nodes", 7));
  const [line] = flow.graphOf(data, "calls", 10).edges.filter((edge) => edge.isUncounted);
  assert.deepEqual([line.from, line.to], ["tool:nodes", "node:d1"]);
  assert.deepEqual(complaintsAbout(draw(data, { lit: "tool:nodes>node:d1" })), []);
  const many = answer({}, { gateway: { ...GATEWAY, nodes: Array.from({ length: 40 }, (_, i) => ({ id: `d${i}`, name: `Phone ${i}`, platform: null })) } });
  assert.deepEqual(complaintsAbout(draw(many, { lit: "more:node" })), []);
});

test("the table has every node and edge", () => {
  const data = answer({ channels: 3, agents: 4, models: 5, tools: 6 });
  const text = draw(data, { isTable: true });
  assert.equal(text.match(/<tr data-key/g).length, data.nodes.length + data.edges.length);
  assert.match(draw(answer(many), { isTable: true }), /and [\d,]+ more/);
});

test("markup is well formed, whatever is shown", () => {
  for (const data of [answer(), answer(many), { ...answer(), nodes: [], edges: [] }]) {
    for (const more of [{}, { width: 340 }, { isTable: true }, { isAllShown: true }, { lit: "agent:agent-0" }, { lit: "channel:channel-0>gateway:" }, { hash: "#/flow?show=cost" }]) assert.deepEqual(complaintsAbout(draw(data, more)), []);
  }
});

test("names from outside stay text", () => {
  const evil = hostile(answer());
  evil.nodes = answer().nodes.map((one) => ({ ...one, key: EVIL, label: EVIL, id: `${one.kind}:${EVIL}` }));
  evil.edges = [{ ...sums(3), from: `channel:${EVIL}`, to: `gateway:${EVIL}` }];
  evil.gateway = { ...GATEWAY, status: "connected", version: EVIL, nodes: [{ id: EVIL, name: EVIL, platform: EVIL }] };
  for (const more of [{}, { width: 340 }, { isTable: true }, { lit: `channel:${EVIL}` }]) {
    const text = draw(evil, more);
    assert.doesNotMatch(text, /<img|<script/);
    assert.deepEqual(complaintsAbout(text).filter((one) => !one.includes("data-key")), []);
  }
});

test("a name is cut where its card ends, wide characters sooner", () => {
  assert.equal(flow.fit("short", 100), "short");
  assert.equal(flow.fit("a-rather-long-name-of-a-model", 80), "a-rather-l…");
  assert.ok(flow.fit("非常长的代理名称在这里", 80).length <= 7);
});
