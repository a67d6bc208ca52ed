// Renders what the drawing commands print with the tools that people view it with, in a headless Chromium: Mermaid draws the diagrams,
// speedscope reads the traces, Chromium shows the pictures. Each gives a PNG beside its source. Whatever one of them doesn't understand is
// an error, and so is a picture in which a text stands on another, anything leaves the picture, or nothing leads from one thing to another;
// and a trace with an arrow that goes back in time or that begins or ends outside a slice.
//
// node render.mjs <directory with node_modules> <file>...

import fs from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';
import { pathToFileURL } from 'node:url';

const [modules, ...files] = process.argv.slice(2);
const require = createRequire(path.join(path.resolve(modules), 'any.js'));
const { chromium } = require('playwright-core');

const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
  args: ['--no-sandbox'],
});

// Of a trace with many threads, only so many are looked at.
const THREADS_MAX = 16;

async function blank() {
  const page = await browser.newPage({ viewport: { width: 1600, height: 900 } });
  page.on('pageerror', (error) => { throw error; });
  return page;
}

async function shot(page, file, selector) {
  const element = selector ? await page.$(selector) : null;
  await (element ?? page).screenshot({ path: `${file}.png` });
}

async function mermaid(file) {
  const page = await blank();
  await page.setContent('<body style="margin:0;background:white"><div id="drawn"></div></body>');
  await page.addScriptTag({ path: path.join(modules, 'node_modules/mermaid/dist/mermaid.min.js') });
  const drawn = await page.evaluate(async (text) => {
    mermaid.initialize({ startOnLoad: false, maxTextSize: 10_000_000, maxEdges: 100_000 });
    const { svg, diagramType } = await mermaid.render('m', text);
    document.getElementById('drawn').innerHTML = svg;
    const drawn = document.getElementById('drawn');
    const lines = drawn.querySelectorAll('path.transition, [class^="messageLine"]').length;
    return { diagramType, lines, text: drawn.textContent };
  }, fs.readFileSync(file, 'utf8'));
  await shot(page, file, '#drawn');
  await page.close();
  if (drawn.lines === 0) throw new Error('nothing leads from one thing to another');
  return drawn;
}

// What speedscope leaves out: the arrows.
function arrows(file) {
  const events = JSON.parse(fs.readFileSync(file, 'utf8')).traceEvents;
  const nearly = 0.0005;
  const slices = new Map();
  for (const { ph, cat, pid, tid, ts, dur, args } of events) {
    if (ph !== 'X') continue;
    const of = `${cat} ${pid} ${tid}`;
    if (!slices.has(of)) slices.set(of, []);
    slices.get(of).push({ ts, end: ts + dur, args });
  }
  for (const of of slices.values()) of.sort((a, b) => a.ts - b.ts);
  const around = (cat, { pid, tid, ts }) => {
    const of = slices.get(`${cat} ${pid} ${tid}`) ?? [];
    let [low, high] = [0, of.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (of[middle].ts <= ts + nearly) low = middle + 1; else high = middle;
    }
    const slice = of[low - 1];
    return slice && ts <= slice.end + nearly ? slice : undefined;
  };
  const begun = new Map(events.filter(({ ph }) => ph === 's').map((it) => [it.id, it]));
  const ended = events.filter(({ ph }) => ph === 'f');
  if (ended.length !== begun.size) throw new Error(`${begun.size} arrows begin and ${ended.length} end`);
  for (const end of ended) {
    const begin = begun.get(end.id);
    if (!begin) throw new Error(`arrow ${end.id} has no beginning`);
    if (begin.ts > end.ts) throw new Error(`arrow ${end.id} (${end.name}) goes back in time`);
    if (!around('round', begin) || !around('round', end)) throw new Error(`arrow ${end.id} (${end.name}) is outside all rounds`);
    if (begin.pid !== end.pid || begin.tid !== end.tid) continue;
    const [sender, taker] = [around('handler', begin), around('handler', end)];
    if (!sender || sender.args.queue !== taker?.args.from) throw new Error(`arrow ${end.id} (${end.name}) doesn't begin in its sender`);
  }
  return begun.size;
}

async function trace(file) {
  const page = await blank();
  const dialogs = [];
  page.on('dialog', async (dialog) => { dialogs.push(dialog.message()); await dialog.dismiss(); });
  await page.goto(pathToFileURL(path.join(modules, 'node_modules/speedscope/dist/release/index.html')).href);
  await page.waitForSelector('input[type=file]', { state: 'attached' });
  await page.setInputFiles('input[type=file]', file);
  // It names the thread that it shows in its title as soon as it has read them all.
  await page.waitForFunction(() => /worker/.test(document.body.innerText), null, { timeout: 10_000 });
  // The table of all names.
  await page.getByText('Sandwich').first().click();
  await page.waitForTimeout(500);
  await shot(page, file);
  // One thread after another, each of which it calls by its process and its own name.
  let text = await page.evaluate(() => document.body.innerText);
  const threads = Number(/\(1\/(\d+)\)/.exec(text)?.[1] ?? 1);
  for (let thread = 2; thread <= Math.min(threads, THREADS_MAX); thread += 1) {
    await page.keyboard.press('n');
    await page.waitForFunction((of) => document.body.innerText.includes(of), `(${thread}/${threads})`, { timeout: 10_000 });
    text += await page.evaluate(() => document.body.innerText);
  }
  await page.close();
  if (dialogs.length > 0) throw new Error(`speedscope says: ${dialogs.join('; ')}`);
  return { text, lines: arrows(file) };
}

async function picture(file) {
  const page = await blank();
  await page.goto(pathToFileURL(path.resolve(file)).href);
  const found = await page.evaluate(() => {
    const { width, height } = document.documentElement.viewBox.baseVal;
    const boxes = [...document.querySelectorAll('text')].map((it) => [it.textContent, it.getBBox()]);
    const shapes = [...document.querySelectorAll('rect, line, path, polyline, polygon, circle, ellipse')];
    const drawn = shapes.filter((it) => !it.closest('defs, marker') && (it.getBBox().width > 0 || it.getBBox().height > 0));
    // An arrow is a line or an open path, which a lane isn't that is dashed, and a head, which is a closed one.
    const isHead = (it) => it.tagName === 'path' && /Z$/.test(it.getAttribute('d'));
    const heads = drawn.filter(isHead).length;
    const lines = drawn.filter((it) => /^(line|path)$/.test(it.tagName) && !isHead(it) && !it.hasAttribute('stroke-dasharray')).length;
    const outlines = drawn.map((it) => [`<${it.tagName}>`, it.getBBox()]);
    const outside = [...boxes, ...outlines].filter(([, box]) => box.x < 0 || box.y < 0 || box.x + box.width > width || box.y + box.height > height);
    const over = [];
    // Letters stand within a smaller box than the font's highest and lowest ones would.
    const apart = (a, b) => a.x + a.width <= b.x + 1 || b.x + b.width <= a.x + 1 || a.y + a.height * 0.8 <= b.y + b.height * 0.2 || b.y + b.height * 0.8 <= a.y + a.height * 0.2;
    for (let one = 0; one < boxes.length; one += 1) {
      for (let other = one + 1; other < boxes.length; other += 1) {
        if (!apart(boxes[one][1], boxes[other][1])) over.push(`${boxes[one][0]} and ${boxes[other][0]}`);
      }
    }
    const text = boxes.map(([text]) => text).join('\n');
    return { width, height, texts: boxes.length, lines, heads, text, outside: outside.map(([text]) => text), over };
  });
  await page.setViewportSize({ width: Math.min(4000, Math.ceil(found.width)), height: Math.min(4000, Math.ceil(found.height)) });
  await shot(page, file);
  await page.close();
  if (found.outside.length > 0) throw new Error(`this leaves the picture: ${found.outside.slice(0, 5).join(', ')}`);
  if (found.texts === 0) throw new Error('there is no text');
  if (found.lines === 0 || found.heads === 0) throw new Error(`of arrows there are ${found.lines} lines and ${found.heads} heads`);
  if (found.over.length > 0) throw new Error(`texts stand on one another: ${found.over.slice(0, 5).join('; ')}`);
  return found;
}

const readers = { '.mmd': mermaid, '.json': trace, '.svg': picture };
let failed = 0;
for (const file of files) {
  try {
    const read = await readers[path.extname(file)](file);
    // What must be in it is said beside it, a line each.
    const wanted = fs.existsSync(`${file}.has`) ? fs.readFileSync(`${file}.has`, 'utf8').split('\n').filter(Boolean) : [];
    const missing = wanted.filter((text) => !(read.text ?? '').includes(text));
    if (missing.length > 0) throw new Error(`not in what was drawn: ${missing.join(', ')}`);
    console.log(`${file}: read${read.diagramType ? ` as ${read.diagramType}` : ''}`);
  } catch (error) {
    failed += 1;
    console.error(`${file}: ${String(error.message ?? error).split('\n')[0]}`);
  }
}
await browser.close();
process.exitCode = failed === 0 ? 0 : 1;
