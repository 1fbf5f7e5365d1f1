import { test } from "node:test";
import assert from "node:assert/strict";
import * as dom from "./assets/dom.js";

const { html, escapeText } = dom;
const nb = (text) => text.replaceAll("_", "\u00a0");

test("every value is escaped, also inside arrays and attributes", () => {
  const evil = `"><img src=x onerror='alert(1)'>&\``;
  const text = String(html`<a title="${evil}">${[evil, html`<b>${evil}</b>`]}</a>`);
  assert.equal(text.match(/<[a-z]/g).join(""), "<a<b");
  assert.ok(!/onerror='/.test(text));
  assert.ok(text.includes("&quot;&gt;&lt;img src=x onerror=&#39;alert(1)&#39;&gt;&amp;&#96;"));
});

test("markup cannot be forged by an object from JSON", () => {
  const forged = JSON.parse('{"text": "<script>1</script>"}');
  forged.toString = () => forged.text;
  assert.equal(String(html`${forged}`), "&lt;script&gt;1&lt;/script&gt;");
});

test("nothing, false and true print nothing; zero prints", () => {
  assert.equal(String(html`[${null}${undefined}${false}${true}${[]}${0}]`), "[0]");
});

test("control and bidi characters are shown as broken ones", () => {
  assert.equal(escapeText("a\u0000b\u202egnp.exe\u2066\n"), "a\ufffdb\ufffdgnp.exe\ufffd\n");
});

test("links stay in the application", () => {
  for (const good of ["#/overview?by=model", "#/overview?range=2026-11-01..2026-11-05&tz=Europe/Berlin", "/api/health"]) assert.equal(dom.ownHref(good), good);
  for (const bad of ["javascript:alert(1)", "//evil.example", "/\\evil.example", "https://evil.example", "data:text/html,x", " #/overview", "/api/../../x y", null, undefined, {}]) assert.equal(dom.ownHref(bad), null);
});

test("money", () => {
  const cases = [
    [0, "$0"], [1, "<_$0.0001"], [99_999, "<_$0.0001"], [100_000, "$0.0001"], [42_100_000, "$0.0421"], [500_000_000, "$0.5000"],
    [999_949_999, "$0.9999"], [999_950_000, "$1.00"], [999_999_999, "$1.00"], [1e9, "$1.00"], [1_234_560_000_000, "$1,234.56"],
    [1_234_567_890_123_456, "$1,234,567.89"], [-42_100_000, "−$0.0421"], [-1_200_000_000, "−$1.20"], [null, "—"], [undefined, "—"], [NaN, "—"],
  ];
  for (const [nano, text] of cases) assert.equal(dom.formatMoney(nano), nb(text), String(nano));
  assert.equal(dom.formatExactMoney(1_234_042_100_001), "$1,234.042100001");
  assert.equal(dom.formatExactMoney(null), "not known");
});

test("tokens, bytes and counts", () => {
  const cases = [[0, "0"], [842, "842"], [999, "999"], [1000, "1.00_k"], [12_400, "12.4_k"], [999_499, "999_k"], [999_999, "1.00_M"], [1_240_000, "1.24_M"], [9_996_000, "10.0_M"], [2.5e9, "2.50_B"], [null, "—"]];
  for (const [count, text] of cases) assert.equal(dom.formatTokens(count), nb(text), String(count));
  assert.equal(dom.formatBytes(48_211_000), nb("48.2_MB"));
  assert.equal(dom.formatBytes(0), nb("0_B"));
  assert.equal(dom.formatCount(1234567), "1,234,567");
  assert.equal(dom.formatCount(-12), "−12");
});

test("percent", () => {
  assert.equal(dom.formatPercent(0.624), nb("62_%"));
  assert.equal(dom.formatPercent(0), nb("0_%"));
  assert.equal(dom.formatPercent(0.001), nb("<_1_%"));
  assert.equal(dom.formatPercent(0.0001, 1), nb("<_0.1_%"));
  assert.equal(dom.formatPercent(null), "—");
});

test("durations", () => {
  const cases = [[0, "0_s"], [20, "<_0.1_s"], [210, "0.2_s"], [9_940, "9.9_s"], [9_960, "10_s"], [59_400, "59_s"], [59_600, "1_m"], [192_000, "3_m 12_s"], [3_600_000, "1_h"], [7_500_000, "2_h 5_m"], [273_600_000, "3_d 4_h"], [-5, "0_s"], [null, "—"]];
  for (const [ms, text] of cases) assert.equal(dom.formatDuration(ms), nb(text), String(ms));
});

test("ages, then dates in the chosen zone", () => {
  const now = Date.UTC(2026, 10, 6, 12, 0, 0);
  const ago = (seconds, zone = "UTC") => dom.formatAgo(now - seconds * 1000, now, zone);
  assert.equal(ago(-30), "now");
  assert.equal(ago(4), "now");
  assert.equal(ago(12), nb("12_s ago"));
  assert.equal(ago(3599), nb("59_m ago"));
  assert.equal(ago(86_399), nb("23_h ago"));
  assert.equal(ago(86_400), "5 Nov");
  assert.equal(ago(86_400 + 11 * 3600, "Pacific/Auckland"), "5 Nov");
  assert.equal(ago(86_400 * 400), "2 Oct 2025");
  assert.equal(dom.formatAgo(null, now, "UTC"), "—");
  assert.equal(dom.formatAbsolute(now, "Europe/Berlin"), "2026-11-06 13:00:00 Europe/Berlin");
  assert.equal(dom.formatAbsolute(now, "No/Such"), "2026-11-06 12:00:00 UTC");
  assert.equal(dom.formatClock(now, "Asia/Kolkata"), "17:30:00");
});

test("days", () => {
  assert.equal(dom.formatDay("2026-11-06"), "6 Nov");
  assert.equal(dom.formatDay("2026-11-06", true), "Fri 6 Nov 2026");
  assert.equal(dom.formatDay("(none)"), "(none)");
});

test("line breaks of a template are not content, line breaks of a value are", () => {
  const view = html`
    <ul class="a"
      title="b">
      ${["x\n  y", html`<b>z</b>`]}
      and
      <i>w</i>
    </ul>`;
  assert.equal(String(view), `<ul class="a" title="b">x\n  y<b>z</b> and <i>w</i></ul>`);
});

test("texts are filled in, and only markup that html made stays markup", () => {
  assert.equal(dom.t("{a} of {b}", { a: 1, b: "<b>" }), "1 of <b>");
  assert.equal(String(dom.t("{a} & {b}", { a: html`<i>1</i>`, b: "<b>" })), "<i>1</i> &amp; &lt;b&gt;");
  assert.equal(dom.tn(1, "{n} call", "{n} calls"), "1 call");
  assert.equal(dom.tn(12_345, "{n} call", "{n} calls"), "12,345 calls");
  dom.useMessages({ "{n} calls": "{n} 次调用", "{1} of {2} lost": "{2} 中丢失 {1}" });
  try {
    assert.equal(dom.tn(2, "{n} call", "{n} calls"), "2 次调用");
    assert.equal(dom.tServer("3 of 1,200 lost", ["{1} of {2} lost"]), "1,200 中丢失 3");
    assert.equal(dom.tServer("<b> of 2 lost", ["{1} of {2} lost"]), "<b> of 2 lost");
    assert.equal(dom.t("no such text"), "no such text");
  } finally {
    dom.useMessages(null);
  }
});

test("numbers follow the locale, the currency is marked as converted, and hidden is hidden", () => {
  try {
    dom.useFormat({ locale: "de-DE" });
    assert.equal(dom.formatCount(1_234_567), "1.234.567");
    assert.equal(dom.formatMoney(1_234_560_000_000), nb("1.234,56_$"));
    assert.equal(dom.formatExactMoney(1_234_560_000_001), "$1.234,560000001");
    dom.useFormat({ locale: "en-US", currency: "EUR", rate: 0.92 });
    assert.equal(dom.formatMoney(100e9), "≈€92.00");
    assert.equal(dom.formatMoney(-1e9), "−≈€0.9200");
    assert.equal(dom.formatMoney(0), "€0");
    assert.equal(dom.formatExactMoney(100e9), "$100.000000000");
    dom.useFormat({ currency: "JPY", rate: 150 });
    assert.equal(dom.formatMoney(100e9), "≈¥15,000");
    dom.useFormat({ isHidden: true });
    assert.equal(dom.formatMoney(1), dom.formatMoney(1e15));
    assert.doesNotMatch(dom.formatMoney(123e9) + dom.formatExactMoney(123e9) + dom.formatMoneyTick(123, 1), /\d/);
    assert.equal(dom.formatMoney(null), "—");
  } finally {
    dom.useFormat({ locale: "en-US", currency: "USD", rate: 1, isHidden: false });
  }
});

test("a price has all its digits, and two of them at least", () => {
  const prices = [[3_000_000, "$3.00"], [30_000, "$0.03"], [4_125_000, "$4.125"], [1_234_500, "$1.2345"], [3625, "$0.003625"], [10, "$0.00001"], [-2_700_000, "−$2.70"], [0, "$0"], [null, "—"]];
  for (const [pico, text] of prices) assert.equal(dom.formatPrice(pico), text);
});
