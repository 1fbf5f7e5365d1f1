import { test } from "node:test";
import assert from "node:assert/strict";
import * as chart from "./assets/chart.js";

function byDay(count, start = "2026-01-01") {
  const first = Date.parse(`${start}T00:00:00Z`);
  const days = Array.from({ length: count }, (_, i) => new Date(first + i * 86_400_000).toISOString().slice(0, 10));
  const series = ["opus", "Other"].map((key, n) => {
    const cost = days.map((_, i) => (i + 1) * 1_000_003 * (n + 1));
    return { key, label: key, cost_nano_usd: cost, total_nano_usd: cost.reduce((a, b) => a + b, 0) };
  });
  return { days, partial_last: true, series };
}
const drawn = (model) => ({ ...model, series: model.series.map((one, i) => ({ ...one, slot: i + 1 })) });

test("ticks start at 0, are round, at most five, and cover the greatest value", () => {
  for (const max of [1, 3, 7, 99, 100, 101, 0.0421e9, 17e9, 20e9, 1234e9, 5, 1e5, 999_999_999_999]) {
    const ticks = chart.niceTicks(max);
    assert.ok(ticks.length <= 5 && ticks.length >= 2, `${max}: ${ticks}`);
    assert.equal(ticks[0], 0);
    assert.ok(ticks[ticks.length - 1] >= max, `${max}: ${ticks}`);
    assert.ok(ticks[ticks.length - 1] <= max * 2.6, `${max}: ${ticks}`);
  }
  assert.deepEqual(chart.niceTicks(0), [0]);
  assert.deepEqual(chart.niceTicks(17e9), [0, 5e9, 10e9, 15e9, 20e9]);
});

test("no label of the axis lies over another", () => {
  const spans = Array.from({ length: 168 }, (_, i) => ({ key: `${i}`, label: `Sun ${i % 24}:00`, short: `Sun ${String(i % 24).padStart(2, "0")}:00` }));
  const model = { measure: "cost", unit: "hour_of_week", spans, isLastPartial: false, series: [{ key: "a", label: "a", slot: 1, values: spans.map(() => 1e9) }] };
  for (const width of [340, 700, 1000, 1300, 1500]) {
    const labels = [...String(chart.stackedBars(model, width, 300)).matchAll(/x="([\d.]+)" y="294" text-anchor="(\w+)">([^<]+)</g)]
      .map(([, x, anchor, text]) => [anchor === "end" ? x - text.length * 6.4 : x - text.length * 3.2, text.length * 6.4]);
    assert.ok(labels.length > 2, `${width}: ${labels.length}`);
    labels.slice(1).forEach(([left], i) => assert.ok(left >= labels[i][0] + labels[i][1], `${width}: ${i}`));
  }
});

test("tick labels have only the decimals they need", () => {
  const labels = (max) => chart.ticksOf("cost", max).map(([, label]) => label).join(" ");
  assert.equal(labels(20e9), "$0 $5 $10 $15 $20");
  assert.equal(labels(9e9), "$0 $2.50 $5.00 $7.50 $10.00");
  assert.equal(labels(0.2e9), "$0 $0.05 $0.10 $0.15 $0.20");
  assert.equal(labels(0.01e9), "$0 $0.0025 $0.0050 $0.0075 $0.0100");
  assert.equal(labels(4000e9), "$0 $1,000 $2,000 $3,000 $4,000");
});

test("weeks and months keep every nano-dollar and say which days they hold", () => {
  const data = byDay(400);
  for (const [most, unit] of [[400, "day"], [60, "week"], [20, "month"]]) {
    const model = chart.coarsen(data, most);
    assert.equal(model.unit, unit);
    assert.ok(model.spans.length <= most);
    assert.equal(model.spans[0].from, data.days[0]);
    assert.equal(model.spans.at(-1).to, data.days.at(-1));
    model.series.forEach((one, i) => assert.equal(one.values.reduce((a, b) => a + b, 0), data.series[i].total_nano_usd));
  }
  const weeks = chart.coarsen(data, 60);
  assert.equal(weeks.spans[1].from, "2026-01-05"); // a Monday
  assert.equal(weeks.spans[1].to, "2026-01-11");
});

test("bars are zero-based, stay inside, and the partial day is hatched and named", () => {
  const model = drawn(chart.coarsen(byDay(30), 60));
  const text = String(chart.stackedBars(model, 720, 264));
  const bars = [...text.matchAll(/class="s\d" data-series="[^"]*" x="([\d.]+)" y="([\d.]+)" width="([\d.]+)" height="([\d.]+)"/g)].map((found) => found.slice(1).map(Number));
  assert.equal(bars.length, 60);
  for (const [x, y, width, height] of bars) {
    assert.ok(x >= 48 && x + width <= 720 && y >= 10 && y + height <= 243);
  }
  const last = bars.slice(-2);
  assert.ok(Math.abs(last[0][1] + last[0][3] - 242) < 0.02, "the first of a stack stands on zero");
  assert.ok(Math.abs(last[1][1] + last[1][3] - last[0][1]) < 0.02, "the next stands on it");
  assert.equal(text.match(/class="hatch"/g).length, 1);
  assert.match(text, /30 Jan so far/);
  assert.match(text, /<title>opus: \$0\.0010<\/title>/);
  assert.ok(!/style=|NaN|undefined/.test(text));
});

test("the pointer and the drawing agree on the bar", () => {
  for (const count of [1, 7, 30, 104]) {
    const at = chart.barLayout(count, 700, 264);
    for (let i = 0; i < count; i++) assert.equal(at.indexAt(at.center(i)), i);
    assert.equal(at.indexAt(-50), 0);
    assert.equal(at.indexAt(5000), count - 1);
  }
});

test("the tooltip lists every series by value, and the sum of a dragged span", () => {
  const model = drawn(chart.coarsen(byDay(5), 60));
  const one = String(chart.tooltip(model, 1));
  assert.ok(one.indexOf("Other") < one.indexOf("opus"));
  assert.match(one, /\$0\.0060/);
  const span = String(chart.tooltip(model, 4, 2));
  assert.match(span, /3 Jan to 5 Jan, so far/);
  assert.match(span, /\$0\.0360/);
  assert.equal(String(chart.tooltip(model, null)), "");
  assert.equal(String(chart.tooltip(model, 99)), "");
});

test("a gap is a dash in the tooltip, a level is read and not summed, and notes stand below", () => {
  const span = (key) => ({ key, label: key, short: key });
  const model = { measure: "cost", unit: "turn", spans: ["a", "b", "c"].map(span), series: [{ key: "x", slot: 1, label: "x", values: [1e9, 3e9, null] }] };
  assert.match(String(chart.tooltip(model, 2)), /<td class="num">—<\/td>/);
  assert.match(String(chart.tooltip(model, 2, 0)), /a to c.*\$4\.00/s);
  const level = { ...model, isLevel: true, notes: (first, last) => [["Note", `${first}-${last}`], ["Words", "said", true], ["Nothing", ""]] };
  const text = String(chart.tooltip(level, 1, 0));
  assert.match(text, /\$3\.00/);
  assert.doesNotMatch(text, /\$4\.00|100\u00a0%|Nothing/);
  assert.match(text, /Note<\/th><td class="num">1-1/);
  assert.match(text, /colspan="3">said/);
});

test("spans may be as wide as the model says: the band is where they are drawn", () => {
  const spans = [{ key: "a", label: "a" }, { key: "b", label: "b" }];
  const edges = (i) => [[10, 40], [40, 300]][i];
  const model = { spans, series: [], layout: () => ({ top: 5, bottom: 105, edges }) };
  assert.match(String(chart.crosshair(model, 310, 110, 1)), /x="40" y="5" width="260" height="100"/);
  assert.match(String(chart.crosshair(model, 310, 110, 1, 0)), /x="10" y="5" width="290"/);
});

test("as shares every bar with anything in it reaches 100 %, and an empty one stays empty", () => {
  const model = {
    isShare: true, before: [5e9, 5e9, 5e9], unit: "day", isLastPartial: false, spans: ["2026-01-01", "2026-01-02", "2026-01-03"].map((key) => ({ key, label: key })),
    series: [{ key: "a", slot: 1, label: "a", values: [3e9, 1, 0] }, { key: "b", slot: 2, label: "b", values: [1e9, 0, 0] }],
  };
  const text = String(chart.stackedBars(model, 400, 232));
  const heights = [...text.matchAll(/<g data-key="([^"]*)">(.*?)<\/g>/gs)].map(([, , marks]) => [...marks.matchAll(/height="([\d.]+)"/g)].map(([, height]) => Number(height)));
  assert.deepEqual(heights, [[150, 50], [200], []]);
  assert.match(text, />100\u00a0%<\/text>/);
  assert.match(text, /<title>a: \$3\.00<\/title>/, "amounts are said");
  assert.ok(!text.includes('class="before"'), "the span before is an amount");
});

test("a hostile series name is text everywhere", () => {
  const data = byDay(3);
  data.series[0].label = `</title></svg><script>alert(1)</script>`;
  data.series[0].key = `"><x`;
  const model = drawn(chart.coarsen(data, 60));
  for (const view of [chart.stackedBars(model, 700, 264), chart.tooltip(model, 0)]) assert.ok(!/<script|"><x/.test(String(view)));
});

test("a gap in a sparkline is a gap, one point is no line", () => {
  const path = /class="spark-line" d="([^"]*)"/.exec(String(chart.sparkline([1, 2, null, 4, 5])))[1];
  assert.equal(path.match(/M/g).length, 2);
  assert.equal(chart.sparkline([5]), null);
  assert.equal(chart.sparkline([]), null);
  assert.equal(chart.sparkline(undefined), null);
  assert.ok(!/NaN/.test(String(chart.sparkline([0, 0, 0]))));
});

test("share bars stay between nothing and all", () => {
  const width = (share) => Number(/thin-fore" x="0" y="0" width="([\d.]+)"/.exec(String(chart.shareBar(share)))[1]);
  assert.equal(width(0), 0);
  assert.equal(width(NaN), 0);
  assert.equal(width(0.0001), 0.6);
  assert.equal(width(7), 100);
});

test("an empty range draws a frame, not NaN", () => {
  const empty = chart.coarsen({ days: ["2026-11-06"], partial_last: true, series: [] }, 60);
  assert.ok(!/NaN|undefined/.test(String(chart.stackedBars(empty, 700, 264))));
});
