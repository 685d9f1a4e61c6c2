// Opens the page in a browser without a window, hands it files, and prints what it shows and every request that it makes:
// `node check.mjs BROWSER PAGE FILE…`
import { pathToFileURL } from 'node:url';
import { chromium } from 'playwright-core';

const [executablePath, path, ...files] = process.argv.slice(2);
const args = ['--no-sandbox', '--disable-quic', '--disable-background-networking'];
const browser = await chromium.launch({ executablePath, args });
const context = await browser.newContext();
const page = await context.newPage();
const requests = [];
const errors = [];
context.on('request', (request) => requests.push(request.url()));
page.on('pageerror', (error) => errors.push(error.message));
page.on('console', (message) => errors.push(message.text()));
await page.goto(pathToFileURL(path).href);
const said = (pattern) => page.locator('#said', { hasText: pattern }).waitFor({ timeout: 20_000 });
await said('Ready.');
await page.locator('input').setInputFiles(files);
await said(/events:|needed/);
const rows = await page.locator('#trace .row .title').allTextContents();
const shown = { said: await page.locator('#said').textContent(), rows };
if (process.env.SCREENSHOT) await page.screenshot({ path: process.env.SCREENSHOT });
// What the page itself would see if it tried: its policy refuses.
const quiet = errors.length === 0;
const refused = await page.evaluate(() => fetch('data:,x').then(() => false, () => true));
console.log(JSON.stringify({ ...shown, requests, refused, quiet, errors }));
await browser.close();
