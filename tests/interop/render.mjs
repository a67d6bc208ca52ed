// Renders what the drawing commands print with the tools that people view it with, in a headless Chromium: Mermaid draws the diagrams,
// speedscope reads the traces, Chromium shows the pictures. Each gives a PNG beside its source. Whatever one of them doesn't understand is
// an error, and so is a picture in which a text stands on another or leaves the picture.
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
    return { diagramType, text: document.getElementById('drawn').textContent };
  }, fs.readFileSync(file, 'utf8'));
  await shot(page, file, '#drawn');
  await page.close();
  return drawn;
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
  return { text };
}

async function picture(file) {
  const page = await blank();
  await page.goto(pathToFileURL(path.resolve(file)).href);
  const found = await page.evaluate(() => {
    const { width, height } = document.documentElement.viewBox.baseVal;
    const boxes = [...document.querySelectorAll('text')].map((it) => [it.textContent, it.getBBox()]);
    const outside = boxes.filter(([, box]) => box.x < 0 || box.y < 0 || box.x + box.width > width || box.y + box.height > height);
    const over = [];
    // Letters stand within a smaller box than the font's highest and lowest ones would.
    const apart = (a, b) => a.x + a.width <= b.x + 1 || b.x + b.width <= a.x + 1 || a.y + a.height * 0.8 <= b.y + b.height * 0.2 || b.y + b.height * 0.8 <= a.y + a.height * 0.2;
    for (let one = 0; one < boxes.length; one += 1) {
      for (let other = one + 1; other < boxes.length; other += 1) {
        if (!apart(boxes[one][1], boxes[other][1])) over.push(`${boxes[one][0]} and ${boxes[other][0]}`);
      }
    }
    return { width, height, texts: boxes.length, outside: outside.map(([text]) => text), over };
  });
  await page.setViewportSize({ width: Math.min(4000, Math.ceil(found.width)), height: Math.min(4000, Math.ceil(found.height)) });
  await shot(page, file);
  await page.close();
  if (found.outside.length > 0) throw new Error(`texts leave the picture: ${found.outside.slice(0, 5).join(', ')}`);
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
