// Looks at reports in headless Chromium: axe-core in light and dark, wide and at 320 px, folded and open; no request, a
// silent console, no sideways scrolling, and every link, fold and frame reached with the Tab key. Ends with 1 if not.
//
//   npm install --prefix .cache/axe axe-core@4.14.1 puppeteer-core@24.43.1
//   NODE_PATH=.cache/axe/node_modules node tools/accessibility.cjs runs/demo/base/report.html
//
// Chromium comes from the system (CHROMIUM names another one).
'use strict';
const fs = require('fs'), path = require('path');
const puppeteer = require('puppeteer-core');
const axe = fs.readFileSync(require.resolve('axe-core/axe.min.js'), 'utf8');
const RULES = ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'];
const REACHABLE = 'a[href], summary, [tabindex="0"]';
let failed = 0;

const unfold = (page, open) => page.evaluate((o) => document.querySelectorAll('details').forEach((d) => { d.open = o; }), open);

// Says one line about one state of a page.
async function judge(page, name, heard) {
  await page.evaluate(axe);
  const found = await page.evaluate((tags) => axe.run(document, { runOnly: tags, resultTypes: ['violations'] }), RULES);
  const overflow = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
  const bad = found.violations.length || overflow > 0 || heard.console.length || heard.requests.length;
  console.log(`${bad ? 'BAD' : 'ok '} ${name}: ${found.violations.length} violations, ${overflow} px too wide, ` +
    `${heard.console.length} console messages, ${heard.requests.length} requests`);
  for (const v of found.violations) console.log(`    ${v.id} (${v.impact}): ${v.nodes.slice(0, 3).map((n) => n.html.slice(0, 120)).join(' | ')}`);
  for (const said of [...heard.console, ...heard.requests].slice(0, 5)) console.log(`    ${said}`);
  failed += bad ? 1 : 0;
}

// Presses Tab until every element that should take the focus has had it, and looks whether the focus shows.
async function keyboard(page, name) {
  await unfold(page, true);
  const wanted = await page.evaluate((s) => [...document.querySelectorAll(s)].filter((e) => e.checkVisibility()).length, REACHABLE);
  await page.evaluate(() => { window.reached = new Set(); window.bare = 0; });
  for (let i = 0; i < wanted + 5; i++) {
    await page.keyboard.press('Tab');
    await page.evaluate(() => {
      const e = document.activeElement;
      if (e === document.body || window.reached.has(e)) return;
      window.reached.add(e);
      if (getComputedStyle(e).outlineStyle === 'none') window.bare += 1;
    });
  }
  const [reached, bare] = await page.evaluate(() => [window.reached.size, window.bare]);
  const bad = reached < wanted || bare > 0;
  console.log(`${bad ? 'BAD' : 'ok '} ${name} keyboard: ${reached} of ${wanted} elements reached, ${bare} without a visible focus`);
  failed += bad ? 1 : 0;
}

async function look(browser, file, scheme, width) {
  const page = await browser.newPage();
  const heard = { console: [], requests: [] };
  page.on('console', (message) => heard.console.push(message.text()));
  page.on('pageerror', (error) => heard.console.push(String(error)));
  page.on('request', (request) => {
    if (!/^(file|data):/.test(request.url())) heard.requests.push(request.url());
  });
  await page.setViewport({ width, height: 900 });
  await page.emulateMediaFeatures([{ name: 'prefers-color-scheme', value: scheme }]);
  await page.goto(`file://${path.resolve(file)}`, { waitUntil: 'load' });
  const name = `${path.basename(file)} ${scheme} ${width} px`;
  if (scheme === 'light' && width > 320) {
    const ms = await page.evaluate(() => Math.round(performance.getEntriesByType('navigation')[0].loadEventEnd));
    console.log(`    ${name}: loaded in ${ms} ms, ${fs.statSync(file).size} bytes`);
  }
  for (const open of [false, true]) {
    await unfold(page, open);
    await judge(page, `${name} ${open ? 'open' : 'folded'}`, heard);
  }
  if (scheme === 'light') await keyboard(page, name);
  await page.close();
}

(async () => {
  const browser = await puppeteer.launch({
    executablePath: process.env.CHROMIUM || '/usr/bin/chromium',
    args: ['--no-sandbox', '--host-resolver-rules=MAP * ~NOTFOUND'],
  });
  for (const file of process.argv.slice(2)) {
    for (const scheme of ['light', 'dark']) for (const width of [1280, 320]) await look(browser, file, scheme, width);
  }
  await browser.close();
  process.exitCode = failed || process.argv.length < 3 ? 1 : 0;
})();
