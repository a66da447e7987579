/**
 * The console of a large server stays quick and its polls small. How large is for the environment to say.
 */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';

import { call } from '../support/api.mjs';
import { Tab, launch } from '../support/browser.mjs';
import { fill, makeChannels } from '../support/crowd.mjs';
import { ADMIN, Server } from '../support/server.mjs';

const CHANNELS = Number(process.env.CONSOLE_CHANNELS ?? 2_000);
const CONNECTIONS = Number(process.env.CONSOLE_CONNECTIONS ?? 1_000);
const FIRST_PAINT_MS = 1_000;
const POLL_BYTES = 100_000;
/** Polls of each page that are looked at. */
const POLLS = Number(process.env.CONSOLE_POLLS ?? 2);

let browser;
let server;
let crowd;
let tab;
let page;

before(async () => {
    browser = await launch();
    // The sockets of the crowd answer no ping.
    server = await Server.start({ demo: false, settings: { PONG_TIMEOUT: '0' } });
    await makeChannels(server, CHANNELS);
    crowd = await fill(server, CHANNELS, CONNECTIONS);
    tab = await Tab.open(browser, server);
    ({ page } = tab);
    await tab.go('/admin/sign_in');
    await page.getByLabel('User name').fill(ADMIN.username);
    await page.getByLabel('Password').fill(ADMIN.password);
    await page.getByRole('button', { name: 'Sign in' }).click();
    await page.locator('#state[data-state="open"]').waitFor();
});

after(async () => {
    crowd?.leave();
    await browser?.close();
    await server?.stop();
});

const isPoll = (answer) => new URL(answer.url()).pathname.endsWith('.json');

/** Turns to a page and looks at its polls: their sizes, and how long they took. */
async function watch(hash, ready) {
    await page.goto('about:blank');
    const polls = [];
    const finished = new Promise((resolve) => {
        page.on('requestfinished', async (request) => {
            const answer = await request.response();
            if (!isPoll(answer)) {
                return;
            }
            // What has not changed is not sent again.
            const body = answer.status() === 304 ? '' : await answer.body();
            const ms = request.timing().responseEnd;
            polls.push({ bytes: body.length, ms });
            if (polls.length === POLLS) {
                resolve();
            }
        });
    });
    const begun = Date.now();
    await tab.go(`/admin${hash}`);
    await page.locator(ready).first().waitFor();
    const readyMs = Date.now() - begun;
    await finished;
    page.removeAllListeners('requestfinished');
    const paint = await page.evaluate(() => performance.getEntriesByName('first-contentful-paint')[0].startTime);
    return { paint, readyMs, bytes: Math.max(...polls.map(({ bytes }) => bytes)), ms: Math.max(...polls.map(({ ms }) => ms)) };
}

for (const [name, hash, ready] of [
    ['overview', '', '[data-chart="connections"] canvas'],
    ['channels', '#/channels?sort=-connections', '#channels tbody tr'],
    ['users', '#/users', '#users tbody tr'],
    ['connections', '#/connections?sort=-since', '#connections tbody tr'],
    ['a search', '#/connections?search=127.0', '#connections tbody tr'],
    ['limits', '#/limits', '#limits tbody tr'],
    ['the largest channel', '#/channel/all', '#connections tbody tr'],
]) {
    test(`${name} of ${CHANNELS} channels and ${CONNECTIONS} connections`, async (context) => {
        const { paint, readyMs, bytes, ms } = await watch(hash, ready);
        context.diagnostic(`first paint ${Math.round(paint)} ms, ready ${readyMs} ms, `
            + `polls up to ${bytes} bytes and ${Math.round(ms)} ms`);
        assert.ok(paint < FIRST_PAINT_MS, `first paint after ${paint} ms`);
        assert.ok(bytes < POLL_BYTES, `a poll of ${bytes} bytes`);
        tab.assertNoProblems();
    });
}

test('all are counted', async () => {
    await tab.go('/admin');
    const shown = CONNECTIONS.toLocaleString('en');
    await page.locator('[data-counter="total_connections"]', { hasText: shown }).waitFor();
});

test('requests are answered quickly meanwhile', async (context) => {
    await tab.go('/admin#/connections?sort=-since');
    const times = [];
    for (let turn = 0; turn < 200; turn += 1) {
        const begun = performance.now();
        await call(server, '/message', [{ channel: 'channel 00000', user: 'test', message: { turn } }]);
        times.push(performance.now() - begun);
    }
    times.sort((a, b) => a - b);
    context.diagnostic(`POST /message: median ${times[100].toFixed(1)} ms, slowest ${times.at(-1).toFixed(1)} ms`);
    assert.ok(times[100] < 50, `median ${times[100]} ms`);
});
