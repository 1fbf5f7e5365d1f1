// What the tests of the views share: totals, a state as app.js has it, hostile text.

import { parseRoute } from "./assets/views.js";

export const NOW = Date.UTC(2026, 10, 6, 12);
export const EVIL = `"><img src=x onerror=alert(1)></title></svg></table><script>alert(2)</script>`;

export function totals(nano, more = {}) {
  return { model_calls: 10, input_tokens: 1000, output_tokens: 200, cache_read_tokens: 9000, cache_write_tokens: 300, total_tokens: 10_500, cost_usd: nano / 1e9, cost_nano_usd: nano, recorded_cost_nano_usd: nano, plan_cost_nano_usd: 0, unpriced_calls: 0, ...more };
}

/** A state as app.js has it. */
export function stateOf(more = {}) {
  return {
    route: parseRoute(""), version: "0.1.0", theme: "system", language: "", currency: "USD", rates: {}, rateText: null, isHidden: false, palette: [], browserZone: "Europe/Berlin", serverZone: "Europe/Berlin", zones: ["Europe/Berlin", "Asia/Tokyo"], now: NOW,
    connection: "live", scope: "full", updatedMs: NOW, coverage: null, source: null, answers: {}, fault: null,
    isSlow: false, needsLogin: false, login: { isBusy: false, message: "" }, widths: {}, windows: {}, menu: "", calendar: { at: "2026-11-06", start: "" }, filterKind: "agent", filterText: "", search: null, sheet: null, confirm: null,
    lit: null, isTable: false, isAllShown: false, isMoreOpen: false, ...more,
  };
}

export function hostile(value) {
  if (Array.isArray(value)) return value.map(hostile);
  if (value !== null && typeof value === "object") return Object.fromEntries(Object.entries(value).map(([key, one]) => [key, key === "days" ? one : hostile(one)]));
  return typeof value === "string" ? EVIL : value;
}

/** What is wrong with markup: styles, handlers, things that are no text, attributes without quotes, ids given twice. */
export function complaintsAbout(view) {
  const text = String(view);
  const found = [...text.matchAll(/.{0,40}(\bundefined\b|\bNaN\b|\[object).{0,40}/gs)].map(([one]) => one);
  for (const [tag] of text.matchAll(/<[a-z][^>]*>/g)) {
    const bare = tag.replace(/"[^"]*"/g, '""');
    if (/=[^"]|\sstyle=|\son[a-z]+=/.test(bare)) found.push(tag);
  }
  const ids = [...text.matchAll(/\sid="([^"]*)"/g)].map(([, id]) => id);
  return [...found, ...ids.filter((id, i) => ids.indexOf(id) !== i)];
}
